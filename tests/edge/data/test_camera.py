from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.edge.data.camera import IN_FRAME, NEAREST_M, Camera, sample_camera
from posemoe_edge.edge.data.mocap import Clip

SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sampled_camera_sees_the_whole_path(clip: Clip, seed: int) -> None:
    camera = sample_camera(np.random.default_rng(seed), clip.joints_m)
    points = camera.to_camera(clip.joints_m)
    px = camera.project(points)
    inside = ((px >= 0) & (px < [camera.width_px, camera.height_px])).all(axis=-1)
    assert points[..., 2].min() > NEAREST_M and inside.mean() >= IN_FRAME


@pytest.mark.parametrize("seed", SEEDS)
def test_axes_are_right_down_forward(clip: Clip, seed: int) -> None:
    camera = sample_camera(np.random.default_rng(seed), clip.joints_m)
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(camera.rotation) == pytest.approx(1, abs=1e-5)
    points = camera.to_camera(clip.joints_m)
    assert (points[:, 10, 1] < points[:, 0, 1]).all()  # the head is above the hip: smaller y
    assert (camera.project(points)[:, 10, 1] < camera.project(points)[:, 3, 1]).all()


def test_a_person_facing_the_camera_has_the_left_hand_on_the_right(clip: Clip) -> None:
    looking_along_y = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    focal, centre = np.full(2, 1145, np.float32), np.full(2, 500, np.float32)
    camera = Camera(looking_along_y, np.array([0, -6, 1], np.float32), focal, centre)
    x = camera.project(camera.to_camera(clip.joints_m))[..., 0]
    assert (x[:, 11] > x[:, 14]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_pixels_and_depth_lead_back_to_the_world(clip: Clip, seed: int) -> None:
    camera = sample_camera(np.random.default_rng(seed), clip.joints_m)
    points = camera.to_camera(clip.joints_m)
    depth = points[..., 2:]
    back = np.concatenate([(camera.project(points) - camera.centre_px) / camera.focal_px * depth, depth], axis=-1)
    np.testing.assert_allclose(back @ camera.rotation + camera.eye_m, clip.joints_m, atol=1e-4)  # 0.1 mm: float32 pixels


def test_a_long_path_is_seen_from_far_away(clip: Clip) -> None:
    path = clip.joints_m.copy()
    path[..., 0] += np.linspace(-8, 8, len(path), dtype=np.float32)[:, None]
    for seed in SEEDS:
        assert sample_camera(np.random.default_rng(seed), path).sees(path)


def test_the_search_for_a_camera_position_terminates(clip: Clip) -> None:
    path = clip.joints_m.copy()
    path[..., 0] += np.linspace(-1e3, 1e3, len(path), dtype=np.float32)[:, None]
    assert not sample_camera(np.random.default_rng(0), path).sees(path)


def test_a_camera_is_at_human36m_distances_and_heights(clip: Clip) -> None:
    still = np.repeat(clip.joints_m[:1], 5, axis=0)
    cameras = [sample_camera(np.random.default_rng(seed), still) for seed in range(200)]
    height = np.array([c.eye_m[2] for c in cameras])
    distance = np.array([np.linalg.norm(c.eye_m[:2] - still[0, 0, :2]) for c in cameras])
    assert height.min() >= 1 and height.max() <= 2 and distance.min() >= 2.5 and distance.max() <= 6
    assert np.ptp([c.focal_px for c in cameras]) <= 5 and np.min([c.centre_px for c in cameras]) >= 508


def test_a_batch_of_cameras_projects_as_each_camera_alone(clip: Clip) -> None:
    paths = np.stack([clip.joints_m[:5] + np.array([i, 0, 0], np.float32) for i in range(6)])
    camera = sample_camera(np.random.default_rng(0), paths)
    points = camera.to_camera(paths)
    px = camera.project(points)
    assert camera.sees(paths).all() and points.shape == paths.shape and px.shape == (*paths.shape[:-1], 2)
    for i, path in enumerate(paths):
        alone = Camera(camera.rotation[i], camera.eye_m[i], camera.focal_px[i], camera.centre_px[i])
        np.testing.assert_allclose(alone.to_camera(path), points[i], atol=1e-5)
        np.testing.assert_allclose(alone.project(alone.to_camera(path)), px[i], atol=1e-2)
        assert alone.sees(path)


def test_a_batch_of_one_gets_the_camera_of_the_path_alone(clip: Clip) -> None:
    path = clip.joints_m.copy()
    path[..., 0] += np.linspace(-8, 8, len(path), dtype=np.float32)[:, None]  # redrawn, and then steps back
    alone, batch = sample_camera(np.random.default_rng(3), path), sample_camera(np.random.default_rng(3), path[None])
    for name in ("rotation", "eye_m", "focal_px", "centre_px"):
        np.testing.assert_array_equal(getattr(batch, name)[0], getattr(alone, name))
