"""Keypoints know their skeleton and picture, are normalised per frame, and are refused with a reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.errors import FrameError, UsageError
from posemoe_edge.runtime.pose.keypoints import ImageSize, Keypoints, check_keypoints, normalise_screen, to_pixels
from posemoe_edge.runtime.pose.skeleton import COCO17, H36M17, MPI3DHP17, coco_to_h36m


def points(x: float, y: float, score: float = 1.0) -> F32:
    return np.tile(np.array([x, y, score], np.float32), (17, 1))


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        ((0, 0), (-1, -0.75)),  # upper left corner of 640 x 480
        ((640, 480), (1, 0.75)),  # lower right
        ((320, 240), (0, 0)),  # the middle
    ],
)
def test_the_screen_becomes_minus_one_to_one(pixel: tuple[int, int], expected: tuple[float, float]) -> None:
    normalised = normalise_screen(points(*pixel), width_px=640, height_px=480)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised[0], (*expected, 1), atol=1e-7)


def test_a_missing_joint_becomes_exactly_zero_even_if_its_position_is_nan() -> None:
    points_px = points(100, 100)
    points_px[3] = (np.nan, 7, 0)
    assert normalise_screen(points_px, width_px=640, height_px=480)[3].tolist() == [0, 0, 0]


@given(
    width=st.integers(16, 8000), height=st.integers(16, 8000), x=st.floats(0, 1), y=st.floats(0, 1), score=st.floats(0.01, 1)
)
def test_pixels_come_back(width: int, height: int, x: float, y: float, score: float) -> None:
    normalised = normalise_screen(points(x * width, y * height, score), width_px=width, height_px=height)
    pixels = to_pixels(normalised, width_px=width, height_px=height)
    np.testing.assert_allclose(pixels, points(x * width, y * height, score), atol=1e-3 * max(width, height) / 1000, rtol=1e-5)


def test_any_number_of_axes_may_stand_before_the_joints() -> None:
    batch = np.random.default_rng(0).uniform(0, 100, (2, 5, 17, 3))
    normalised = normalise_screen(batch, width_px=100, height_px=50)
    np.testing.assert_array_equal(normalised[1, 4], normalise_screen(batch[1, 4], width_px=100, height_px=50))


def test_an_image_without_size_is_refused() -> None:
    with pytest.raises(FrameError, match="image size is 0 x 480"):
        normalise_screen(points(0, 0), width_px=0, height_px=480)


def test_keypoints_without_scores_have_score_one() -> None:
    checked = check_keypoints(np.zeros((17, 2)))
    assert checked.shape == (17, 3) and checked.dtype == np.float32 and (checked[:, 2] == 1).all()


def test_checked_keypoints_are_a_copy() -> None:
    buffer = points(0, 0)
    checked = check_keypoints(buffer)
    buffer[:] = 9
    assert checked.max() == 1


def with_value(joint: int, column: int, value: float) -> F32:
    """Good keypoints with one number replaced."""
    changed = points(0.1, 0.2)
    changed[joint, column] = value
    return changed


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((16, 3)), r"shape \(16, 3\).*expected \(17, 3\)"),
        (np.zeros((1, 17, 3)), r"shape \(1, 17, 3\)"),
        (np.zeros((17, 4)), r"shape \(17, 4\)"),
        (np.zeros(0), r"shape \(0,\)"),
        ("left knee", "not an array of numbers"),
        ([[1, 2], [3]], "not an array of numbers"),
        (with_value(5, 0, np.nan), "joint 5 .* not finite"),
        (with_value(16, 1, np.inf), "joint 16 .* not finite"),
        (with_value(2, 2, np.nan), "joint 2 .* not finite"),
        (with_value(4, 2, 1.5), "joint 4 .* score 1.5"),
        (with_value(0, 2, -0.1), "joint 0 .* score -0.1"),
    ],
)
def test_bad_keypoints_are_refused_with_the_reason(bad: object, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        check_keypoints(bad)  # type: ignore[arg-type]


SIZE = ImageSize(640, 480)
COCO_PX = np.random.default_rng(5).uniform(1, 480, (17, 3)).astype(np.float32)
COCO_PX[:, 2] = 0.5


def test_coco_in_pixels_is_mapped_and_then_normalised() -> None:
    keypoints = Keypoints.from_coco(COCO_PX, size=SIZE)
    for recipe in ("coco_eyes", "coco_neck"):
        expected = normalise_screen(coco_to_h36m(COCO_PX, recipe), width_px=640, height_px=480)
        np.testing.assert_array_equal(keypoints.normalised(recipe=recipe), expected)


def test_separate_arrays_are_the_same_keypoints() -> None:
    keypoints = Keypoints.from_arrays(COCO_PX[:, :2], COCO_PX[:, 2].tolist(), size=SIZE)
    np.testing.assert_array_equal(keypoints.points, COCO_PX)
    np.testing.assert_array_equal(keypoints.xy, COCO_PX[:, :2])
    np.testing.assert_array_equal(keypoints.score, COCO_PX[:, 2])
    assert keypoints.skeleton == COCO17


def test_normalised_keypoints_stay_bit_for_bit() -> None:
    normalised = points(0.1, -0.2, 0.3)
    assert Keypoints.from_normalised(normalised).normalised() is normalised


def test_pixels_in_float64_are_rounded_once() -> None:
    points_px = np.random.default_rng(6).uniform(1, 480, (17, 3))
    expected = normalise_screen(points_px, width_px=640, height_px=480)
    np.testing.assert_array_equal(Keypoints(points_px, H36M17, SIZE).normalised(), expected)


def test_keypoints_that_do_not_fit_their_skeleton_are_refused() -> None:
    with pytest.raises(FrameError, match=r"shape \(16, 3\).*coco17"):
        Keypoints.from_coco(COCO_PX[:16], size=SIZE)
    with pytest.raises(FrameError, match="type int64"):
        Keypoints(np.zeros((17, 3), np.int64), H36M17, None)
    with pytest.raises(FrameError, match=r"shapes \(17, 2\) and \(16,\)"):
        Keypoints.from_arrays(COCO_PX[:, :2], COCO_PX[:16, 2], size=SIZE)
    with pytest.raises(FrameError, match="the skeleton 3dhp17"):
        Keypoints(COCO_PX, MPI3DHP17, SIZE).normalised()
    with pytest.raises(UsageError, match="no keypoint recipe 'coco_eye'; did you mean coco_eyes"):
        Keypoints.from_coco(COCO_PX, size=SIZE).normalised(recipe="coco_eye")
