from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from posemoe_edge.edge.data.augment import mirror
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.projection import project
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.edge.data.window_stream import WindowStream
from posemoe_edge.runtime.errors import UsageError

MILLIMETRE = 1e-3


@pytest.fixture
def clips(make_walker_clip: Callable[..., Clip]) -> list[Clip]:
    return [make_walker_clip("long", 200), make_walker_clip("short", 12, seed=1)]


def test_a_window_is_of_one_person_and_a_batch_of_one_rate(clips: list[Clip]) -> None:
    stream = WindowStream(clips, rows=8, frames=9, seed=0, strides=((1, 0.5), (4, 0.5)))
    rates = set()
    for _ in range(12):
        chunk = next(stream)
        assert chunk.keypoints.shape == (8, 9, 17, 3) and chunk.pose_m.shape == (8, 9, 17, 3)
        assert chunk.reset[:, 0].all() and not chunk.reset[:, 1:].any()
        assert (chunk.dt_s == chunk.dt_s[0, 0]).all()
        rates |= set(np.round(chunk.dt_s[:, 0], 3).tolist())
        # One body: its bones are of one length from the first frame to the last.
        thigh = np.linalg.norm(chunk.pose_m[:, :, 2] - chunk.pose_m[:, :, 1], axis=-1)
        assert np.ptp(thigh, axis=1).max() < MILLIMETRE
    assert sorted(rates) == pytest.approx([0.02, 0.08])


def test_windows_of_clips_are_drawn_and_projected_in_one_order(clips: list[Clip]) -> None:
    """Written out: the same seed gives the same windows in every version."""
    stream, rng = WindowStream(clips, rows=5, frames=9, seed=7, strides=((1, 0.5), (2, 0.5))), np.random.default_rng(7)
    for _ in range(4):
        chunk = next(stream)
        stride = 1 if rng.random() < 0.5 else 2
        chosen = [clips[int(frame >= len(clips[0]))] for frame in rng.integers(sum(map(len, clips)), size=5)]
        starts = rng.integers([max(len(clip) - 8 * stride, 1) for clip in chosen])
        joints_m = np.stack(
            [
                clip.joints_m[np.minimum(start + stride * np.arange(9), len(clip) - 1)]
                for clip, start in zip(chosen, starts, strict=True)
            ]
        )
        exact = rng.random(5) < 0.15
        for rows, clean in ((exact, True), (~exact, False)):
            if rows.any():
                keypoints, pose_m, _ = project(joints_m[rows], rng, augment=True, noisy=not clean, masked=not clean)
                np.testing.assert_array_equal(chunk.keypoints[rows], keypoints)
                np.testing.assert_array_equal(chunk.pose_m[rows], pose_m)
        np.testing.assert_array_equal(chunk.dt_s, np.float32(stride / 50))


def test_a_clip_that_is_too_short_repeats_its_last_frame(clips: list[Clip]) -> None:
    stream = WindowStream(clips[1:], rows=2, frames=20, seed=0)
    chunk = next(stream)
    assert (chunk.pose_m[:, 12:] == chunk.pose_m[:, 11:12]).all()
    assert (chunk.pose_m[:, 10] != chunk.pose_m[:, 11]).any()


def test_the_seed_determines_the_windows(clips: list[Clip]) -> None:
    first, again, other = (next(WindowStream(clips, rows=3, frames=9, seed=seed)) for seed in (1, 1, (1, 2)))
    assert (first.keypoints == again.keypoints).all() and (first.keypoints != other.keypoints).any()


def test_each_row_has_its_own_camera(clips: list[Clip]) -> None:
    chunk = next(WindowStream(clips[1:], rows=64, frames=1, seed=3, clean=1.0))
    up = chunk.pose_m[:, 0, 10] - chunk.pose_m[:, 0, 3]  # ankle to head, camera axes
    across = chunk.pose_m[:, 0, 14] - chunk.pose_m[:, 0, 11]
    facing = np.degrees(np.arctan2(across[:, 2], across[:, 0]))
    assert np.histogram(facing, bins=4, range=(-180, 180))[0].min() >= 5  # from all sides
    assert len(np.unique(up.round(4), axis=0)) > 50
    assert (chunk.keypoints[..., 2] == 1).all() and np.abs(chunk.keypoints[..., :2]).max() < 1.5


def test_the_given_share_of_windows_is_clean(clips: list[Clip]) -> None:
    chunk = next(WindowStream(clips, rows=400, frames=3, seed=4, clean=0.25))
    clean = (chunk.keypoints[..., 2] == 1).all(axis=(1, 2))
    assert clean.mean() == pytest.approx(0.25, abs=0.07)


def test_clips_of_several_rates_are_refused(clips: list[Clip]) -> None:
    with pytest.raises(UsageError, match="several frame rates"):
        WindowStream([clips[0], replace(clips[1], fps=30.0)], rows=1, frames=9, seed=0)


def test_targets_are_relative_to_the_hip_and_missing_joints_are_zero(clips: list[Clip]) -> None:
    chunk = next(WindowStream(clips, rows=16, frames=9, seed=2, clean=0.0))
    assert np.abs(chunk.pose_m[:, :, 0]).max() == 0
    missing = chunk.keypoints[..., 2] == 0
    assert missing.any() and (chunk.keypoints[missing] == 0).all()


@pytest.mark.parametrize(("rows", "frames"), [(0, 9), (2, 0)])
def test_empty_windows_are_refused(rows: int, frames: int, clips: list[Clip]) -> None:
    with pytest.raises(UsageError, match="windows"):
        WindowStream(clips, rows=rows, frames=frames, seed=0)


def test_an_empty_dataset_is_refused() -> None:
    with pytest.raises(UsageError, match="no clips"):
        WindowStream([], rows=1, frames=9, seed=0)


@pytest.fixture
def recorded(clips: list[Clip]) -> list[PoseSequence]:
    return evaluation_sequences(clips, noisy=True)


def windows_of(sequence: PoseSequence, *, stride: int, frames: int) -> set[bytes]:
    """Every window of a sequence and of its mirror image, also those that repeat the last frame."""
    windows = set()
    for keypoints, pose_m in ((sequence.keypoints, sequence.pose_m), (mirror(sequence.keypoints), mirror(sequence.pose_m))):
        for start in range(len(sequence)):
            frame_numbers = np.minimum(start + stride * np.arange(frames), len(sequence) - 1)
            windows.add(
                (keypoints[frame_numbers] + 0).tobytes() + (pose_m[frame_numbers] + 0).tobytes()
            )  # + 0: there are two zeros
    return windows


@pytest.mark.parametrize("stride", [1, 3])
def test_windows_of_recorded_sequences_are_parts_of_them_or_of_their_mirror_images(
    recorded: list[PoseSequence], stride: int
) -> None:
    chunk = next(WindowStream(recorded, rows=40, frames=9, seed=0, strides=((stride, 1.0),), clean=1.0))
    windows_in_dataset = {window for sequence in recorded for window in windows_of(sequence, stride=stride, frames=9)}
    for keypoints, pose_m in zip(chunk.keypoints, chunk.pose_m, strict=True):
        assert (keypoints + 0).tobytes() + (pose_m + 0).tobytes() in windows_in_dataset
    assert chunk.reset[:, 0].all() and not chunk.reset[:, 1:].any()
    np.testing.assert_allclose(chunk.dt_s, stride / 50, rtol=1e-5)


def test_half_of_the_recorded_windows_are_mirrored_independently(recorded: list[PoseSequence]) -> None:
    chunk = next(WindowStream(recorded, rows=300, frames=2, seed=0, clean=1.0))
    plain = {sequence.pose_m[n].tobytes() for sequence in recorded for n in range(len(sequence))}
    assert np.mean([pose_m[0].tobytes() in plain for pose_m in chunk.pose_m]) == pytest.approx(0.5, abs=0.1)


def test_joints_of_recorded_windows_are_missing_except_in_the_clean_share(recorded: list[PoseSequence]) -> None:
    chunk = next(WindowStream(recorded, rows=300, frames=27, seed=0, clean=0.25))
    missing = chunk.keypoints[..., 2] == 0
    assert (chunk.keypoints[missing] == 0).all()
    assert np.mean(~missing.any(axis=(1, 2))) == pytest.approx(0.25, abs=0.08)


def test_faster_sequences_are_sampled_at_the_slowest_rate(recorded: list[PoseSequence]) -> None:
    slow = replace(recorded[0], clip_id="slow", dt_s=2 * recorded[0].dt_s)
    chunk = next(WindowStream([recorded[0], slow], rows=60, frames=9, seed=0, clean=1.0))
    np.testing.assert_allclose(chunk.dt_s, 0.04, rtol=1e-5)
    at_25, at_50 = (windows_of(recorded[0], stride=stride, frames=9) for stride in (1, 2))
    windows = [(k + 0).tobytes() + (p + 0).tobytes() for k, p in zip(chunk.keypoints, chunk.pose_m, strict=True)]
    assert all(window in at_25 | at_50 for window in windows)
    assert any(window in at_25 for window in windows) and any(window in at_50 for window in windows)


def test_clips_and_recorded_sequences_are_not_mixed(clips: list[Clip], recorded: list[PoseSequence]) -> None:
    with pytest.raises(UsageError, match="in one dataset"):
        WindowStream([clips[0], recorded[0]], rows=1, frames=9, seed=0)
