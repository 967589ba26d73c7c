"""The motion that an artefact is verified on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.edge.data.motion import real_motion, walker_motion
from posemoe_edge.edge.data.recorded import RecordedSequence, save_recorded
from posemoe_edge.edge.data.sequences import evaluation_sequences
from posemoe_edge.runtime import UsageError


@pytest.fixture
def data(write_motion_file: Callable[..., Path], make_walker_clip: Callable[..., Any]) -> Path:
    """One training clip, and three test clips of 40, 50 and 60 frames."""
    clips = [make_walker_clip("a", 300)]
    clips += [make_walker_clip(name, 40 + 10 * i, seed=i + 1, split="test") for i, name in enumerate("bcd")]
    return write_motion_file(clips)


def test_streams_play_the_test_split_each_in_its_own_order(data: Path) -> None:
    recordings, motion = real_motion(data, frames=600, streams=6)
    assert motion.frames == 600 and motion.source == "motion.npz" and motion.kind.startswith("motion capture")
    assert {clip for stream in motion.streams for clip in stream.clips} == {"b", "c", "d"}
    assert len({stream.clips[:9] for stream in motion.streams}) > 1
    for recording, stream in zip(recordings, motion.streams, strict=True):
        assert len(recording) == 600 and np.flatnonzero(recording.reset).tolist() == [0]  # cuts are no resets
        assert recording.cut is not None and recording.cut.sum() == len(stream.clips) - 1
        for lap in range(0, len(stream.clips) - 2, 3):
            assert sorted(stream.clips[lap : lap + 3]) == ["b", "c", "d"]  # every clip once before any is repeated


def test_streams_have_different_rates(data: Path) -> None:
    recordings, motion = real_motion(data, frames=300, streams=5)
    assert [(stream.fps, stream.lost) for stream in motion.streams] == [(50, 0), (50, 0.2), (25, 0), (12.5, 0), (50, 0)]
    steps = [sorted({round(float(dt_s), 4) for dt_s in recording.dt_s}) for recording in recordings]
    assert steps[0] == [0.02] == steps[4] and steps[2] == [0.04] and steps[3] == [0.08]
    assert steps[1][:2] == [0.02, 0.04]
    assert 0.7 < (recordings[1].dt_s < 0.03).mean() < 0.9  # a fifth of the frames is lost


def test_a_repeated_clip_is_seen_by_another_camera(data: Path) -> None:
    (recording,), motion = real_motion(data, frames=400, streams=1)
    assert recording.truth is not None and recording.cut is not None
    starts = [0, *np.flatnonzero(recording.cut).tolist()]
    twice = [at for at, clip in zip(starts, motion.streams[0].clips, strict=True) if clip == "b"][:2]
    first, second = (recording.truth[at : at + 40] for at in twice)
    first_m, second_m = (np.linalg.norm(pose[:, 2] - pose[:, 1], axis=-1) for pose in (first, second))
    np.testing.assert_allclose(first_m, second_m, atol=1e-4)  # the same thigh
    assert np.abs(first - second).max() > 0.05


def test_fewer_frames_are_the_beginning_of_more(data: Path) -> None:
    (few,), _ = real_motion(data, frames=70, streams=1)
    many, _ = real_motion(data, frames=300, streams=2)
    np.testing.assert_array_equal(few.keypoints, many[0].keypoints[:70])
    np.testing.assert_array_equal(few.dt_s, many[0].dt_s[:70])


def test_the_seed_determines_the_motion(data: Path) -> None:
    motions = [real_motion(data, frames=50, streams=2, seed=seed) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(motions[0][0][1].keypoints, motions[1][0][1].keypoints)
    assert motions[0][1] == motions[1][1] != motions[2][1]
    assert not np.array_equal(motions[0][0][0].keypoints, motions[2][0][0].keypoints)


def test_data_without_the_split_is_refused(
    write_motion_file: Callable[..., Path], make_walker_clip: Callable[..., Any]
) -> None:
    with pytest.raises(UsageError, match="has no test split"):
        real_motion(write_motion_file([make_walker_clip("a", 50)]), frames=10)


def test_walkers_have_different_bodies_and_known_poses(walker_keypoints: Callable[..., np.ndarray]) -> None:
    recordings, motion = walker_motion(frames=80)
    assert motion.kind == "procedural walkers" and [stream.fps for stream in motion.streams] == [50, 50, 25, 12.5]
    np.testing.assert_array_equal(recordings[0].keypoints, walker_keypoints(80))
    for recording in recordings:
        assert len(recording) == 80 and recording.dt_s.dtype == np.float32 and recording.reset.tolist() == [True] + [False] * 79
        assert recording.truth is not None and (recording.truth[:, 0] == 0).all()
        forearm = np.linalg.norm(recording.truth[:, 16] - recording.truth[:, 15], axis=-1)
        assert np.ptp(forearm) < 1e-5 < forearm.min()
    assert np.ptp(recordings[1].dt_s) > 0.01  # frames were lost
    forearms = {round(float(np.linalg.norm(r.truth[0, 16] - r.truth[0, 15])), 4) for r in recordings if r.truth is not None}
    assert len(forearms) == 4


def test_the_walkers_are_the_same_for_the_same_seed() -> None:
    motions = [walker_motion(frames=20, streams=3, seed=seed) for seed in (1, 1, 2)]
    assert motions[0][1] == motions[1][1] and motions[0][1].sha256 != motions[2][1].sha256
    for a, b in zip(motions[0][0], motions[1][0], strict=True):
        np.testing.assert_array_equal(a.keypoints, b.keypoints)


def test_recorded_sequences_are_played_as_they_are(tmp_path: Path, make_walker_clip: Callable[..., Any]) -> None:
    clips = [make_walker_clip(name, 60, seed=i) for i, name in enumerate("abc")]
    sequences = evaluation_sequences(clips, noisy=True)
    valid = np.ones(60, np.bool_)
    valid[:25] = valid[50] = False  # the longest valid part is of 25 frames
    sequences[2] = replace(sequences[2], valid=valid)
    items = [RecordedSequence(s, "S1", split) for s, split in zip(sequences, ("train", "test", "test"), strict=True)]
    save_recorded(tmp_path / "recorded.npz", items)
    (recording,), motion = real_motion(tmp_path / "recorded.npz", frames=85, streams=1)
    assert motion.kind == "recorded sequences" and not motion.noisy and sorted(motion.streams[0].clips) == ["b", "c"]
    by_clip = {"b": sequences[1].keypoints, "c": sequences[2].keypoints[25:50]}
    played = np.concatenate([by_clip[name] for name in motion.streams[0].clips])
    np.testing.assert_array_equal(recording.keypoints, played)
    (calibrated,), _ = real_motion(tmp_path / "recorded.npz", frames=30, streams=1, split="val")  # there is none: train
    np.testing.assert_array_equal(calibrated.keypoints, sequences[0].keypoints[:30])
