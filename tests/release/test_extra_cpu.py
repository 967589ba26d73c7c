"""The extra cpu: everything that needs no picture and no PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest
from environment import ROOT, Environment
from page_files import write_clip
from posemoe_edge.runtime.cache import VARIABLE


def test_two_hundred_frames_are_lifted(cpu: Environment, tmp_path: Path) -> None:
    line = ["run", "synthetic://walk?people=1", "--frames", "200", "--json"]
    outcome = cpu.run("posemoe-edge", *line, folder=tmp_path)
    assert outcome.code == 0 and outcome.json["poses"] == 200, outcome.err


def test_the_doctor_is_content(cpu: Environment, tmp_path: Path) -> None:
    outcome = cpu.run("posemoe-edge", "doctor", "--json", folder=tmp_path)
    assert outcome.code == 0 and outcome.json["engine"]["name"] == "onnxruntime-cpu", outcome.err


def test_recorded_keypoints_are_lifted(cpu: Environment, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.npz")
    line = ["run", "kpts:clip.npz", "--sink", "jsonl:out.jsonl", "--json"]
    outcome = cpu.run("posemoe-edge", *line, folder=tmp_path)
    assert outcome.code == 0, outcome.err
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == outcome.json["poses"] > 0


@pytest.mark.parametrize(
    ("line", "extra"),
    [
        ("run kpts:clip.npz --sink png:out.png", "plot"),
        ("run kpts:clip.npz --sink video:out.mp4", "camera"),
        ("run kpts:clip.npz --sink rerun:out.rrd", "rerun"),
        ("run kpts:clip.npz --sink foxglove:out.mcap", "foxglove"),
        ("run kpts:clip.npz --sink mcap:out.mcap", "ros"),
        ("run kpts:clip.npz --metrics 127.0.0.1:0", "metrics"),
        ("run kpts:clip.npz --shadow 0.1", "export"),
        ("run kpts:clip.npz --server grpc://127.0.0.1:1", "serve"),
        ("run kpts:clip.npz --camera front.yaml", "camera"),
        ("lift clips --out poses --format parquet", "parquet"),
        ("export", "export"),
    ],
)
def test_a_command_names_the_extra_that_it_needs(line: str, extra: str, cpu: Environment, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name in ("clip.npz", "clips/clip.npz"):
        write_clip(tmp_path / name)
    (tmp_path / "front.yaml").write_text("image_width: 640\n")
    outcome = cpu.run("posemoe-edge", *line.split(), "--json", folder=tmp_path)
    assert outcome.code == 3, outcome.err
    assert outcome.json["run"] == f'pip install "posemoe-edge[{extra}]"' and "Traceback" not in outcome.err


def test_a_video_needs_the_camera_extra_once_the_networks_are_fetched(
    cpu: Environment, tmp_path: Path, detector_cache: Path
) -> None:
    (tmp_path / "video.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(1000))  # begins as one does
    outcome = cpu.run("posemoe-edge", "run", "video.mp4", "--json", folder=tmp_path, **{VARIABLE: str(detector_cache)})
    assert outcome.code == 3 and outcome.json["run"] == 'pip install "posemoe-edge[camera]"', outcome.err


def test_an_example_of_a_loop_in_python_runs(cpu: Environment, tmp_path: Path) -> None:
    outcome = cpu.run(cpu.python, ROOT / "examples" / "lift_walker.py", folder=tmp_path)
    assert outcome.code == 0 and outcome.out.count("right wrist at") == 5, outcome.err
