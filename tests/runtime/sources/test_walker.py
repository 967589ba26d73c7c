"""The walker moves like a person: constant bones, upright, feet on the floor, knees bent forward."""

from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.sources.synthetic import SYNTHETIC_CAMERA
from posemoe_edge.runtime.sources.walker import Walker, walk_world

T_S = np.arange(0, 20, 0.02)
SEEDS = range(8)


def joint(name: str) -> int:
    return H36M17.joints.index(name)


def forward(world_m: F64) -> F64:
    """(T, 2) direction in which the body faces: orthogonal to the line from the right hip to the left one."""
    across = world_m[:, joint("left_hip"), :2] - world_m[:, joint("right_hip"), :2]
    ahead = np.stack([across[:, 1], -across[:, 0]], -1)
    unit: F64 = ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)
    return unit


@pytest.mark.parametrize("seed", SEEDS)
def test_bones_keep_their_lengths(seed: int) -> None:
    world_m = walk_world(T_S, seed=seed)
    for parent, child in H36M17.bones:
        length = np.linalg.norm(world_m[:, child] - world_m[:, parent], axis=-1)
        assert np.ptp(length) < 1e-12 and 0.08 < length[0] < 0.55


@pytest.mark.parametrize("seed", SEEDS)
def test_the_feet_are_on_the_floor_and_the_head_is_up(seed: int) -> None:
    height_m = walk_world(T_S, seed=seed)[..., 2]
    lower_ankle = height_m[:, [joint("left_ankle"), joint("right_ankle")]].min(1)
    assert height_m.min() > 0 and np.all(lower_ankle > 0.07) and np.all(lower_ankle < 0.12)
    assert np.all(height_m.argmax(1) == joint("head")) and 1.3 < height_m.max() < 2.0
    bob_m = np.ptp(height_m[:, joint("hip")])
    assert 0.01 < bob_m < 0.12


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_knees_bend_forward_and_elbows_bend_the_arm_forward(seed: int, side: str) -> None:
    world_m = walk_world(T_S, seed=seed)
    ahead = forward(world_m)

    def ahead_of_line(upper: str, middle: str, lower: str) -> F64:
        ends = (world_m[:, joint(f"{side}_{upper}")] + world_m[:, joint(f"{side}_{lower}")]) / 2
        ahead_m: F64 = ((world_m[:, joint(f"{side}_{middle}")] - ends)[:, :2] * ahead).sum(-1)
        return ahead_m

    knee_m = ahead_of_line("hip", "knee", "ankle")
    assert knee_m.min() > -0.005 and knee_m.max() > 0.12  # straight at most, well bent in the swing
    assert ahead_of_line("shoulder", "elbow", "wrist").max() < 0.005


@pytest.mark.parametrize("seed", SEEDS)
def test_it_walks_in_the_direction_that_it_faces(seed: int) -> None:
    world_m = walk_world(T_S, seed=seed)
    step_m = np.diff(world_m[:, 0, :2], axis=0)
    speed_m_s = np.linalg.norm(step_m, axis=-1) / 0.02
    assert 0.5 < speed_m_s.mean() < 1.8
    towards = (step_m * forward(world_m)[1:]).sum(-1) / np.linalg.norm(step_m, axis=-1)
    assert towards.mean() > 0.97 and towards.min() > 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_arms_and_legs_swing_against_each_other(seed: int) -> None:
    world_m = walk_world(T_S, seed=seed)
    ahead = forward(world_m)

    def reach(end: str) -> F64:
        reach_m: F64 = ((world_m[:, joint(end)] - world_m[:, 0])[:, :2] * ahead).sum(-1)
        return reach_m

    assert np.corrcoef(reach("left_wrist"), reach("right_ankle"))[0, 1] > 0.5
    assert np.corrcoef(reach("left_ankle"), reach("right_ankle"))[0, 1] < -0.5


def test_the_standing_foot_is_far_slower_than_the_body() -> None:
    world_m = walk_world(T_S, seed=0)
    speed = np.linalg.norm(np.diff(world_m[..., :2], axis=0), axis=-1) / 0.02
    ankles = world_m[1:, [3, 6], 2]
    standing = np.take_along_axis(speed[:, [3, 6]], ankles.argmin(1)[:, None], 1)
    assert np.median(standing) < 0.4 * speed[:, 0].mean()


def test_motion_is_smooth() -> None:
    # The ankle of a swinging foot reaches three times gravity; a jump at 50 Hz would give hundreds of m/s^2.
    acceleration = np.diff(walk_world(T_S, seed=3), 2, axis=0) / 0.02**2
    assert np.linalg.norm(acceleration, axis=-1).max() < 60


def test_the_same_seed_is_the_same_walk_at_any_instants() -> None:
    some = T_S[[700, 3, 41]]
    np.testing.assert_allclose(walk_world(some, seed=5), walk_world(T_S, seed=5)[[700, 3, 41]], atol=1e-12)
    assert np.abs(walk_world(T_S, seed=5) - walk_world(T_S, seed=6)).max() > 0.1


def test_people_of_one_seed_differ_in_stature_pace_and_path() -> None:
    people = [Walker.draw(seed=0, person=p) for p in range(6)]
    for trait in ("size", "speed_m_s", "phase", "radius_m"):
        assert len({getattr(p, trait) for p in people}) == 6
    assert {p.turn for p in people} == {-1, 1}


def test_everybody_stays_in_the_picture_upright() -> None:
    for seed in range(20):
        camera_m = SYNTHETIC_CAMERA.to_camera(walk_world(np.arange(0, 30, 0.1), seed=seed))
        px = SYNTHETIC_CAMERA.project(camera_m)
        assert camera_m[..., 2].min() > 2
        assert px.min() > 0 and px[..., 0].max() < SYNTHETIC_CAMERA.width_px and px[..., 1].max() < SYNTHETIC_CAMERA.height_px
        assert np.all(px[:, joint("head"), 1] < px[:, joint("hip"), 1])


def test_the_camera_keeps_distances_and_is_right_handed() -> None:
    rotation = SYNTHETIC_CAMERA.camera_from_world
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    middle = SYNTHETIC_CAMERA.to_camera(np.array([0.0, 0.0, SYNTHETIC_CAMERA.target_m]))
    np.testing.assert_allclose(SYNTHETIC_CAMERA.project(middle), SYNTHETIC_CAMERA.centre_px)
