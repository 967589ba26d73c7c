"""A 3DHP of walkers: univ-like millimetres in camera axes, files written as P-STMO's converters write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from posemoe_edge.edge.data.camera import Camera, sample_camera
from posemoe_edge.edge.data.mpi3dhp import convert
from posemoe_edge.edge.data.recorded import load_recorded
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.errors import ArtefactError, MissingError, UsageError
from posemoe_edge.runtime.pose.skeleton import H36M_ORDERS
from posemoe_edge.runtime.sources.walker import walk_world

POSE_M = 1e-6  # float32, by way of millimetres
PIXEL = 1e-6
TO_3DHP = list(H36M_ORDERS["3dhp17"])
FRAMES = 40


def view_of_walk(seed: int, *, fps: float = 25.0) -> tuple[dict[str, NDArray[Any]], F32, F32]:
    """One view as the file stores it, and the pose and pixels in Human3.6M's order."""
    joints_m = walk_world(np.arange(FRAMES) / fps, seed=seed).astype(np.float32)
    camera: Camera = sample_camera(np.random.default_rng(seed), joints_m)
    points = camera.to_camera(joints_m)
    pixels = camera.project(points)
    held = {"data_2d": pixels[:, TO_3DHP].astype(np.float64), "data_3d": 1000 * points[:, TO_3DHP].astype(np.float64)}
    return held, points - points[:, :1], pixels


def write(path: Path, data: Any) -> Path:
    np.savez_compressed(path, data=np.array(data, dtype=object))
    return path


@pytest.fixture
def train() -> dict[str, Any]:
    return {
        "S1 Seq1": [{"0": view_of_walk(0)[0], "4": view_of_walk(1)[0]}, 25],
        "S8 Seq2": [{"8": view_of_walk(2)[0]}, 50],
    }


@pytest.fixture
def held_out() -> dict[str, Any]:
    valid = np.arange(FRAMES) % 2
    return {
        "TS1": view_of_walk(3)[0] | {"valid": valid.astype(np.float64)},
        "TS5": view_of_walk(4)[0] | {"valid": np.ones(FRAMES)},
    }


def test_sequences_are_in_human36m_order_and_metres(tmp_path: Path, train: dict[str, Any], held_out: dict[str, Any]) -> None:
    out = tmp_path / "3dhp.npz"
    saved = convert([write(tmp_path / "train.npz", train), write(tmp_path / "test.npz", held_out)], out)
    assert [entry.clip_id for entry in saved] == ["S1/Seq1/cam0", "S1/Seq1/cam4", "S8/Seq2/cam8", "TS1", "TS5"]
    for seed, item in enumerate(load_recorded(out)):
        _, pose_m, pixels = view_of_walk(seed)
        width_px, height_px = (1920, 1080) if item.subject == "TS5" else (2048, 2048)
        np.testing.assert_allclose(item.sequence.pose_m, pose_m, atol=POSE_M)
        np.testing.assert_allclose(item.sequence.keypoints[..., 0], pixels[..., 0] / width_px * 2 - 1, atol=PIXEL)
        np.testing.assert_allclose(
            item.sequence.keypoints[..., 1], pixels[..., 1] / width_px * 2 - height_px / width_px, atol=PIXEL
        )
        assert (item.sequence.keypoints[..., 2] == 1).all()


def test_rates_are_the_files_or_the_given_one(tmp_path: Path, train: dict[str, Any], held_out: dict[str, Any]) -> None:
    paths = [write(tmp_path / "train.npz", train), write(tmp_path / "test.npz", held_out)]
    convert(paths, tmp_path / "a.npz")
    steps = {item.sequence.clip_id: item.sequence.dt_s[0] for item in load_recorded(tmp_path / "a.npz")}
    assert steps["S1/Seq1/cam4"] == pytest.approx(0.04) and steps["S8/Seq2/cam8"] == pytest.approx(0.02)
    assert steps["TS1"] == pytest.approx(0.04)
    convert(paths, tmp_path / "b.npz", fps_test=50)
    assert load_recorded(tmp_path / "b.npz", "test")[0].sequence.dt_s[0] == pytest.approx(0.02)


def test_invalid_frames_are_kept_and_marked(tmp_path: Path, held_out: dict[str, Any]) -> None:
    held_out["TS1"]["data_3d"][0] = np.nan  # frame 0 is not valid
    held_out["TS1"]["data_2d"][2, 3] = np.nan
    convert([write(tmp_path / "test.npz", held_out)], tmp_path / "3dhp.npz")
    item = next(item for item in load_recorded(tmp_path / "3dhp.npz") if item.subject == "TS1")
    np.testing.assert_array_equal(item.sequence.valid, np.arange(FRAMES) % 2 == 1)
    assert len(item.sequence) == FRAMES and item.sequence.action == "TS1" and (item.sequence.pose_m[0] == 0).all()
    missing = item.sequence.keypoints[2][item.sequence.keypoints[2, :, 2] == 0]
    assert len(missing) == 1 and (missing == 0).all()


def test_at_least_one_file_is_needed(tmp_path: Path, train: dict[str, Any]) -> None:
    path = write(tmp_path / "train.npz", train)
    convert([path], tmp_path / "a.npz")
    assert {item.split for item in load_recorded(tmp_path / "a.npz")} == {"train"}
    assert all(item.sequence.valid is None for item in load_recorded(tmp_path / "a.npz"))
    with pytest.raises(UsageError, match="neither"):
        convert([], tmp_path / "b.npz")
    with pytest.raises(UsageError, match="0 frames per second"):
        convert([path], tmp_path / "b.npz", fps_test=0)
    with pytest.raises(MissingError, match=r"nowhere\.npz"):
        convert([tmp_path / "nowhere.npz"], tmp_path / "b.npz")
    with pytest.raises(UsageError, match="two sequences are called S1/Seq1/cam0"):
        convert([path, path], tmp_path / "b.npz")
    assert not (tmp_path / "b.npz").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held.pop("data_2d"), "lacks data_2d in TS1"),
        (lambda held: held.pop("valid"), "lacks valid in TS1"),
        (lambda held: held.update(data_3d=np.zeros((FRAMES, 28, 3))), r"data_3d of shape \(40, 28, 3\) in TS1"),
        (lambda held: held.update(data_2d=np.zeros((FRAMES - 1, 17, 2))), r"data_2d of shape \(39, 17, 2\) in TS1"),
        (lambda held: held.update(valid=np.ones(FRAMES + 1)), r"valid of shape \(41,\) in TS1"),
        (lambda held: held["data_3d"].__setitem__((1, 0, 0), np.nan), "frames of TS1 that are valid and not finite"),
        (lambda held: held["data_2d"].__setitem__((1, 0, 0), np.inf), "frames of TS1 that are valid and not finite"),
        (lambda held: held.update(data_2d=[1, 2]), "lacks data_2d"),
    ],
)
def test_invalid_test_files_are_refused(tmp_path: Path, held_out: dict[str, Any], change: Any, message: str) -> None:
    change(held_out["TS1"])
    with pytest.raises(ArtefactError, match=message):
        convert([write(tmp_path / "test.npz", held_out)], tmp_path / "3dhp.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.npz"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"S1 Seq1": [{}, 0]}, "0 frames per second in S1 Seq1"),
        ({"S1 Seq1": [{}, "fast"]}, "fast frames per second"),
        ({"S1": [{}, 25]}, "sequence 'S1' of another form"),
        ({"S1 Seq1": [25]}, "sequence 'S1 Seq1' of another form"),
        ({"S1 Seq1": {}}, "lacks valid in S1 Seq1"),
        ({}, "not by sequence"),
        ([1], "not by sequence"),
    ],
)
def test_invalid_training_files_are_refused(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(ArtefactError, match=message):
        convert([write(tmp_path / "train.npz", data)], tmp_path / "3dhp.npz")
