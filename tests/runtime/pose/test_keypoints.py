"""Keypoints are normalised per frame, and refused with a reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posemoe_edge.runtime.errors import FrameError
from posemoe_edge.runtime.pose.keypoints import check_keypoints, normalise_screen, to_pixels


def points(x: float, y: float, score: float = 1.0) -> np.ndarray:
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
    made = normalise_screen(points(*pixel), width_px=640, height_px=480)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[0], (*expected, 1), atol=1e-7)


def test_a_missing_joint_becomes_exactly_zero_even_if_its_place_is_not_a_number() -> None:
    given_px = points(100, 100)
    given_px[3] = (np.nan, 7, 0)
    assert normalise_screen(given_px, width_px=640, height_px=480)[3].tolist() == [0, 0, 0]


@given(
    width=st.integers(16, 8000), height=st.integers(16, 8000), x=st.floats(0, 1), y=st.floats(0, 1), score=st.floats(0.01, 1)
)
def test_pixels_come_back(width: int, height: int, x: float, y: float, score: float) -> None:
    there = normalise_screen(points(x * width, y * height, score), width_px=width, height_px=height)
    back = to_pixels(there, width_px=width, height_px=height)
    np.testing.assert_allclose(back, points(x * width, y * height, score), atol=1e-3 * max(width, height) / 1000, rtol=1e-5)


def test_any_number_of_axes_may_stand_before_the_joints() -> None:
    batch = np.random.default_rng(0).uniform(0, 100, (2, 5, 17, 3))
    made = normalise_screen(batch, width_px=100, height_px=50)
    np.testing.assert_array_equal(made[1, 4], normalise_screen(batch[1, 4], width_px=100, height_px=50))


def test_an_image_without_size_is_refused() -> None:
    with pytest.raises(FrameError, match="image size is 0 x 480"):
        normalise_screen(points(0, 0), width_px=0, height_px=480)


def test_keypoints_without_scores_are_believed() -> None:
    made = check_keypoints(np.zeros((17, 2)))
    assert made.shape == (17, 3) and made.dtype == np.float32 and (made[:, 2] == 1).all()


def test_checked_keypoints_are_a_copy() -> None:
    mine = points(0, 0)
    made = check_keypoints(mine)
    mine[:] = 9
    assert made.max() == 1


def spoilt(joint: int, column: int, value: float) -> np.ndarray:
    made = points(0.1, 0.2)
    made[joint, column] = value
    return made


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((16, 3)), r"shape \(16, 3\).*expected \(17, 3\)"),
        (np.zeros((1, 17, 3)), r"shape \(1, 17, 3\)"),
        (np.zeros((17, 4)), r"shape \(17, 4\)"),
        (np.zeros(0), r"shape \(0,\)"),
        ("left knee", "not an array of numbers"),
        ([[1, 2], [3]], "not an array of numbers"),
        (spoilt(5, 0, np.nan), "joint 5 .* not finite"),
        (spoilt(16, 1, np.inf), "joint 16 .* not finite"),
        (spoilt(2, 2, np.nan), "joint 2 .* not finite"),
        (spoilt(4, 2, 1.5), "joint 4 .* score 1.5"),
        (spoilt(0, 2, -0.1), "joint 0 .* score -0.1"),
    ],
)
def test_what_is_no_person_is_refused_by_name(bad: object, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        check_keypoints(bad)  # type: ignore[arg-type]
