"""The kind of a dataset is recognised by the fields of its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.edge.data.dataset import evaluation_sets, open_data, open_motion
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.recorded import RecordedSequence, save_recorded
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.runtime.errors import ArtefactError, MissingError, UsageError


@pytest.fixture
def recorded(tmp_path: Path, clips: list[Clip]) -> Path:
    sequences = evaluation_sequences(clips[:2], noisy=True)
    save_recorded(
        tmp_path / "recorded.bin",
        [RecordedSequence(sequence, "S1", split) for sequence, split in zip(sequences, ("train", "test"), strict=True)],
    )
    return tmp_path / "recorded.bin"  # whatever it is called


def test_a_file_of_clips_gives_the_clips_of_a_split(write_mocap: Callable[..., Path], clips: list[Clip]) -> None:
    for split, clip in zip(("train", "val", "test"), clips, strict=True):
        (item,) = open_data(write_mocap(), split)
        assert isinstance(item, Clip) and item.id == clip.id


def test_a_file_of_recorded_sequences_gives_the_sequences_of_a_split(recorded: Path, clips: list[Clip]) -> None:
    for split, clip in zip(("train", "test"), clips[:2], strict=True):
        (item,) = open_data(recorded, split)
        assert isinstance(item, PoseSequence) and item.clip_id == clip.id and item.action == clip.action
    with pytest.raises(UsageError, match="'val'; expected one of train, test"):
        open_data(recorded, "val")


def test_clips_are_evaluated_clean_and_noisy_and_recorded_sequences_as_they_are(clips: list[Clip]) -> None:
    sets = evaluation_sets(clips[:1], seed=3)
    assert list(sets) == ["clean", "noisy"]
    for name, sequences in sets.items():
        (expected,) = evaluation_sequences(clips[:1], noisy=name == "noisy", seed=3)
        np.testing.assert_array_equal(sequences[0].keypoints, expected.keypoints)
    again = evaluation_sets(sets["noisy"])
    assert list(again) == ["recorded"] and again["recorded"][0] is sets["noisy"][0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"positions_3d": 1},
            "Human3.6M's positions as published.* run: posemoe-edge import h36m .*raw.npz --keypoints data_2d",
        ),
        (
            {"positions_2d": 1, "metadata": 1},
            "Human3.6M's keypoints .* run: posemoe-edge import h36m data_3d.* --keypoints .*raw",
        ),
        ({"data": 1}, "MPI-INF-3DHP as published.* run: posemoe-edge import 3dhp .*raw.npz"),
        ({"kpts": 1, "t": 2}, "holds kpts, t; expected clips of motion or recorded sequences; run: posemoe-edge import --help"),
        ({}, "holds nothing"),
        ({"rel": np.zeros((3, 17, 3), np.int16)}, "lacks root, offsets"),
    ],
)
def test_other_files_are_refused_with_the_command_that_converts_them(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "raw.npz", **fields)
    with pytest.raises(ArtefactError, match=message):
        open_data(tmp_path / "raw.npz", "train")


def test_other_formats_than_npz_are_refused(tmp_path: Path) -> None:
    (tmp_path / "walk.bvh").write_text("HIERARCHY")
    with pytest.raises(ArtefactError, match=r"is a BVH file; .* run: posemoe-edge import bvh .*walk\.bvh"):
        open_data(tmp_path / "walk.bvh", "train")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut off")
    np.save(tmp_path / "lone.npy", np.zeros(3))
    for name in ("broken.npz", "lone.npy"):
        with pytest.raises(ArtefactError, match=f"{name} cannot be read"):
            open_data(tmp_path / name, "train")
    with pytest.raises(MissingError, match=r"no motion-capture file .*nowhere\.npz"):
        open_data(tmp_path / "nowhere.npz", "train")


def test_several_files_add_up_and_a_retargeted_clip_gives_way_to_its_native_version(
    tmp_path: Path, make_walker_clip: Callable[..., Clip], write_motion_file: Callable[..., Path]
) -> None:
    retargeted = [make_walker_clip(name, 20, seed=1) for name in ("A_01", "A_02_0", "A_02_1", "A_03")]
    native = [make_walker_clip(name, 20, seed=2) for name in ("A_01n", "A_02n", "B_01")]
    paths = [write_motion_file(clips, name) for clips, name in ((retargeted, "a.npz"), (native, "b.npz"))]
    motion = open_motion(paths, "train")
    assert [clip.id for clip in motion] == ["A_03", "A_01n", "A_02n", "B_01"]
    assert len(open_motion(paths[:1], "train")) == 4


def test_clips_and_recorded_sequences_do_not_add_up(recorded: Path, write_mocap: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="together"):
        open_motion([write_mocap(), recorded], "train")


def test_more_cameras_film_the_same_clips_from_other_places(clips: list[Clip]) -> None:
    one, two = evaluation_sets(clips[:1], seed=3), evaluation_sets(clips[:1], seed=3, cameras=2)
    np.testing.assert_array_equal(two["clean"][0].keypoints, one["clean"][0].keypoints)
    assert len(two["clean"]) == 2 and two["clean"][0].clip_id == two["clean"][1].clip_id
    assert not np.array_equal(two["clean"][0].keypoints, two["clean"][1].keypoints)
