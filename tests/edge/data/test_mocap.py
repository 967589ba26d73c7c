from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.edge.data.mocap import Clip, load_clips, save_clips
from posemoe_edge.edge.data.sequence_stream import SequenceStream
from posemoe_edge.edge.data.sequences import evaluation_sequences
from posemoe_edge.runtime.errors import ArtefactError, MissingError, UsageError

ROUNDING_M = 0.06e-3  # half of the file's unit, and float32
REAL = Path(__file__).parents[4] / "shared" / "data" / "cmu_h36m17.npz"


def test_clips_come_back_as_they_were_stored(write_mocap: Callable[..., Path], clips: list[Clip]) -> None:
    loaded = load_clips(write_mocap())
    assert [c.id for c in loaded] == [c.id for c in clips]
    assert [c.split for c in loaded] == ["train", "val", "test"]
    assert [c.native for c in loaded] == [True, False, True]
    for got, stored in zip(loaded, clips, strict=True):
        assert got.fps == 50 and got.joints_m.dtype == np.float32
        np.testing.assert_allclose(got.joints_m, stored.joints_m, atol=ROUNDING_M)


def test_clips_are_saved_as_they_are_loaded(tmp_path: Path, clips: list[Clip]) -> None:
    relabelled = [replace(clip, split=split) for clip, split in zip(clips, ("train", "val", "test"), strict=True)]
    relabelled[1] = replace(relabelled[1], native=False, action="")
    save_clips(tmp_path / "a.npz", relabelled)
    for got, stored in zip(load_clips(tmp_path / "a.npz"), relabelled, strict=True):
        assert replace(got, joints_m=stored.joints_m) == stored
        np.testing.assert_allclose(got.joints_m, stored.joints_m, atol=ROUNDING_M)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda clips: [], "0 clips"),
        (lambda clips: [clips[0], replace(clips[1], fps=30.0)], r"2 clips at \[30.0, 50.0\] Hz"),
        (lambda clips: [clips[0], clips[0]], "several clips are called stick_300_0"),
        (lambda clips: [replace(clips[0], joints_m=clips[0].joints_m * 10)], "more than 3.2 m from the hip"),
    ],
)
def test_clips_that_cannot_be_saved_are_refused(tmp_path: Path, clips: list[Clip], change: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        save_clips(tmp_path / "a.npz", change(clips))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **fields: Any) -> None:
        raise OSError("the disk is full")

    (tmp_path / "a.npz").write_bytes(b"before")
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="full"):
        save_clips(tmp_path / "a.npz", clips)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_a_split_is_loaded_alone(write_mocap: Callable[..., Path], clips: list[Clip]) -> None:
    assert [c.id for c in load_clips(write_mocap(), "val")] == [clips[1].id]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"nowhere\.npz"):
        load_clips(tmp_path / "nowhere.npz")


def test_an_unknown_split_is_a_usage_error(write_mocap: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="'dev'; expected one of train, val, test"):
        load_clips(write_mocap(), "dev")


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"offsets": None}, "lacks offsets"),
        ({"offsets": np.array([0, 300, 200, 1390])}, "offsets"),
        ({"offsets": np.array([0, 300, 390])}, "offsets"),
        ({"root": np.zeros((3, 3), np.float32)}, "root of shape"),
        ({"root": np.full((1390, 3), np.nan, np.float32)}, "not finite"),
        ({"rel": np.zeros((1390, 16, 3), np.int16)}, "rel of shape"),
        ({"rel": np.zeros((1390, 17, 3), np.float32)}, "rel of type float32"),
        ({"parents": np.arange(17)}, "another order"),
        ({"fps": np.array(0)}, "frames per second"),
        ({"subject": np.array(["one"])}, "subject of shape"),
        ({"split": np.array(["train", "dev", "test"])}, "unknown splits dev"),
        ({"action": np.array([None, None, None])}, "cannot be read"),  # pickled objects are refused
    ],
)
def test_an_invalid_file_is_refused_with_the_field(write_mocap: Callable[..., Path], odd: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtefactError, match=message) as error:
        load_clips(write_mocap(**odd))
    assert "motion.npz" in error.value.what and error.value.expected


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"cannot be read|is empty"):
        load_clips(path)


def test_a_single_array_is_not_a_motion_file(tmp_path: Path) -> None:
    path = tmp_path / "lone.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(ArtefactError, match="cannot be read"):
        load_clips(path)


@pytest.mark.skipif(not REAL.is_file(), reason="the CMU file is not beside the repository (shared/data/cmu_h36m17.npz)")
def test_the_real_file_makes_sequences() -> None:
    clips = load_clips(REAL)
    subjects = {split: {c.subject for c in clips if c.split == split} for split in ("train", "val", "test")}
    assert len(clips) == 302 and sum(map(len, clips)) == 181_732
    assert not subjects["train"] & (subjects["val"] | subjects["test"]) and not subjects["val"] & subjects["test"]
    for sequence in evaluation_sequences([c for c in clips if c.split == "val"], noisy=True):
        assert np.isfinite(sequence.keypoints).all() and np.abs(sequence.pose_m).max() < 1.5
    chunk = next(SequenceStream([c for c in clips if c.split == "train"], rows=4, frames=81, seed=0))
    assert np.isfinite(chunk.keypoints).all() and chunk.reset[:, 0].all()
