"""The view before a lifter does not depend on where the camera looks, how it is held or how it zooms."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from posemoe_edge.runtime.arrays import F32, F64
from posemoe_edge.runtime.pose.view import CANONICAL_FOCAL, SIZES, look_at

angle = st.floats(-0.5, 0.5)


def person(seed: int = 0, *, people: int = 1) -> F64:
    """(B, 17, 3) joints before the camera."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.uniform((-0.4, -0.9, -0.3), (0.4, 0.9, 0.3), (people, 17, 3)) + np.array([0.2, 0.1, 4.0]))


def rays_of(joints_m: F64) -> F64:
    return np.concatenate([joints_m[..., :2] / joints_m[..., 2:], np.ones_like(joints_m[..., :1])], axis=-1)


def rotation(x: float, y: float, z: float) -> F64:
    a, b, c = (np.array([np.cos(t), np.sin(t)]) for t in (x, y, z))
    about_x = np.array([[1, 0, 0], [0, a[0], -a[1]], [0, a[1], a[0]]])
    about_y = np.array([[b[0], 0, b[1]], [0, 1, 0], [-b[1], 0, b[0]]])
    about_z = np.array([[c[0], -c[1], 0], [c[1], c[0], 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z)


@settings(max_examples=100, deadline=None)
@given(x=angle, y=angle, z=st.floats(-3.1, 3.1), seed=st.integers(0, 99))
def test_turning_the_camera_changes_nothing_if_it_knows_what_is_down(x: float, y: float, z: float, seed: int) -> None:
    joints_m, down, turn = person(seed), np.array([0.0, 1.0, 0.0]), rotation(x, y, z)
    seen, axes = look_at(rays_of(joints_m), gravity=down)
    seen_turned, axes_turned = look_at(rays_of(joints_m @ turn.T), gravity=turn @ down)
    np.testing.assert_allclose(seen_turned, seen, atol=1e-5)
    np.testing.assert_allclose(axes_turned @ turn, axes, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(x=angle, y=angle, z=st.floats(-3.1, 3.1), level=st.booleans())
def test_the_pose_is_turned_back_into_the_axes_of_the_camera(x: float, y: float, z: float, level: bool) -> None:
    """A lifter that knew the truth in the view's axes would give it in the camera's."""
    joints_m = person() @ rotation(x, y, z).T
    joints_m[..., 2] = np.abs(joints_m[..., 2]) + 1
    seen, axes = look_at(rays_of(joints_m), gravity=np.array([0.6, 0.8, 0.0]) if level else None)
    in_view_m = joints_m @ np.swapaxes(axes, -1, -2)
    np.testing.assert_allclose(in_view_m @ axes, joints_m, atol=1e-9)
    pinhole = CANONICAL_FOCAL * in_view_m[..., :2] / in_view_m[..., 2:]
    zoom = np.clip(size_of(pinhole), *SIZES) / size_of(pinhole)
    np.testing.assert_allclose(seen[..., :2], zoom * pinhole, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(axes), 1, atol=1e-9)


def size_of(plane: F64 | F32) -> float:
    """The root mean square distance of joints (1, 17, 2) from the middle."""
    return float(np.sqrt((plane**2).sum(axis=-1).mean()))


def test_people_far_away_are_as_large_as_those_that_lifters_know() -> None:
    joints_m = person()
    for metres, kept in ((0, True), (20, False), (200, False)):
        farther = joints_m + np.array([0.0, 0.0, metres])
        seen, axes = look_at(rays_of(farther))
        in_view_m = farther @ np.swapaxes(axes, -1, -2)
        pinhole = CANONICAL_FOCAL * in_view_m[..., :2] / in_view_m[..., 2:]
        assert (abs(size_of(seen[..., :2]) - size_of(pinhole)) < 1e-6) == kept
        assert SIZES[0] - 1e-6 <= size_of(seen[..., :2]) <= SIZES[1] + 1e-6
    beside = look_at(np.ones((1, 17, 3)))[0]  # all joints in one place stay there
    assert np.abs(beside[..., :2]).max() < 1e-3


def test_the_person_is_in_the_middle_and_down_is_down() -> None:
    down = np.array([0.2, 0.9, 0.3]) / np.linalg.norm([0.2, 0.9, 0.3])
    seen, axes = look_at(rays_of(person(3)), gravity=down)
    assert np.abs(seen[..., :2].mean(axis=-2)).max() < 0.05
    in_view = axes[0] @ down
    assert abs(in_view[0]) < 1e-9 and in_view[1] > 0.8


def test_a_camera_that_looks_straight_down_keeps_its_own_up() -> None:
    joints_m = person() * np.array([0.3, 0.3, 1.0])
    _, axes = look_at(rays_of(joints_m), gravity=np.array([0.0, 0.0, 1.0]))
    _, without = look_at(rays_of(joints_m))
    np.testing.assert_allclose(axes, without)
    assert axes[0, 0, 0] > 0.95 and axes[0, 1, 1] > 0.95


def test_joints_that_are_missing_or_not_finite_do_not_move_the_view() -> None:
    rays = rays_of(person(people=2))
    seen, axes = look_at(rays[:1, :15])
    rays[0, 15] = (9.0, -9.0, 0.0)
    rays[0, 16] = (np.nan, 0.0, 0.9)
    partly, same = look_at(rays[:1])
    np.testing.assert_allclose(same, axes)
    np.testing.assert_allclose(partly[:, :15], seen)
    assert partly[0, 15].tolist() == [0, 0, 0] and np.isnan(partly[0, 16, 0])


def test_nobody_is_a_frame_like_any_other() -> None:
    seen, axes = look_at(np.zeros((2, 17, 3)), gravity=np.array([0.0, 1.0, 0.0]))
    assert not seen.any()
    np.testing.assert_allclose(axes, np.broadcast_to(np.eye(3), (2, 3, 3)))


def test_people_at_once_are_as_one_after_the_other() -> None:
    rays, down = rays_of(person(people=4)), np.array([0.0, 0.8, 0.6])
    seen, axes = look_at(rays, gravity=down)
    for i in range(4):
        one, its = look_at(rays[i], gravity=down)
        np.testing.assert_array_equal(one, seen[i])
        np.testing.assert_array_equal(its, axes[i])
