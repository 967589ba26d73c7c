"""Joints that a detector loses for a moment stay where they were last seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.pose.joint_memory import HOLD_S, JointMemory
from posemoe_edge.runtime.pose.keypoints import MOST_NORMALISED, ImageSize, Keypoints
from posemoe_edge.runtime.pose.skeleton import COCO17, H36M17

SIZE = ImageSize(640, 480)
WRIST, KNEE = 9, 13


def person(x_px: float = 300.0, *, lost: tuple[int, ...] = (), score: float = 0.8, size: ImageSize | None = SIZE) -> Keypoints:
    points = np.stack([np.full(17, x_px), 100 + 10 * np.arange(17), np.full(17, score)], axis=1)
    points[list(lost)] = 0
    return Keypoints(points, COCO17, size)


def test_a_lost_joint_stays_where_it_was_and_fades_until_it_is_missing() -> None:
    memory = JointMemory()
    memory.fill(person(300), 0.0)
    scores = []
    for t_s in (0.02, 0.1, 0.2, 0.3):
        filled = memory.fill(person(300, lost=(WRIST,)), t_s).points
        assert filled[WRIST, :2] == pytest.approx((300, 100 + 10 * WRIST))
        assert (np.delete(filled, WRIST, axis=0)[:, 0] == 300).all() and (np.delete(filled, WRIST, axis=0)[:, 2] == 0.8).all()
        scores.append(filled[WRIST, 2])
    assert scores == pytest.approx([0.8 * math.exp(-t_s / 0.1) for t_s in (0.02, 0.1, 0.2, 0.3)])
    assert (memory.fill(person(300, lost=(WRIST,)), HOLD_S + 0.02).points[WRIST] == 0).all()


def test_a_lost_joint_goes_with_the_person_or_the_camera() -> None:
    memory = JointMemory()
    memory.fill(person(300), 0.0)
    for number in range(1, 8):
        seen = person(300 + 15 * number, lost=(WRIST, KNEE))
        seen.points[:3, 0] -= 30 * number  # an arm swings the other way
        filled = memory.fill(seen, 0.04 * number).points
        assert filled[WRIST, :2] == pytest.approx((300 + 15 * number, 100 + 10 * WRIST))
        assert filled[KNEE, :2] == pytest.approx((300 + 15 * number, 100 + 10 * KNEE))


def test_a_few_joints_do_not_tell_how_the_person_moved() -> None:
    memory = JointMemory()
    memory.fill(person(300), 0.0)
    filled = memory.fill(person(310, lost=tuple(range(3, 17))), 0.04).points
    assert (filled[3:, 0] == 300).all() and (filled[:3, 0] == 310).all()


@pytest.mark.parametrize("pose", ["elsewhere", "upside down"])
def test_a_cut_to_another_camera_ends_what_was_held(pose: str) -> None:
    memory = JointMemory()
    memory.fill(person(300), 0.0)
    other = person(360 if pose == "elsewhere" else 300)
    if pose == "upside down":
        other.points[:, 1] = other.points[::-1, 1].copy()
    other.points[WRIST] = 0
    assert memory.fill(other, 0.04) is other
    assert memory.fill(other, 0.08) is other  # nor is it remembered


def test_a_joint_that_the_person_carries_out_of_the_range_of_the_model_stays_at_its_edge() -> None:
    memory, most = JointMemory(1.0), MOST_NORMALISED * SIZE.width_px
    near = person(most - 130)
    near.points[:, 0] += np.where(np.arange(17) == WRIST, 120, 0)
    memory.fill(near, 0.0)
    filled = memory.fill(person(most - 100, lost=(WRIST,)), 0.04).points
    assert filled[WRIST, 0] == most and filled[WRIST, 2] > 0


def test_a_joint_that_is_seen_again_is_held_from_there() -> None:
    memory = JointMemory()
    memory.fill(person(300), 0.0)
    memory.fill(person(310, lost=(WRIST,)), 0.25)
    memory.fill(person(320), 0.28)
    assert memory.fill(person(320, lost=(WRIST,)), 0.5).points[WRIST, 0] == 320


def test_joints_that_were_never_seen_stay_missing_and_whole_people_stay_as_they_are() -> None:
    memory = JointMemory()
    first = person(lost=(KNEE,))
    assert memory.fill(first, 0.0) is first
    again = person(lost=(KNEE,))
    assert memory.fill(again, 0.02) is again
    whole = person()
    assert memory.fill(whole, 0.04) is whole


def test_everybody_who_is_lost_at_once_is_held() -> None:
    memory = JointMemory()
    memory.fill(person(300), 0.0)
    held = memory.fill(person(lost=tuple(range(17))), 0.02).points
    assert (held[:, 0] == 300).all() and (held[:, 2] > 0.6).all()


def test_another_picture_or_skeleton_begins_anew() -> None:
    for other in (person(lost=(WRIST,), size=ImageSize(1280, 720)), Keypoints(person(lost=(WRIST,)).points, H36M17, SIZE)):
        memory = JointMemory()
        memory.fill(person(), 0.0)
        assert memory.fill(other, 0.02) is other


def test_what_is_not_finite_is_neither_kept_nor_changed() -> None:
    memory = JointMemory()
    memory.fill(person(300), 0.0)
    broken = person(310)
    broken.points[WRIST, 0] = np.nan
    assert memory.fill(broken, 0.02) is broken
    assert memory.fill(person(310, lost=(WRIST,)), 0.04).points[WRIST, :2] == pytest.approx((310, 100 + 10 * WRIST))


def test_what_a_model_refuses_is_not_held() -> None:
    for column, value in ((2, 5.0), (0, 1e9), (0, math.inf)):
        memory = JointMemory()
        memory.fill(person(300), 0.0)
        bad = person(300)
        bad.points[WRIST, column] = value
        memory.fill(bad, 0.02)
        assert memory.fill(person(300, lost=(WRIST,)), 0.04).points[WRIST, 0] == 300


def test_a_source_may_reuse_its_array() -> None:
    memory, frame = JointMemory(), person(300)
    memory.fill(frame, 0.0)
    frame.points[WRIST] = 0
    assert memory.fill(frame, 0.02).points[WRIST, 0] == 300


def test_without_a_time_nothing_is_held_and_a_negative_one_is_refused() -> None:
    memory = JointMemory(0.0)
    memory.fill(person(), 0.0)
    lost = person(lost=(WRIST,))
    assert memory.fill(lost, 0.02) is lost
    for hold_s in (-0.1, math.inf, math.nan):
        with pytest.raises(UsageError, match="held for"):
            JointMemory(hold_s)


@given(lost=st.lists(st.sets(st.integers(0, 16)), min_size=1, max_size=12))
def test_what_is_seen_is_never_changed_and_what_is_held_was_seen(lost: list[set[int]]) -> None:
    memory, seen_at = JointMemory(), dict[int, int]()
    for number, joints in enumerate(lost):
        frame = person(300 + number, lost=tuple(joints))
        before = frame.points.copy()
        filled = memory.fill(frame, 0.05 * number).points
        assert np.array_equal(frame.points, before)  # the caller's array is left alone
        for joint in range(17):
            if joint not in joints:
                assert np.array_equal(filled[joint], before[joint])
                seen_at[joint] = number
            elif filled[joint, 2] > 0:
                assert filled[joint, 0] >= 300 + seen_at[joint] and number - seen_at[joint] <= 6


@given(lost=st.lists(st.sets(st.integers(0, 16), max_size=6), min_size=1, max_size=12))
def test_while_most_joints_are_seen_what_is_held_is_exactly_where_a_moving_person_has_it(lost: list[set[int]]) -> None:
    memory = JointMemory()
    for number, joints in enumerate(lost):
        filled = memory.fill(person(300 + number, lost=tuple(joints)), 0.05 * number).points
        assert (filled[filled[:, 2] > 0, 0] == 300 + number).all()
