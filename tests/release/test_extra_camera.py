"""The extras cpu and camera: pictures to poses."""

from __future__ import annotations

from pathlib import Path

from environment import Environment
from page_files import write_video
from posemoe_edge.runtime.cache import VARIABLE


def test_the_detectors_lack_no_package(camera: Environment, tmp_path: Path) -> None:
    outcome = camera.run("posemoe-edge", "detectors", "--json", folder=tmp_path)
    assert outcome.code == 0, outcome.err
    assert outcome.json["detectors"] and "pip install" not in outcome.out


def test_a_person_in_a_video_is_lifted(camera: Environment, tmp_path: Path, detector_cache: Path) -> None:
    write_video(tmp_path / "video.mp4")
    line = ["run", "video.mp4", "--sink", "video:lifted.mp4", "--json"]
    outcome = camera.run("posemoe-edge", *line, folder=tmp_path, **{VARIABLE: str(detector_cache)})
    assert outcome.code == 0, outcome.err
    assert outcome.json["poses"] > 0 and (tmp_path / "lifted.mp4").stat().st_size > 1000


def test_pictures_of_poses_need_another_extra(camera: Environment, tmp_path: Path) -> None:
    line = ["run", "synthetic://walk", "--frames", "5", "--sink", "png:a.png", "--json"]
    outcome = camera.run("posemoe-edge", *line, folder=tmp_path)
    assert outcome.code == 3 and outcome.json["run"] == 'pip install "posemoe-edge[plot]"', outcome.err
