"""Poses are sorted by time and placed with z up, wherever they come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import FrameError, UsageError
from posemoe_edge.runtime.events import PoseFrame, TrackStarted
from posemoe_edge.runtime.plotting.moments import SPACING_M, moments_of
from posemoe_edge.runtime.pose.types import Pose


def test_a_joint_right_of_below_and_behind_the_hip_is_right_away_and_down(make_pose: Callable[..., Pose]) -> None:
    moments = moments_of(make_pose(joint_m=(0.1, 0.2, 0.3)))
    np.testing.assert_allclose(moments.all[0].people[0].xyz_m[3], (0.1, 0.3, -0.2), atol=1e-6)
    assert moments.axes == ("right (m)", "away from the camera (m)", "up (m)")


def test_a_person_with_a_root_stands_in_front_of_the_camera_at_their_size(make_pose: Callable[..., Pose]) -> None:
    pose = make_pose(joint_m=(0.1, 0.2, 0.3), root_m=(1, 0.5, 4), scale=2.0)
    (person,) = moments_of(pose).all[0].people
    np.testing.assert_allclose(person.xyz_m[3], (1.2, 4.6, -0.9), atol=1e-6)
    assert person.sigma_m is not None
    np.testing.assert_allclose(person.sigma_m, 0.1)  # 5 cm at twice the size
    (person,) = moments_of(pose, in_room=False).all[0].people
    np.testing.assert_allclose(person.xyz_m[3], (0.1, 0.3, -0.2), atol=1e-6)


def test_the_axes_of_the_room_are_taken_as_they_are_if_they_are_known(make_pose: Callable[..., Pose]) -> None:
    world_from_camera = np.array([[0, 0, 1, 0.1], [-1, 0, 0, 0], [0, -1, 0, 1.3], [0, 0, 0, 1]], np.float64)
    pose = make_pose(root_m=(1, 0.5, 4), world_from_camera=world_from_camera)
    moments = moments_of(pose)
    assert moments.axes == ("x (m)", "y (m)", "z (m)") and pose.xyz_in_world_m is not None
    np.testing.assert_allclose(moments.all[0].people[0].xyz_m, pose.xyz_in_world_m, atol=1e-6)


def test_people_whose_place_is_not_known_stand_side_by_side_and_stay_there(make_pose: Callable[..., Pose]) -> None:
    frames = [
        {5: make_pose(person=5, t_s=0.0), 2: make_pose(person=2, t_s=0.0)},
        {5: make_pose(person=5, t_s=0.1)},
    ]
    first, second = moments_of(frames).all
    hips_m = {person.person: person.xyz_m[0, 0] for person in first.people}
    assert hips_m == pytest.approx({2: -SPACING_M / 2, 5: SPACING_M / 2})
    assert second.people[0].xyz_m[0, 0] == pytest.approx(SPACING_M / 2)


def test_a_clip_comes_as_poses_as_frames_and_as_events_in_any_order(make_pose: Callable[..., Pose]) -> None:
    poses = [make_pose(t_s=t_s) for t_s in (0.2, 0.0, 0.1)]
    frames = [PoseFrame(pose.t_s, {0: pose}) for pose in poses]
    clips: list[Any] = [poses, iter(poses), frames, [TrackStarted(0, 0.0), *frames], [{"a stream": pose} for pose in poses]]
    for clip in clips:
        assert [moment.t_s for moment in moments_of(clip).all] == [0.0, 0.1, 0.2]


def test_a_long_clip_is_thinned_out_evenly_with_both_ends(make_pose: Callable[..., Pose]) -> None:
    moments = moments_of([make_pose(t_s=float(t_s)) for t_s in range(101)])
    assert [moment.t_s for moment in moments.spread(5).all] == [0, 25, 50, 75, 100]
    assert len(moments.spread(1000)) == 101


def test_the_box_holds_everybody_with_their_standard_deviations(make_pose: Callable[..., Pose]) -> None:
    moments = moments_of([make_pose(t_s=0.0, joint_m=(0, 0, 2)), make_pose(t_s=1.0, joint_m=(-3, 0, 0))])
    low, high = moments.box_m
    assert low[0] == pytest.approx(-3 - 0.05 - 0.1) and high[1] == pytest.approx(2 + 0.05 + 0.1)


def test_what_cannot_be_shown_says_why(make_pose: Callable[..., Pose]) -> None:
    with pytest.raises(UsageError, match="a ndarray cannot be shown"):
        moments_of(np.zeros((17, 3)))
    with pytest.raises(UsageError, match="a str cannot be shown"):
        moments_of(["pose"])  # type: ignore[list-item]
    with pytest.raises(FrameError, match="there is no pose"):
        moments_of([TrackStarted(0, 0.0)])
    with pytest.raises(FrameError, match="not finite"):
        moments_of(make_pose(joint_m=(np.nan, 0, 0)))
    with pytest.raises(FrameError, match=r"person 0 has two poses at t = 0 s.*model\.stream\(person=1\)"):
        moments_of([make_pose(), make_pose()])
    with pytest.raises(FrameError, match="a pipeline that knows its camera"):
        moments_of([make_pose(root_m=(0, 0, 3)), make_pose(t_s=1.0)], in_room=True)
