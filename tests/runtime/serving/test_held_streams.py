"""The streams of a server: each sequence has its own, and it is freed by its end and by idle time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.errors import FrameError
from posemoe_edge.runtime.model import Model, load
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.serving import wire
from posemoe_edge.runtime.serving.held_streams import HeldStreams, SequenceFrame, SequenceId

Walk = Callable[..., F32]
DT_S = 0.02


@pytest.fixture
def model(retention_artefact: Path) -> Iterator[Model]:
    model = load(retention_artefact)
    yield model
    model.close()


@pytest.fixture
def now_s() -> list[float]:
    """A clock that the test turns."""
    return [0.0]


@pytest.fixture
def held(model: Model, now_s: list[float]) -> HeldStreams:
    return HeldStreams(model, idle_s=10.0, clock=lambda: now_s[0])


def frame(sequence: SequenceId, keypoints: F32 | None, i: int, **flags: Any) -> SequenceFrame:
    return SequenceFrame(
        sequence, start=flags.pop("start", i == 0), end=flags.pop("end", False), keypoints=keypoints, t_s=i * DT_S, **flags
    )


def poses(answers: list[Pose | FrameError | None]) -> list[Pose]:
    assert all(isinstance(answer, Pose) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Pose)]


def test_interleaved_people_get_the_poses_of_their_own_streams(model: Model, held: HeldStreams, walker_keypoints: Walk) -> None:
    walks = {sequence: walker_keypoints(12, seed=k) for k, sequence in enumerate((7, "text", 9))}
    own = {sequence: load(model.path.parent).stream() for sequence in walks}
    order = np.random.default_rng(0)
    for i in range(12):
        mixed = [list(walks)[k] for k in order.permutation(len(walks))]
        answers = poses(held.answer([frame(sequence, walks[sequence][i], i) for sequence in mixed]))
        for sequence, pose in zip(mixed, answers, strict=True):
            expected = own[sequence].step(walks[sequence][i], t=i * DT_S)
            np.testing.assert_allclose(pose.xyz_m, expected.xyz_m, atol=1e-5)  # of a batch of three, not of one
            assert (pose.t_s, pose.dt_s, pose.gap) == (expected.t_s, expected.dt_s, expected.gap)


def test_a_refused_frame_costs_its_own_sequence_a_frame(held: HeldStreams, walker_keypoints: Walk) -> None:
    walk = walker_keypoints(3)
    held.answer([frame(k, walk[0], 0) for k in range(3)])
    answers = held.answer([frame(0, walk[1], 1), frame(1, np.full((17, 3), np.nan, np.float32), 1), frame(2, walk[1], 1)])
    assert [type(answer) for answer in answers] == [Pose, FrameError, Pose]
    assert held.refused == 1 and len(poses(held.answer([frame(k, walk[2], 2) for k in range(3)]))) == 3


def test_the_end_frees_a_sequence_with_a_frame_and_without(held: HeldStreams, walker_keypoints: Walk) -> None:
    walk = walker_keypoints(2)
    held.answer([frame(1, walk[0], 0), frame(2, walk[0], 0)])
    assert len(held) == 2
    with_pose, goodbye = held.answer([frame(1, walk[1], 1, end=True), SequenceFrame(2, start=False, end=True)])
    assert isinstance(with_pose, Pose) and goodbye is None and len(held) == 0


def test_idle_time_frees_a_sequence_and_only_that(held: HeldStreams, now_s: list[float], walker_keypoints: Walk) -> None:
    walk = walker_keypoints(3)
    held.answer([frame(1, walk[0], 0), frame(2, walk[0], 0)])
    now_s[0] = 6.0
    held.answer([frame(2, walk[1], 1)])
    now_s[0] = 11.0
    gone, there = held.answer([frame(1, walk[1], 1), frame(2, walk[2], 2)])
    assert isinstance(gone, FrameError) and wire.UNKNOWN in str(gone) and isinstance(there, Pose)
    assert held.expired == 1 and len(held) == 1


def test_slots_are_used_again(held: HeldStreams, walker_keypoints: Walk) -> None:
    """The dict and the slots do not grow with the people who were here."""
    walk = walker_keypoints(1)
    for person in range(50):
        held.answer([frame(person, walk[0], 0, end=True)])
    held.answer([frame(99, walk[0], 0)])
    slots = {stream.stream._slot for stream in held._held.values()}
    assert slots == {0}


def test_a_start_forgets_what_was_held_under_that_number(model: Model, held: HeldStreams, walker_keypoints: Walk) -> None:
    walk, other = walker_keypoints(3), walker_keypoints(3, seed=1)
    held.answer([frame(1, walk[0], 0)])
    held.answer([frame(1, walk[1], 1)])
    again = poses(held.answer([frame(1, other[2], 2, start=True)]))[0]
    np.testing.assert_array_equal(again.xyz_m, model.stream().step(other[2], t=0.04).xyz_m)
    assert again.gap == "reset" and len(held) == 1


def test_a_reset_begins_anew_within_a_sequence(model: Model, held: HeldStreams, walker_keypoints: Walk) -> None:
    walk = walker_keypoints(3)
    held.answer([frame(1, walk[0], 0)])
    anew = poses(held.answer([frame(1, walk[1], 1, reset=True)]))[0]
    np.testing.assert_array_equal(anew.xyz_m, model.stream().step(walk[1], t=DT_S).xyz_m)


def test_frames_of_one_sequence_in_one_batch_keep_their_order(held: HeldStreams, walker_keypoints: Walk) -> None:
    walk = walker_keypoints(3)
    answers = poses(held.answer([frame(1, walk[0], 0), frame(1, walk[1], 1), frame(1, walk[2], 2)]))
    assert [pose.t_s for pose in answers] == [0.0, DT_S, 2 * DT_S]
    assert [round(pose.dt_s, 3) for pose in answers] == [0.02, 0.02, 0.02]


def test_each_sequence_has_its_own_capture_times(held: HeldStreams, walker_keypoints: Walk) -> None:
    """People of different cameras share a launch."""
    walk = walker_keypoints(2)
    held.answer([SequenceFrame(1, True, False, walk[0], 100.0), SequenceFrame(2, True, False, walk[0], 0.0)])
    a, b = poses(held.answer([SequenceFrame(1, False, False, walk[1], 100.25), SequenceFrame(2, False, False, walk[1], 0.04)]))
    assert (a.dt_s, a.gap, b.dt_s, b.gap) == (0.25, "decay", 0.04, "none")
