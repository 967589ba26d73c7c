from __future__ import annotations

from dataclasses import fields, replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from posemoe_edge.edge.data.augment import mirror
from posemoe_edge.edge.data.batches import SequenceBatch
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.projection import project
from posemoe_edge.edge.data.sequence_stream import SequenceStream
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences, make_sequence
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.errors import UsageError

FASTEST_M_S = 8.0  # a wrist of the stick figure, enlarged; between two sequences poses jump by far more


def exact(clip: Clip, seed: int = 0, **options: Any) -> PoseSequence:
    return make_sequence(clip, np.random.default_rng(seed), **({"augment": False, "noisy": False, "masked": False} | options))


def root_distance_m(clip: Clip) -> F32:
    """(T, 17) distances from the root, which no rotation changes."""
    return np.asarray(np.linalg.norm(clip.joints_m - clip.joints_m[:, :1], axis=-1), np.float32)


def joined(stream: SequenceStream, chunks: int) -> SequenceBatch:
    """Batches concatenated in time: (rows, batches * frames, ...)."""
    parts = list(islice(stream, chunks))
    return SequenceBatch(
        **{f.name: np.concatenate([getattr(part, f.name) for part in parts], axis=1) for f in fields(SequenceBatch)}
    )


def assert_equal(a: PoseSequence | SequenceBatch, b: PoseSequence | SequenceBatch) -> None:
    for f in fields(a):
        np.testing.assert_array_equal(getattr(a, f.name), getattr(b, f.name))


@pytest.mark.parametrize("noisy", [False, True])
def test_a_sequence_of_a_clip_is_its_projection(clip: Clip, noisy: bool) -> None:
    sequence = exact(clip, seed=4, augment=True, noisy=noisy, masked=noisy, start=30, frames=60, stride=2)
    rng = np.random.default_rng(4)
    keypoints, pose_m, intrinsics = project(clip.joints_m[30:90:2], rng, augment=True, noisy=noisy, masked=noisy)
    np.testing.assert_array_equal(sequence.keypoints, keypoints)
    np.testing.assert_array_equal(sequence.pose_m, pose_m)
    np.testing.assert_array_equal(sequence.intrinsics, intrinsics)


@pytest.mark.parametrize("augment", [False, True])
def test_a_sequence_is_root_relative_float32(clip: Clip, augment: bool) -> None:
    sequence = exact(clip, augment=augment, noisy=True, masked=True)
    assert len(sequence) == len(clip) and sequence.clip_id == clip.id
    assert sequence.keypoints.shape == sequence.pose_m.shape == (len(clip), 17, 3) and sequence.dt_s.shape == (len(clip),)
    assert {sequence.keypoints.dtype, sequence.pose_m.dtype, sequence.dt_s.dtype} == {np.dtype(np.float32)}
    assert (sequence.pose_m[:, 0] == 0).all()


def test_exact_keypoints_are_the_poses_projection(clip: Clip) -> None:
    sequence = exact(clip)
    assert (sequence.keypoints[..., 2] == 1).all() and np.abs(sequence.keypoints[..., :2]).max() < 1.2
    head_to_ankle = (3, 10)
    up_in_3d = np.subtract(*(sequence.pose_m[:, j, 1] for j in head_to_ankle))
    up_in_2d = np.subtract(*(sequence.keypoints[:, j, 1] for j in head_to_ankle))
    assert (up_in_3d > 0).all() and (up_in_2d > 0).all()
    # With this body height and a focal length of 1147.5 px the depth follows; it must be a distance that cameras have.
    assert ((2.295 * up_in_3d / up_in_2d > 2) & (2.295 * up_in_3d / up_in_2d < 12)).all()


def test_bones_keep_their_length_in_camera_axes(clip: Clip) -> None:
    sequence = exact(clip)
    np.testing.assert_allclose(np.linalg.norm(sequence.pose_m, axis=-1), root_distance_m(clip), atol=1e-5)


def test_masked_joints_are_exactly_zero_and_have_a_true_pose(clip: Clip) -> None:
    sequence, whole = exact(clip, masked=True), exact(clip)
    lost = sequence.keypoints[..., 2] == 0
    assert 0.05 < lost.mean() < 0.4 and (sequence.keypoints[lost] == 0).all()
    np.testing.assert_array_equal(sequence.pose_m, whole.pose_m)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_slower_camera_sees_every_nth_frame(clip: Clip, stride: int) -> None:
    sequence = exact(clip, stride=stride)
    assert len(sequence) == -(-len(clip) // stride)
    np.testing.assert_allclose(sequence.dt_s, stride / clip.fps)


def test_lost_frames_show_in_the_time_steps(clip: Clip) -> None:
    sequence = exact(clip, drop=0.3)
    assert len(sequence) < len(clip) and sequence.dt_s.max() > 1.5 / clip.fps
    steps = sequence.dt_s * clip.fps
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


def test_a_span_starts_and_ends_at_the_given_frames(clip: Clip) -> None:
    sequence = exact(clip, start=100, frames=50)
    np.testing.assert_allclose(np.linalg.norm(sequence.pose_m, axis=-1), root_distance_m(clip)[100:150], atol=1e-5)
    assert len(exact(clip, frames=10_000)) == len(clip) and len(exact(clip, start=290, frames=50)) == 10


@pytest.mark.parametrize("options", [{"start": 300}, {"start": -1}, {"frames": 0}, {"stride": 0}])
def test_an_impossible_span_is_refused(clip: Clip, options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="no sequence of"):
        exact(clip, **options)


def test_clean_and_noisy_evaluation_share_the_camera(clips: list[Clip]) -> None:
    clean, noisy = evaluation_sequences(clips, noisy=False), evaluation_sequences(clips, noisy=True)
    for a, b, clip in zip(clean, noisy, clips, strict=True):
        np.testing.assert_array_equal(a.pose_m, b.pose_m)
        error = np.abs(a.keypoints - b.keypoints)[..., :2]
        assert 0.002 < error.mean() < 0.02 and len(a) == len(clip) and (b.keypoints[..., 2] > 0).all()


def test_evaluation_depends_on_the_seed_and_not_on_the_other_clips(clips: list[Clip]) -> None:
    for alone, among in zip(
        evaluation_sequences(clips[1:], noisy=True), evaluation_sequences(clips, noisy=True)[1:], strict=True
    ):
        assert_equal(alone, among)
    assert not np.array_equal(evaluation_sequences(clips, noisy=False, seed=1)[0].pose_m, exact(clips[0]).pose_m)


def test_batches_have_the_shapes_of_the_stream(clips: list[Clip]) -> None:
    chunk = next(SequenceStream(clips, rows=3, frames=40, seed=0))
    assert chunk.keypoints.shape == chunk.pose_m.shape == (3, 40, 17, 3)
    assert chunk.dt_s.shape == chunk.reset.shape == (3, 40) and chunk.reset.dtype == np.bool_
    assert chunk.reset[:, 0].all() and (chunk.pose_m[:, :, 0] == 0).all()


def test_a_seed_gives_the_same_stream_with_any_number_of_rows(clips: list[Clip]) -> None:
    few, again, many = (joined(SequenceStream(clips, rows=rows, frames=30, seed=5), 20) for rows in (2, 2, 4))
    assert_equal(few, again)
    np.testing.assert_array_equal(few.keypoints, many.keypoints[:2])
    other = next(SequenceStream(clips, rows=2, frames=30, seed=6))
    assert not np.array_equal(other.keypoints, few.keypoints[:, :30])


def test_batch_length_does_not_change_the_stream_and_a_second_loop_continues_it(clips: list[Clip]) -> None:
    long = joined(SequenceStream(clips, rows=2, frames=120, seed=0), 5)
    stream = SequenceStream(clips, rows=2, frames=25, seed=0)
    parts = [joined(stream, 8), joined(stream, 16)]
    for f in fields(SequenceBatch):
        np.testing.assert_array_equal(np.concatenate([getattr(p, f.name) for p in parts], axis=1), getattr(long, f.name))


def jumps(stream: SequenceBatch) -> NDArray[np.bool_]:
    """(rows, n - 1): where a pose moves faster than a person can."""
    step_m = np.linalg.norm(np.diff(stream.pose_m, axis=1), axis=-1).max(axis=-1)
    too_fast: NDArray[np.bool_] = step_m / stream.dt_s[:, 1:] > FASTEST_M_S
    return too_fast


def test_resets_are_exactly_where_the_person_changes(clips: list[Clip]) -> None:
    stream = joined(SequenceStream(clips, rows=4, frames=37, seed=0, longest_sequence=150), 40)
    new = stream.reset[:, 1:]
    assert 20 < new.sum() < 400
    assert not (jumps(stream) & ~new).any()
    assert (jumps(stream) & new).sum() > 0.5 * new.sum()  # some new sequences happen to start in a similar pose


def test_sequences_have_the_length_of_their_spans(clips: list[Clip]) -> None:
    stream = joined(
        SequenceStream(clips, rows=2, frames=50, seed=1, longest_sequence=120, irregular=0, strides=((2, 1.0),)), 20
    )
    for row in range(2):
        lengths = np.diff(np.flatnonzero(stream.reset[row]))
        assert set(lengths.tolist()) <= {60, 45}  # 120 frames of the long clips, all 90 of the short one
    assert {60, 45} == set(np.concatenate([np.diff(np.flatnonzero(row)) for row in stream.reset]).tolist())
    np.testing.assert_allclose(stream.dt_s, 2 / 50)


def test_long_clips_are_drawn_more_often() -> None:
    rng = np.random.default_rng(0)
    poses = rng.normal(0, 0.3, (1000, 17, 3)).astype(np.float32) + np.array([0, 0, 1], np.float32)
    short, long = (Clip(str(n), "s", "a", "train", True, 50, poses[:n]) for n in (100, 900))
    stream = joined(
        SequenceStream([short, long], rows=4, frames=100, seed=0, longest_sequence=900, irregular=0, strides=((1, 1),)), 200
    )
    lengths = np.concatenate([np.diff(np.flatnonzero(row)) for row in stream.reset])
    assert np.mean(lengths == 900) == pytest.approx(0.9, abs=0.09)


def test_shares_of_clean_and_irregular_sequences(clips: list[Clip]) -> None:
    stream = joined(SequenceStream(clips, rows=4, frames=100, seed=0, longest_sequence=60, strides=((1, 1),)), 60)
    starts = [(row, at) for row in range(4) for at in np.flatnonzero(stream.reset[row])]
    clean, irregular = [], []
    for (row, at), (row_after, stop) in pairwise(starts):
        if row == row_after:
            clean.append((stream.keypoints[row, at:stop, :, 2] == 1).all())
            irregular.append(stop - at < 60)
    assert np.mean(clean) == pytest.approx(0.15, abs=0.06) and np.mean(irregular) == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize(
    "options", [{"rows": 0}, {"frames": 0}, {"strides": ()}, {"strides": ((0, 1.0),)}, {"strides": ((1, 0.0),)}]
)
def test_an_impossible_stream_is_refused(clips: list[Clip], options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SequenceStream(clips, **({"rows": 1, "frames": 1, "seed": 0} | options))
    with pytest.raises(UsageError, match="no clips"):
        SequenceStream([], rows=1, frames=1, seed=0)


# Recorded sequences: no camera is drawn; only mirror images and missing joints are added.


@pytest.fixture
def recorded(clips: list[Clip]) -> list[PoseSequence]:
    return evaluation_sequences(clips, noisy=True)


def is_part(keypoints: F32, pose_m: F32, sequence: PoseSequence, *, stride: int = 1) -> bool:
    """Whether these frames are consecutive frames of a sequence, or of its mirror image."""
    for candidate in (sequence, replace(sequence, keypoints=mirror(sequence.keypoints), pose_m=mirror(sequence.pose_m))):
        for start in np.flatnonzero((candidate.pose_m == pose_m[0]).all(axis=(1, 2))):
            span = slice(start, start + stride * len(pose_m), stride)
            if np.array_equal(candidate.pose_m[span], pose_m) and np.array_equal(candidate.keypoints[span], keypoints):
                return True
    return False


def test_a_recorded_sequence_is_played_as_it_is(recorded: list[PoseSequence]) -> None:
    sequence = recorded[0]
    played = make_sequence(sequence, np.random.default_rng(0), augment=False, noisy=True, masked=False, start=0)
    np.testing.assert_array_equal(played.keypoints, sequence.keypoints)
    np.testing.assert_array_equal(played.pose_m, sequence.pose_m)
    np.testing.assert_array_equal(played.dt_s, sequence.dt_s)
    assert (played.clip_id, played.action) == (sequence.clip_id, sequence.action) and sequence.fps == pytest.approx(50)


def test_keypoints_and_pose_of_a_recorded_sequence_are_mirrored_together(recorded: list[PoseSequence]) -> None:
    sequences = [
        make_sequence(recorded[0], np.random.default_rng(n), augment=True, noisy=True, masked=False, start=0) for n in range(60)
    ]
    plain = [np.array_equal(sequence.keypoints, recorded[0].keypoints) for sequence in sequences]
    assert np.mean(plain) == pytest.approx(0.5, abs=0.2)
    assert all(is_part(sequence.keypoints, sequence.pose_m, recorded[0]) for sequence in sequences)


@pytest.mark.parametrize("stride", [1, 4])
def test_a_stream_of_recorded_sequences_plays_parts_of_them(recorded: list[PoseSequence], stride: int) -> None:
    options: dict[str, Any] = {"longest_sequence": 120, "irregular": 0, "clean": 1.0, "strides": ((stride, 1.0),)}
    stream = joined(SequenceStream(recorded, rows=3, frames=25, seed=2, **options), 12)
    np.testing.assert_allclose(stream.dt_s, stride / 50, rtol=1e-5)
    for row in range(3):
        starts = np.flatnonzero(stream.reset[row])
        assert starts[0] == 0 and set(np.diff(starts).tolist()) <= {-(-120 // stride), -(-90 // stride)}
        for start, stop in pairwise(starts):
            keypoints, pose_m = stream.keypoints[row, start:stop], stream.pose_m[row, start:stop]
            assert any(is_part(keypoints, pose_m, sequence, stride=stride) for sequence in recorded)


def test_joints_of_recorded_sequences_are_missing_except_in_the_clean_share(recorded: list[PoseSequence]) -> None:
    stream = joined(SequenceStream(recorded, rows=4, frames=100, seed=0, longest_sequence=60), 60)
    missing = stream.keypoints[..., 2] == 0
    assert (stream.keypoints[missing] == 0).all() and 0.08 < missing.mean() < 0.3
    parts = [np.split(missing[row], np.flatnonzero(stream.reset[row])[1:]) for row in range(4)]
    assert np.mean([not part.any() for row in parts for part in row]) == pytest.approx(0.15, abs=0.06)


def test_a_stream_of_recorded_sequences_follows_from_its_seed(recorded: list[PoseSequence]) -> None:
    few, again, many = (joined(SequenceStream(recorded, rows=rows, frames=30, seed=5), 9) for rows in (2, 2, 4))
    assert_equal(few, again)
    np.testing.assert_array_equal(few.keypoints, many.keypoints[:2])


def test_sequences_that_cannot_be_trained_on_are_refused(recorded: list[PoseSequence]) -> None:
    holes = replace(recorded[0], valid=np.arange(len(recorded[0])) > 3)
    with pytest.raises(UsageError, match=f"sequence {holes.clip_id} has frames that are not valid"):
        next(SequenceStream([holes], rows=1, frames=9, seed=0))
    uneven = replace(recorded[0], dt_s=np.linspace(0.02, 0.03, len(recorded[0]), dtype=np.float32))
    with pytest.raises(UsageError, match="has no single frame rate"):
        next(SequenceStream([uneven], rows=1, frames=9, seed=0))
