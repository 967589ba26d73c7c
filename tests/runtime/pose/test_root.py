"""Positions are exact without noise, the same alone and together, and off by as much as they say with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.pose import root
from posemoe_edge.runtime.pose.root import ACROSS, MIN_JOINTS, Solution, solve_roots
from posemoe_edge.runtime.sources.walker import walk_world

NOISE_PX_OF_400 = 4.0  # of the keypoints, for a person who is 400 px tall
NOISE_M = (0.025, 0.025, 0.035)  # of the pose, x, y and depth


def walkers(count: int, seed: int = 0) -> F64:
    """(B, 17, 3) poses of a walking person, relative to the hip, in the axes of a level camera."""
    world = walk_world(np.random.default_rng(seed).uniform(0, 60, count), seed=seed)
    joints_m = np.stack([world[..., 0], -world[..., 2], world[..., 1]], axis=-1)
    return np.asarray(joints_m - joints_m[:, :1])


def rays_of(joints_m: F64) -> F64:
    """(B, 17, 3) the joints as seen, every one."""
    return np.concatenate([joints_m[..., :2] / joints_m[..., 2:], np.ones_like(joints_m[..., :1])], axis=-1)


def stacked(solutions: list[Solution]) -> F64:
    return np.stack([solution.xyz_m for solution in solutions])


place = st.tuples(st.floats(-1.5, 1.5), st.floats(-0.8, 0.8), st.floats(1.5, 12.0))


@settings(max_examples=50, deadline=None)
@given(where=st.lists(place, min_size=1, max_size=6), seed=st.integers(0, 99))
def test_it_recovers_exact_positions(where: list[tuple[float, float, float]], seed: int) -> None:
    root_m, pose_m = np.array(where), walkers(len(where), seed)
    solutions = solve_roots(pose_m, rays_of(pose_m + root_m[:, None]))
    np.testing.assert_allclose(stacked(solutions), root_m, atol=1e-5)
    assert all(solution.valid and solution.residual < 1e-6 for solution in solutions)


@settings(max_examples=50, deadline=None)
@given(where=place, scale=st.floats(0.5, 1.5), seed=st.integers(0, 99))
def test_a_person_who_is_so_much_larger_is_so_much_farther(where: tuple[float, float, float], scale: float, seed: int) -> None:
    pose_m = walkers(1, seed)
    [solution] = solve_roots(pose_m / scale, rays_of(pose_m + np.array(where)))
    np.testing.assert_allclose(scale * solution.xyz_m, where, atol=1e-4)


def noisy_scene(depth_m: float, *, outliers: int, people: int = 600) -> tuple[F64, F64, F64]:
    """Positions (B, 3), poses as lifted and rays as detected (B, 17, 3)."""
    rng = np.random.default_rng(7)
    pose_m = walkers(people, seed=3)
    root_m = np.stack([rng.uniform(-0.25, 0.25, people), rng.uniform(-0.1, 0.1, people), np.ones(people)], axis=-1) * depth_m
    rays = rays_of(pose_m + root_m[:, None])
    height = np.ptp(rays[..., 1], axis=1)[:, None, None]
    rays[..., :2] += rng.normal(size=rays[..., :2].shape) * height * NOISE_PX_OF_400 / 400
    for person in range(people):
        wrong = rng.choice(17, outliers, replace=False)
        rays[person, wrong, :2] += rng.normal(size=(outliers, 2)) * 0.3 * height[person]
    lifted_m = pose_m + rng.normal(size=pose_m.shape) * NOISE_M
    return root_m, lifted_m - lifted_m[:, :1], rays


def test_together_is_as_alone() -> None:
    _, pose_m, rays = noisy_scene(4.0, outliers=2, people=5)
    rays[2, 5:, 2] = 0  # this one is hardly seen
    together = solve_roots(pose_m, rays)
    for i, solution in enumerate(together):
        [alone] = solve_roots(pose_m[i : i + 1], rays[i : i + 1])
        np.testing.assert_allclose(alone.xyz_m, solution.xyz_m, rtol=1e-9)
        np.testing.assert_allclose(alone.covariance, solution.covariance, rtol=1e-6)
        assert alone.valid == solution.valid


@pytest.mark.parametrize("outliers", [0, 2])
@pytest.mark.parametrize("depth_m", [2.0, 4.0, 6.0])
def test_it_is_off_by_about_two_percent_of_the_distance(depth_m: float, outliers: int) -> None:
    """Also with two joints of seventeen far off, where least squares would be off by 8 to 16 %."""
    root_m, pose_m, rays = noisy_scene(depth_m, outliers=outliers)
    off_m = np.abs(stacked(solve_roots(pose_m, rays)) - root_m)
    assert np.median(off_m[:, 2]) < 0.025 * depth_m
    assert np.percentile(off_m[:, 2], 95) < 0.07 * depth_m
    assert np.median(off_m[:, :2]) < 0.03


@pytest.mark.parametrize("depth_m", [2.0, 6.0])
def test_it_knows_how_far_it_is_off(depth_m: float) -> None:
    root_m, pose_m, rays = noisy_scene(depth_m, outliers=0)
    solutions = solve_roots(pose_m, rays)
    sigma_m = np.sqrt([np.diagonal(solution.covariance) for solution in solutions])
    off = np.abs(stacked(solutions) - root_m) / sigma_m
    within_one, within_two = (off < 1).mean(axis=0), (off < 2).mean(axis=0)
    assert ((within_one > 0.55) & (within_one < 0.8)).all()  # 0.68 of a normal distribution
    assert (within_two > 0.85).all()


def test_a_joint_that_the_lifter_is_unsure_of_counts_less() -> None:
    root_m, pose_m, rays = noisy_scene(4.0, outliers=0)
    rng = np.random.default_rng(1)
    pose_m[:, 11:] += rng.normal(size=pose_m[:, 11:].shape) * 0.06  # both arms, across the rays as well
    sigma_m = np.full(pose_m.shape[:2], 0.06)
    sigma_m[:, 11:] = 0.06 / ACROSS
    told, not_told = (
        np.abs(stacked(solve_roots(pose_m, rays, sigma_m=sigma)) - root_m)[:, 2].mean() for sigma in (sigma_m, None)
    )
    assert told < not_told


def test_a_lifter_that_is_sure_of_the_hip_does_not_trust_its_keypoint_more() -> None:
    """Poses are measured from the hip, so that a lifter's standard deviation there is next to nothing."""
    root_m, pose_m = np.array([0.2, -0.1, 4.0]), walkers(1)
    rays = rays_of(pose_m + root_m)
    rays[:, 0, 0] += 0.03  # the hip's keypoint is off by 12 cm
    sigma_m = np.full((1, 17), 0.05)
    sigma_m[:, 0] = 0.001
    [solution] = solve_roots(pose_m, rays, sigma_m=sigma_m)
    assert np.linalg.norm(solution.xyz_m - root_m) < 0.02
    assert np.sqrt(solution.covariance[1, 1]) > 0.02  # and that of the position is not


def test_a_lifter_that_is_sure_of_the_hips_does_not_make_their_width_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Near the middle of the hips, from which it measures, a lifter errs little; keypoints err there as they do elsewhere."""
    root_m, _, rays = noisy_scene(4.0, outliers=0)
    pose_m = walkers(len(root_m), seed=3)
    sigma_m = 0.001 + 0.15 * np.linalg.norm(pose_m, axis=-1)
    pose_m[..., 2] += np.random.default_rng(2).normal(size=sigma_m.shape) * sigma_m
    off_m = np.abs(stacked(solve_roots(pose_m, rays, sigma_m=sigma_m)) - root_m)[:, 2].mean()
    monkeypatch.setattr(root, "KEYPOINT_M", 1e-3)
    assert off_m < 0.9 * np.abs(stacked(solve_roots(pose_m, rays, sigma_m=sigma_m)) - root_m)[:, 2].mean()


def test_joints_that_are_not_seen_take_no_part() -> None:
    root_m, pose_m = np.array([[0.3, 0.1, 3.0]]), walkers(1)
    rays = rays_of(pose_m + root_m[:, None])
    rays[0, 3:8] = (50.0, np.nan, 0.0)
    [solution] = solve_roots(pose_m, rays)
    np.testing.assert_allclose(solution.xyz_m, root_m[0], atol=1e-5)


def test_with_few_joints_there_is_no_position() -> None:
    pose_m = walkers(2)
    rays = rays_of(pose_m + np.array([0.0, 0.0, 3.0]))
    rays[0, MIN_JOINTS - 1 :, 2] = 0
    rays[1, MIN_JOINTS:, 2] = 0
    assert [solution.valid for solution in solve_roots(pose_m, rays)] == [False, True]
    rays[:] = 0
    assert [solution.valid for solution in solve_roots(pose_m, rays)] == [False, False]


def test_pose_and_keypoints_of_different_bodies_give_no_position() -> None:
    pose_m = walkers(1)
    upside_down: NDArray[np.float64] = rays_of(pose_m * np.array([1.0, -1.0, 1.0]) + np.array([0.0, 0.0, 3.0]))
    assert not solve_roots(pose_m, upside_down)[0].valid
    point = np.concatenate([np.zeros((1, 17, 2)), np.ones((1, 17, 1))], axis=-1)  # all joints in one place
    assert not solve_roots(pose_m, point)[0].valid or solve_roots(pose_m, point)[0].xyz_m[2] > 50
