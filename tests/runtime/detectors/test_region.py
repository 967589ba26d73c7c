"""Regions of a picture, and the crops that a network sees."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posemoe_edge.runtime import FrameError
from posemoe_edge.runtime.detectors import Box, Region
from posemoe_edge.runtime.detectors.region import crop

cv2 = pytest.importorskip("cv2")


@pytest.mark.parametrize("side", [40.0, 90.0, 400.0])  # enlarged, about as it is, reduced
@pytest.mark.parametrize("angle", [0.0, 0.5, -2.0, math.pi])
def test_what_a_crop_shows_lies_where_the_region_says(side: float, angle: float) -> None:
    picture = np.zeros((480, 640, 3), np.uint8)
    cv2.circle(picture, (300, 200), max(3, round(side / 20)), (255, 255, 255), -1)
    region = Region(305.0, 195.0, side, angle)
    shown = crop(picture, region, 128)[..., 0].astype(float)
    y, x = (np.indices(shown.shape) + 0.5) * shown / shown.sum()
    to_picture = region.to_picture(128)
    middle = to_picture[:, :2] @ (x.sum(), y.sum()) + to_picture[:, 2]
    np.testing.assert_allclose(middle, (300.5, 200.5), atol=side / 100)


@pytest.mark.parametrize(
    "region", [Region(150.0, 90.0, 300.0, 0.4), Region(30.0, 20.0, 350.0), Region(310.0, 220.0, 200.0, 3.0)]
)
def test_a_reduced_crop_is_the_mean_of_what_it_covers(region: Region) -> None:
    """Against an enlarged crop of single pixels, of which each 8 x 8 are averaged."""
    size, parts = 32, 8
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8), (0, 0), 6)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    picture[:20], picture[-20:], picture[:, :20], picture[:, -20:] = 0, 0, 0, 0  # nothing to lose at the edges
    picture = cv2.GaussianBlur(picture, (0, 0), 4)
    fine = crop(picture, region, size * parts).astype(float)  # 300 of the picture's pixels on 256
    mean = fine.reshape(size, parts, size, parts, 3).mean(axis=(1, 3))
    difference = np.abs(crop(picture, region, size) - mean)
    assert difference.mean() < 1.5 and difference.max() < 15, (difference.mean(), difference.max())
    assert mean.max() > 150


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(*[st.floats(-300, 300)] * 2, st.floats(0.01, 1e9), st.floats(-4, 4)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_region_of_any_picture_has_a_crop(
    shape: tuple[int, int], numbers: tuple[float, ...], size: tuple[int, int]
) -> None:
    picture = np.full((*shape, 3), 255, np.uint8)
    region = Region(*numbers)
    shown = crop(picture, region, *size)
    pixel_around = replace(region, side_px=region.side_px + 2)  # what is beside the edge may show some of it
    assert shown.shape == (size[1], size[0], 3) and (pixel_around.meets(picture) or not shown.any())


def test_a_region_outside_of_the_picture_is_black() -> None:
    picture = np.full((100, 200, 3), 255, np.uint8)
    for x, side in ((-900.0, 500.0), (900.0, 500.0), (-900.0, 50.0)):
        assert not crop(picture, Region(x, 50.0, side), 64).any()


def test_a_turned_region_shows_its_own_upward_direction_at_the_top() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[:, 60:] = 255  # white at the right
    turned = crop(picture, Region(50.0, 50.0, 60.0, math.pi / 2), 60)  # its up is the picture's right
    assert turned[:15].min() == 255 and turned[-15:].max() == 0


def test_beyond_the_edge_it_is_black_and_proportions_stay() -> None:
    shown = crop(np.full((100, 200, 3), 255, np.uint8), Region.whole(np.zeros((100, 200, 3), np.uint8)), 100)
    lit = np.flatnonzero(shown[:, 50, 0] > 127)
    assert (lit[0], lit[-1]) == (25, 74) and shown[50].min() == 255


@pytest.mark.parametrize(("width", "height"), [(48, 64), (64, 32)])
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_an_oblong_crop_is_the_middle_of_the_square(width: int, height: int, angle: float) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    region = Region(33.0, 21.0, 40.0, angle)
    square, oblong = crop(picture, region, 64), crop(picture, region, width, height)
    left, top = (64 - width) // 2, (64 - height) // 2
    np.testing.assert_allclose(oblong.astype(int), square[top : top + height, left : left + width], atol=1)
    corner = region.place(np.array([left, top]), 64)
    np.testing.assert_allclose(region.place(np.zeros(2), width, height), corner, atol=1e-9)


@pytest.mark.parametrize("aspect", [0.75, 1.0, 2.0])
@pytest.mark.parametrize("box", [(0.0, 0.0, 10.0, 80.0), (0.0, 0.0, 80.0, 10.0), (0.0, 0.0, 50.0, 60.0)])
def test_a_box_fits_into_the_oblong_middle_of_its_region(box: Box, aspect: float) -> None:
    region = Region.around(box, aspect=aspect)
    width, height = region.side_px * min(1.0, aspect), region.side_px / max(1.0, aspect)
    assert width >= box[2] and height >= box[3] and (width == pytest.approx(box[2]) or height == pytest.approx(box[3]))


def test_a_box_becomes_the_square_around_it() -> None:
    region = Region.around((10.0, 20.0, 30.0, 80.0), margin=1.5)
    assert (region.x_px, region.y_px, region.side_px) == (20, 50, 90)
    assert region.moved(5, -5).box == pytest.approx((-20.0, 0.0, 70.0, 90.0))
    assert region.is_near(region.moved(10, 0)) and not region.is_near(region.moved(15, 0))
    assert not region.is_near(Region(region.x_px, region.y_px, region.side_px, math.pi / 4))
    assert Region.around((5.0, 5.0, 5.0, 5.0)).side_px == 1


@pytest.mark.parametrize("numbers", [(0.0, 0.0, 0.0), (math.nan, 0.0, 1.0), (0.0, 0.0, math.inf), (0.0, 0.0, -3.0)])
def test_a_region_without_a_size_is_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(FrameError, match="a side above 0"):
        Region(*numbers)
