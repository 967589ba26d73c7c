"""A camera scales with its picture, turns with it, and undoes its distortion on keypoints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.pose.camera import Intrinsics
from posemoe_edge.runtime.pose.camera_model import Camera, FieldOfView
from posemoe_edge.runtime.pose.distortion import Distortion
from posemoe_edge.runtime.pose.keypoints import ImageSize, Keypoints
from posemoe_edge.runtime.pose.skeleton import COCO17

LENS = Distortion("plumb_bob", (-0.28, 0.09, 0.0012, -0.0007, -0.01))
CAMERA = Camera(Intrinsics(900, 910, 650, 350), ImageSize(1280, 720), distortion=LENS, gravity=np.array([0.1, 2.0, 0.3]))


def points_m(count: int = 17) -> np.ndarray:
    """Joints in front of the camera."""
    rng = np.random.default_rng(1)
    return np.concatenate([rng.uniform(-0.8, 0.8, (count, 2)), rng.uniform(3, 5, (count, 1))], axis=1)


def keypoints(xy_px: np.ndarray, camera: Camera = CAMERA) -> Keypoints:
    return Keypoints(np.concatenate([xy_px, np.ones((len(xy_px), 1))], axis=1), COCO17, camera.size)


def test_undistorted_keypoints_are_those_of_a_pinhole() -> None:
    found = CAMERA.undistorted(keypoints(CAMERA.project(points_m())))
    np.testing.assert_allclose(found.xy, replace(CAMERA, distortion=None).project(points_m()), atol=1e-4)
    assert (found.score == 1).all()


def test_a_joint_that_cannot_be_undistorted_is_not_seen() -> None:
    pixels = CAMERA.project(points_m())
    pixels[3] = 8000, 9000
    found = CAMERA.undistorted(keypoints(pixels))
    assert found.score[3] == 0 and (np.delete(found.score, 3) == 1).all()


def test_a_joint_that_is_not_finite_stays_so() -> None:
    pixels = CAMERA.project(points_m())
    pixels[3] = np.nan, 10
    found = CAMERA.undistorted(keypoints(pixels))
    assert np.isnan(found.points[3, 0]) and found.score[3] == 1


def test_a_camera_without_distortion_leaves_keypoints_alone() -> None:
    given = keypoints(CAMERA.project(points_m()))
    assert replace(CAMERA, distortion=None).undistorted(given) is given


@pytest.mark.parametrize("size", [ImageSize(640, 360), ImageSize(1920, 1080), ImageSize(854, 480)])
def test_it_scales_with_its_picture(size: ImageSize) -> None:
    half = CAMERA.for_size(size)
    expected = CAMERA.project(points_m()) * (size.width_px / 1280, size.height_px / 720)
    np.testing.assert_allclose(half.project(points_m()), expected, atol=1e-9)
    assert half.for_size(CAMERA.size).intrinsics.fx_px == pytest.approx(900)


def test_a_picture_of_another_aspect_is_refused() -> None:
    with pytest.raises(UsageError, match=r"calibrated at 1280 x 720 px.* 640 x 480 px, another aspect"):
        CAMERA.for_size(ImageSize(640, 480))


def test_it_turns_clockwise_with_its_picture() -> None:
    turned = CAMERA.turned(1)
    own = points_m()
    pixels, seen = CAMERA.project(own), turned.project(own @ np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]).T)
    assert turned.size == ImageSize(720, 1280)
    np.testing.assert_allclose(seen, np.stack([720 - pixels[:, 1], pixels[:, 0]], axis=1), atol=1e-9)
    assert turned.gravity is not None and CAMERA.gravity is not None
    np.testing.assert_allclose(turned.gravity, [-CAMERA.gravity[1], CAMERA.gravity[0], CAMERA.gravity[2]])


@pytest.mark.parametrize("quarters", range(-1, 5))
def test_where_a_point_is_in_the_room_does_not_depend_on_how_the_picture_is_turned(quarters: int) -> None:
    world = np.eye(4)
    world[:3] = np.array([[0.0, 0, 1, 0.3], [-1, 0, 0, -0.2], [0, -1, 0, 1.4]])
    camera = replace(CAMERA, world_from_camera=world)
    turned = camera.turned(quarters)
    turn = np.linalg.matrix_power(np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]), quarters % 4)
    own = points_m()
    assert turned.world_from_camera is not None
    for a, b in zip(own @ turn.T, own, strict=True):
        np.testing.assert_allclose((turned.world_from_camera @ [*a, 1])[:3], (world @ [*b, 1])[:3], atol=1e-12)
    assert turned.size == (camera.size if quarters % 2 == 0 else ImageSize(720, 1280))


def test_a_field_of_view_reaches_from_edge_to_edge() -> None:
    camera = FieldOfView(90, gravity=np.array([0, 3, 0])).for_size(ImageSize(640, 480))
    edges = camera.project([[1, 0, 1], [-1, 0, 1], [0, 0, 1]])
    np.testing.assert_allclose(edges, [[640, 240], [0, 240], [320, 240]], atol=1e-9)
    assert camera.gravity is not None and camera.gravity.tolist() == [0, 1, 0]
    assert FieldOfView(90, gravity=np.array([0, 1, 0])).turned(1).for_size(ImageSize(480, 640)).gravity is not None


@pytest.mark.parametrize("degrees", [0, -60, 180, float("nan")])
def test_a_field_of_view_that_is_none_is_refused(degrees: float) -> None:
    with pytest.raises(UsageError, match="field of view"):
        FieldOfView(degrees)


@pytest.mark.parametrize("gravity", [[0, 0, 0], [0, 1], [0, np.nan, 0]])
def test_gravity_that_points_nowhere_is_refused(gravity: list[float]) -> None:
    for make in (lambda g: replace(CAMERA, gravity=g), lambda g: FieldOfView(60, gravity=g)):
        with pytest.raises(UsageError, match="gravity"):
            make(np.array(gravity))


@pytest.mark.parametrize("matrix", [np.eye(3), np.diag([2.0, 2, 2, 1]), np.diag([1.0, 1, -1, 1]), np.full((4, 4), np.nan)])
def test_extrinsics_that_are_no_place_are_refused(matrix: np.ndarray) -> None:
    with pytest.raises(UsageError, match="extrinsics"):
        replace(CAMERA, world_from_camera=matrix)


def test_a_distortion_that_can_be_undone_nowhere_is_refused() -> None:
    with pytest.raises(UsageError, match=r"can be undone in \d+% of the picture only"):
        replace(CAMERA, distortion=Distortion("plumb_bob", (-30.0, 0.0)))


def test_a_principal_point_of_another_resolution_is_refused() -> None:
    with pytest.raises(UsageError, match="principal point"):
        Camera(Intrinsics(900, 910, 2650, 350), ImageSize(1280, 720))
    with pytest.raises(UsageError, match="above the floor"):
        replace(CAMERA, height_m=-1.0)
