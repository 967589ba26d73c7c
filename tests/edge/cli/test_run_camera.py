"""posemoe-edge run with what is known of the camera."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.edge.cli.camera_options import known_camera
from posemoe_edge.runtime.pose.camera_model import Camera, FieldOfView
from posemoe_edge.runtime.sources import SyntheticSource
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints

Call = Callable[..., Any]
CALIBRATION = """\
width_px = 1000
height_px = 1002
fx_px = 1147
fy_px = 1147
cx_px = 512
cy_px = 512
"""


def recorded(path: Path) -> None:
    """Keypoints of a walker in pixels, in a file that knows no camera."""
    frames = list(SyntheticSource(frames=10))
    points = np.stack([frame.keypoints[0].points for frame in frames])
    save_keypoints(path, keypoints=points, fps=50, units="pixels", width_px=1000, height_px=1002)


def test_a_camera_file_gives_positions_in_metres(run_cli: Call, workdir: Path, retention_artefact: Path) -> None:
    recorded(workdir / "in.npz")
    (workdir / "camera.toml").write_text(CALIBRATION)
    run = ("run", "kpts:in.npz", "--model", retention_artefact, "--sink", "jsonl:out.jsonl", "--json")
    unknown = run_cli(*run)
    assert unknown.json["view_from"] == "none" and unknown.json["located"] == 0
    assert "the camera is not known" in unknown.err
    assert "root" not in json.loads((workdir / "out.jsonl").read_text().splitlines()[0])
    known = run_cli(*run, "--camera", "camera.toml", "--gravity", "0,1,0.13", "--camera-height", "1.5")
    assert known.json["view_from"] == "runtime" and "the camera is known" in known.err
    assert run_cli(*run, "--camera", "camera.toml", "--view", "off").json["view_from"] == "none"


def test_a_source_that_knows_its_camera_needs_no_option(run_cli: Call) -> None:
    result = run_cli("run", "synthetic://walk?people=2", "--frames", 10, "--json")
    assert result.json["located"] == 20 and 0 < result.json["root_mm"] < 500
    assert "positions against the source's ground truth" in result.err


def test_keypoints_without_pixels_have_no_position_and_it_is_said(
    run_cli: Call, workdir: Path, retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    save_keypoints(workdir / "in.npz", keypoints=walker_keypoints(5))
    result = run_cli("run", "kpts:in.npz", "--model", retention_artefact, "--fov", 60, "--json")
    assert result.code == 0 and result.json["located"] == 0
    assert "5 of 5 poses have no position" in result.err


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--camera", "a.toml", "--fov", "60"), "both describe the lens"),
        (("--gravity", "0,1,0"), "--gravity without a camera"),
        (("--camera-height", "1.2"), "--camera-height without a camera"),
        (("--fov", "60", "--camera-height", "1.2"), "without the direction of gravity"),
        (("--fov", "60", "--gravity", "down"), "expected.*X,Y,Z"),
        (("--fov", "60", "--gravity", "0,1"), "expected.*X,Y,Z"),
        (("--fov", "60", "--gravity", "0,0,0"), "gravity of"),
        (("--fov", "0"), "field of view"),
        (("--fov", "60", "--gravity", "0,1,0", "--camera-height", "-1"), "above the floor"),
        (("--fov", "60", "--stature", "182"), "stature of 182"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(run_cli: Call, options: tuple[str, ...], what: str) -> None:
    import re

    result = run_cli("run", "synthetic://walk", "--frames", 2, *options)
    assert result.code == 2 and re.search(what, result.err, re.DOTALL)


def test_a_stature_needs_a_camera(run_cli: Call, workdir: Path) -> None:
    recorded(workdir / "in.npz")
    result = run_cli("run", "kpts:in.npz", "--stature", "1.8")
    assert result.code == 2 and "--stature without a camera" in result.err


def test_camera_files_that_are_none_end_with_their_exit_codes(run_cli: Call, workdir: Path) -> None:
    recorded(workdir / "in.npz")
    (workdir / "bad.toml").write_text(CALIBRATION.replace("fx_px = 1147", "fx_px = 0"))
    (workdir / "wide.toml").write_text(CALIBRATION.replace("height_px = 1002", "height_px = 600"))
    for name, code, what in (
        ("none.toml", 3, "no camera file"),
        ("bad.toml", 2, "focal lengths above 0"),
        ("wide.toml", 2, "another aspect"),
    ):
        result = run_cli("run", "kpts:in.npz", "--camera", name)
        assert result.code == code and what in result.err


def test_options_add_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "camera.toml"
    path.write_text(CALIBRATION + "gravity = [0, 1, 0]\nheight_m = 1.0\n")
    camera = known_camera(str(path), fov=None, gravity="0,2,0.0", camera_height=1.7)
    assert isinstance(camera, Camera) and camera.gravity is not None
    assert camera.height_m == 1.7 and camera.gravity.tolist() == [0, 1, 0]
    kept = known_camera(str(path), fov=None, gravity=None, camera_height=None)
    assert isinstance(kept, Camera) and kept.height_m == 1.0
    view = known_camera(None, fov=60.0, gravity="0,1,0", camera_height=1.2)
    assert isinstance(view, FieldOfView) and view.height_m == 1.2
    assert known_camera(None, fov=None, gravity=None, camera_height=None) is None
