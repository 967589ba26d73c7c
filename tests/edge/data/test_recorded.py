from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.edge.data.recorded import RecordedSequence, SavedSequence, load_recorded, save_recorded
from posemoe_edge.edge.data.sequences import PoseSequence
from posemoe_edge.runtime.errors import ArtefactError, MissingError, UsageError


def recorded(name: str, frames: int, *, subject: str = "S1", split: str = "train", whole: bool = False) -> RecordedSequence:
    rng = np.random.default_rng(frames)
    keypoints, pose_m = rng.uniform(0.1, 1, (2, frames, 17, 3)).astype(np.float32)
    valid = None if whole else rng.random(frames) < 0.5
    return RecordedSequence(
        PoseSequence(keypoints, pose_m, np.full(frames, 0.02, np.float32), name, "walk", valid), subject, split
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    saved = save_recorded(tmp_path / "a.npz", [recorded("a", 5), recorded("b", 9, subject="S9", split="test")])
    assert saved == [SavedSequence("a", "S1", "walk", "train", 5), SavedSequence("b", "S9", "walk", "test", 9)]
    return tmp_path / "a.npz"


def test_sequences_are_read_as_they_were_written(path: Path) -> None:
    for got, stored in zip(load_recorded(path), [recorded("a", 5), recorded("b", 9, subject="S9", split="test")], strict=True):
        assert (got.sequence.clip_id, got.subject, got.sequence.action, got.split) == (
            stored.sequence.clip_id, stored.subject, stored.sequence.action, stored.split
        )  # fmt: skip
        for name in ("keypoints", "pose_m", "dt_s", "valid"):
            np.testing.assert_array_equal(getattr(got.sequence, name), getattr(stored.sequence, name))


def test_a_sequence_of_valid_frames_only_is_stored_without_flags(tmp_path: Path) -> None:
    save_recorded(tmp_path / "a.npz", [recorded("a", 5, whole=True), recorded("b", 6)])
    first, second = (item.sequence for item in load_recorded(tmp_path / "a.npz"))
    assert first.valid is None and first.valid_mask.all() and len(first.valid_mask) == 5
    assert second.valid is not None and second.valid_mask is second.valid


def test_two_sequences_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two sequences are called a"):
        save_recorded(tmp_path / "a.npz", [recorded("a", 5), recorded("a", 6)])
    assert list(tmp_path.iterdir()) == []


def test_a_split_is_loaded_alone(path: Path) -> None:
    assert [item.sequence.clip_id for item in load_recorded(path, "test")] == ["b"]
    with pytest.raises(UsageError, match="'val'; expected one of train, test"):
        load_recorded(path, "val")


def test_a_failed_conversion_keeps_the_old_file(path: Path) -> None:
    def broken() -> Iterator[RecordedSequence]:
        yield recorded("c", 5)
        raise UsageError("broken")

    before = path.read_bytes()
    with pytest.raises(UsageError, match="broken"):
        save_recorded(path, broken())
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"split": None}, "lacks split"),
        ({"split": np.array(["train", "dev"])}, "unknown splits dev"),
        ({"action": np.array(["walk"])}, "unequal lengths"),
        ({"keypoints.1": np.zeros((9, 16, 3), np.float32)}, r"keypoints of b as float32 \(9, 16, 3\)"),
        ({"pose_m.1": np.zeros((9, 17, 3))}, "pose_m of b as float64"),
        ({"pose_m.0": np.full((5, 17, 3), np.nan, np.float32)}, "pose_m of a that are not finite"),
        ({"valid.0": np.ones(4, np.bool_)}, "valid of a"),
        ({"dt_s.0": None}, "cannot be read"),
        ({"dt_s.0": np.zeros(5, np.float32)}, "time steps of a that are not positive"),
        ({"dt_s.0": np.array([{}] * 5)}, "cannot be read"),  # pickled objects are refused
    ],
)
def test_invalid_files_are_refused(path: Path, odd: dict[str, Any], message: str) -> None:
    with np.load(path) as file:
        fields = {key: file[key] for key in file} | odd
    np.savez(path, **{key: value for key, value in fields.items() if value is not None})
    with pytest.raises(ArtefactError, match=message) as error:
        load_recorded(path)
    assert "a.npz" in error.value.what and error.value.expected


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"nowhere\.npz"):
        load_recorded(tmp_path / "nowhere.npz")
    (tmp_path / "broken.npz").write_bytes(b"not a zip")
    with pytest.raises(ArtefactError, match="cannot be read"):
        load_recorded(tmp_path / "broken.npz")
