"""Lens distortion is that of OpenCV, and is undone where it can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.pose.distortion import Distortion

LENSES = {
    "webcam": Distortion("plumb_bob", (-0.28, 0.09, 0.0012, -0.0007, -0.01)),
    "barrel": Distortion("plumb_bob", (-0.39, 0.17, 0.001, 0.002)),
    "pincushion": Distortion("plumb_bob", (0.12, 0.03)),
    "rational": Distortion("rational", (0.42, -0.18, 0.0005, -0.0003, -0.009, 0.75, -0.1, -0.03)),
    "fisheye": Distortion("equidistant", (-0.017, 0.004, -0.002, 0.0003)),
}
HALF_A_MICRON = 5e-7  # on the picture plane at 1 m; OpenCV itself iterates to about as much
each_lens = pytest.mark.parametrize("lens", LENSES.values(), ids=list(LENSES))


def plane(widest: float, count: int = 200) -> np.ndarray:
    """Points at most so far from the axis."""
    rng = np.random.default_rng(4)
    angle, radius = rng.uniform(0, 2 * np.pi, count), widest * np.sqrt(rng.uniform(0, 1, count))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


@each_lens
def test_points_are_distorted_as_opencv_does(lens: Distortion) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    points = plane(min(lens.widest, 1.2))
    coefficients, unit, zero = np.array(lens.coefficients), np.eye(3), np.zeros(3)
    if lens.model == "equidistant":
        expected = cv2.fisheye.distortPoints(points[:, None], unit, coefficients)
    else:
        expected, _ = cv2.projectPoints(np.concatenate([points, np.ones((len(points), 1))], 1), zero, zero, unit, coefficients)
    np.testing.assert_allclose(lens.distort(points), expected[:, 0], atol=1e-9)


@each_lens
def test_points_are_undistorted_as_opencv_does(lens: Distortion) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    bent, coefficients, unit = lens.distort(plane(min(0.6 * lens.widest, 0.8))), np.array(lens.coefficients), np.eye(3)
    if lens.model == "equidistant":
        expected = cv2.fisheye.undistortPoints(bent[:, None], unit, coefficients)
    else:
        stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-12)
        if hasattr(cv2, "undistortPointsIter"):  # OpenCV 4
            expected = cv2.undistortPointsIter(bent[:, None], unit, coefficients, None, None, stop)
        else:
            expected = cv2.undistortPoints(bent[:, None], unit, coefficients, criteria=stop)
    found, valid = lens.undistort(bent)
    assert valid.all()
    np.testing.assert_allclose(found, expected[:, 0], atol=HALF_A_MICRON)


@each_lens
def test_undoing_it_gives_the_points_back_up_to_the_widest(lens: Distortion) -> None:
    points = plane(0.97 * min(lens.widest, 3.0))
    found, valid = lens.undistort(lens.distort(points))
    assert valid.all()
    np.testing.assert_allclose(found, points, atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(
    k=st.lists(st.floats(-0.4, 0.4), min_size=3, max_size=3),
    p=st.lists(st.floats(-0.002, 0.002), min_size=2, max_size=2),
    x=st.floats(-1.5, 1.5),
    y=st.floats(-1.5, 1.5),
)
def test_a_point_that_is_undone_is_bent_to_where_it_was_seen(k: list[float], p: list[float], x: float, y: float) -> None:
    lens = Distortion("plumb_bob", (k[0], k[1], p[0], p[1], k[2]))
    found, valid = lens.undistort(np.array([x, y]))
    if valid:
        np.testing.assert_allclose(lens.distort(found), [x, y], atol=1e-8)
        assert np.linalg.norm(found) <= lens.widest


def test_no_point_is_found_where_the_lens_puts_none() -> None:
    """r (1 - r^2 / 3) has its greatest value, 2 / 3, at r = 1: the picture folds back there."""
    lens = Distortion("plumb_bob", (-1 / 3,))
    assert lens.widest == pytest.approx(1.0, rel=2e-3)
    _, valid = lens.undistort(np.array([[0.6, 0.0], [0.0, -0.66], [0.67, 0.0], [2.0, 2.0], [np.nan, 0.0]]))
    assert valid.tolist() == [True, True, False, False, False]


def test_a_fisheye_sees_no_rays_beside_the_camera() -> None:
    lens = Distortion("equidistant", ())
    _, valid = lens.undistort(np.array([[np.radians(80), 0.0], [np.radians(89), 0.0], [np.radians(100), 0.0]]))
    assert valid.tolist() == [True, False, False]


@each_lens
def test_it_turns_with_the_picture(lens: Distortion) -> None:
    points = plane(min(lens.widest, 1.0))
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])  # clockwise, since y is down
    np.testing.assert_allclose(lens.turned().distort(points @ turn.T), lens.distort(points) @ turn.T, atol=1e-12)


@pytest.mark.parametrize("coefficients", [(0.1,) * 6, (float("nan"),), (float("inf"), 0.0)])
def test_numbers_that_are_no_distortion_are_refused(coefficients: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="distortion plumb_bob"):
        Distortion("plumb_bob", coefficients)
    with pytest.raises(UsageError, match="no distortion model 'fov'"):
        Distortion("fov", (1.0,))  # type: ignore[arg-type]
