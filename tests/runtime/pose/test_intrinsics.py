from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.pose.camera import Intrinsics, normalise_by_camera, renormalise_by_camera
from posemoe_edge.runtime.pose.keypoints import ImageSize, Keypoints, normalise_screen
from posemoe_edge.runtime.pose.skeleton import H36M17


def points(seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(seed)
    keypoints = np.concatenate([rng.uniform(0, 640, (17, 2)), rng.uniform(0.1, 1, (17, 1))], axis=1).astype(np.float32)
    keypoints[4] = 0
    return keypoints


def test_a_nominal_camera_in_landscape_is_the_pictures_own_normalisation() -> None:
    by_camera = normalise_by_camera(points(), Intrinsics.nominal(640, 480))
    np.testing.assert_allclose(by_camera, normalise_screen(points(), width_px=640, height_px=480), atol=1e-6)


def test_a_nominal_focal_length_is_the_longer_side() -> None:
    assert Intrinsics.nominal(480, 640) == Intrinsics(640, 640, 240, 320)


def test_zooming_and_shifting_the_picture_changes_nothing() -> None:
    rays = normalise_by_camera(points(), Intrinsics(500, 510, 320, 240))
    moved = points()
    seen = moved[:, 2] > 0
    moved[seen, :2] = (moved[seen, :2] - [320, 240]) * 1.7 + [100, 900]
    np.testing.assert_allclose(normalise_by_camera(moved, Intrinsics(850, 867, 100, 900)), rays, atol=1e-5)


def test_keypoints_normalised_by_the_picture_can_be_normalised_by_the_camera_instead() -> None:
    intrinsics = Intrinsics(500, 510, 300, 260)
    by_picture = normalise_screen(points(), width_px=640, height_px=480)
    by_camera = renormalise_by_camera(by_picture, intrinsics.where_picture_is_2_wide(640, 480))
    np.testing.assert_allclose(by_camera, normalise_by_camera(points(), intrinsics), atol=1e-6)
    assert not by_camera[4].any()  # a missing joint stays (0, 0, 0)


def test_keypoints_are_normalised_for_the_view_of_the_lifter() -> None:
    keypoints, intrinsics = Keypoints(points(), H36M17, ImageSize(640, 480)), Intrinsics(500, 510, 300, 260)
    np.testing.assert_array_equal(
        keypoints.normalised(view="person", intrinsics=intrinsics), normalise_by_camera(points(), intrinsics)
    )
    np.testing.assert_array_equal(
        keypoints.normalised(view="image", intrinsics=intrinsics), normalise_screen(points(), width_px=640, height_px=480)
    )
    np.testing.assert_array_equal(
        keypoints.normalised(view="person"), normalise_by_camera(points(), Intrinsics.nominal(640, 480))
    )


@pytest.mark.parametrize("values", [(0, 500, 0, 0), (500, -1, 0, 0), (500, 500, float("nan"), 0), (float("inf"), 5, 0, 0)])
def test_intrinsics_that_are_no_camera_are_refused(values: tuple[float, float, float, float]) -> None:
    with pytest.raises(UsageError, match="intrinsics"):
        Intrinsics(*values)
