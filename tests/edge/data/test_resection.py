from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.edge.data.camera import Camera, sample_camera
from posemoe_edge.edge.data.resection import resect
from posemoe_edge.runtime.arrays import F32, F64
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.sources.walker import walk_world

EXACT_MM = 0.02  # float32 pixels and a float32 camera; documented is a tenth of a millimetre
NOISY_MM = 10.0  # 1 px at 4 m is 3.5 mm; 300 points average it little at the borders of the image
DISTORTION = np.array([-0.2, 0.24, -0.002, -0.001, -0.0014])  # of the size of Human3.6M's


def observed_walk(seed: int, *, frames: int = 300) -> tuple[Camera, F32, F64]:
    """A camera, points of a walk (N, 3) and their distorted pixels (N, 2), by an independent implementation of the formula."""
    path = walk_world(np.linspace(0, 60, frames), seed=seed).astype(np.float32)
    camera = sample_camera(np.random.default_rng(seed), path)
    x, y, z = ((path.reshape(-1, 3).astype(np.float64) - camera.eye_m) @ camera.rotation.T.astype(np.float64)).T
    x, y = x / z, y / z
    k1, k2, k3, p1, p2 = DISTORTION
    r2 = x**2 + y**2
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + p1 * x + p2 * y
    pixels = np.stack([x * radial + p1 * r2, y * radial + p2 * r2], -1) * camera.focal_px + camera.centre_px
    points: F32 = path.reshape(-1, 3)
    return camera, points, pixels.astype(np.float64)


def worst_mm(a: Camera, b: Camera, points: F32) -> float:
    return 1000 * float(np.linalg.norm(a.to_camera(points) - b.to_camera(points), axis=-1).max())


@pytest.mark.parametrize("seed", range(4))
def test_a_camera_with_distortion_is_found(seed: int) -> None:
    camera, points, pixels = observed_walk(seed)
    result = resect(points, pixels.astype(np.float32), width_px=1000, height_px=1002)
    assert result.median_px < 1e-3 and worst_mm(result.camera, camera, points) < EXACT_MM
    np.testing.assert_allclose(result.distortion, DISTORTION, atol=1e-3)
    np.testing.assert_allclose(result.camera.focal_px, camera.focal_px, rtol=1e-5)
    np.testing.assert_allclose(result.project(points), pixels, atol=2e-3)


def test_outliers_are_ignored() -> None:
    camera, points, pixels = observed_walk(0)
    rng = np.random.default_rng(0)
    wrong = rng.random(len(pixels)) < 0.03
    pixels[wrong] += rng.normal(0, 150, (wrong.sum(), 2))
    result = resect(points, pixels, width_px=1000, height_px=1002)
    assert worst_mm(result.camera, camera, points) < EXACT_MM


def test_noise_is_averaged_and_reported() -> None:
    camera, points, pixels = observed_walk(0)
    result = resect(points, pixels + np.random.default_rng(0).normal(0, 1, pixels.shape), width_px=1000, height_px=1002)
    assert 1 < result.median_px < 1.4  # the median of a Rayleigh distribution is 1.18
    assert worst_mm(result.camera, camera, points) < NOISY_MM


def test_points_that_determine_no_camera_are_refused() -> None:
    _, points, pixels = observed_walk(0)
    with pytest.raises(UsageError, match="20 points for a camera"):
        resect(points[:20], pixels[:20], width_px=1000, height_px=1002)
    with pytest.raises(UsageError, match="finite"):
        resect(points, np.where(pixels == pixels[5], np.nan, pixels), width_px=1000, height_px=1002)
    with pytest.raises(UsageError, match=r"points .* and pixels"):
        resect(points[:-1], pixels, width_px=1000, height_px=1002)
    with pytest.raises(UsageError, match="in one plane"):
        resect(points * [1, 1, 0], pixels, width_px=1000, height_px=1002)
    with pytest.raises(UsageError, match="mirror image"):
        resect(points, pixels * [-1, 1], width_px=1000, height_px=1002)
