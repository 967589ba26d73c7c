"""Bones of lengths that people do not have are noticed, and bodies of all sizes and postures are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posemoe_edge.runtime.pose.plausibility import BONES, LIMITS_M, BoneCheck
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.pose.types import GapAction, Pose, Root
from posemoe_edge.runtime.sources import SyntheticSource

WRIST, ELBOW = H36M17.joints.index("left_wrist"), H36M17.joints.index("left_elbow")
WALK = [frame.truth_m[0] for frame in SyntheticSource(people=1, frames=100) if frame.truth_m is not None]


def pose(xyz_m: np.ndarray, *, score: float = 1.0, gap: GapAction = "none") -> Pose:
    return Pose(xyz_m.astype(np.float32), np.full(17, score, np.float32), 0.0, 0.02, latency_frames=0, gap=gap)


def forearm(factor: float) -> np.ndarray:
    """(17, 3) a walker with a left forearm that is so many times as long."""
    xyz_m = WALK[0].astype(np.float64)
    xyz_m[WRIST] = xyz_m[ELBOW] + factor * (xyz_m[WRIST] - xyz_m[ELBOW])
    return xyz_m


def doubts(check: BoneCheck, *poses: Pose, person: int = 0) -> list[tuple[str, ...]]:
    return [check.check({person: each})[person].doubts for each in poses]


@settings(max_examples=30, deadline=None)
@given(size=st.floats(0.62, 1.25), frame=st.integers(0, 99))
def test_whoever_walks_is_believed_from_a_child_to_a_giant(size: float, frame: int) -> None:
    assert doubts(BoneCheck(), pose(size * WALK[frame])) == [()]


def test_a_walk_is_believed_from_its_first_to_its_last_pose() -> None:
    assert set(doubts(BoneCheck(), *map(pose, WALK))) == {()}


@pytest.mark.parametrize("factor", [0.2, 2.5])
def test_a_forearm_that_nobody_has_is_doubted_at_once(factor: float) -> None:
    assert doubts(BoneCheck(), pose(forearm(factor))) == [("bones",)]


def test_a_bone_that_the_person_did_not_have_before_is_doubted() -> None:
    check = BoneCheck()
    assert doubts(check, pose(forearm(0.6))) == [()]  # somebody may have it
    for each in WALK[:20]:
        check.check({0: pose(each), 1: pose(forearm(0.6))})
    assert doubts(check, pose(forearm(0.5))) == [("bones",)]
    assert doubts(check, pose(forearm(0.5)), person=1) == [()]  # whose own it nearly is
    check.forget(0)
    assert doubts(check, pose(forearm(0.5))) == [()]


def test_a_pose_that_is_repeated_is_not_counted_again() -> None:
    check = BoneCheck()
    for _ in range(20):
        check.check({0: pose(forearm(0.6), gap="hold")})
    assert doubts(check, pose(WALK[0])) == [()]


def test_guessed_joints_say_nothing() -> None:
    assert doubts(BoneCheck(), pose(forearm(2.5), score=0.1)) == [()]


def test_lengths_are_those_at_the_scale_of_the_person() -> None:
    root = Root(np.zeros(3, np.float32), np.ones(3, np.float32), residual_px=1.0, scale=0.5, scale_from="floor")
    assert doubts(BoneCheck(), replace(pose(2 * WALK[0]), root=root)) == [()]
    assert doubts(BoneCheck(), pose(3 * WALK[0])) == [("bones",)]


def test_poses_of_unknown_units_are_compared_with_the_person_alone() -> None:
    check = BoneCheck(metric=False)
    assert set(doubts(check, *(pose(1000 * each) for each in WALK[:20]))) == {()}
    assert doubts(check, pose(1000 * forearm(0.5))) == [("bones",)]


def test_nose_and_head_are_not_checked_and_every_other_bone_has_limits() -> None:
    assert {H36M17.joints[child] for _, child in H36M17.bones} - {H36M17.joints[child] for _, child in BONES} == {
        "nose",
        "head",
    }
    assert (LIMITS_M[:, 0] > 0.05).all() and (LIMITS_M[:, 1] < 0.7).all() and len(LIMITS_M) == len(BONES)
