"""Decoders: where the outputs of a network say that a joint is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posemoe_edge.runtime.detectors.decoders import decode_heatmaps, decode_keypoints, decode_simcc

WIDTH, HEIGHT = 24, 32


@given(st.integers(0, 2 * WIDTH - 1), st.integers(0, 2 * HEIGHT - 1), st.floats(0.1, 1), st.floats(0.1, 1))
def test_simcc_is_the_best_bin_and_the_lower_score(x_bin: int, y_bin: int, x_score: float, y_score: float) -> None:
    x, y = np.zeros((1, 2, 2 * WIDTH)), np.zeros((1, 2, 2 * HEIGHT))
    x[0, 1, x_bin], y[0, 1, y_bin] = x_score, y_score
    points = decode_simcc(x, y, width_px=WIDTH, height_px=HEIGHT)
    np.testing.assert_allclose(points[0, 1], (x_bin / 2 + 0.5, y_bin / 2 + 0.5, min(x_score, y_score)), rtol=1e-6)
    assert points[0, 0, 2] == 0  # no bin is better than another: not seen


def test_a_heatmap_points_into_its_best_cell_towards_the_better_neighbours() -> None:
    heatmaps = np.zeros((1, 3, HEIGHT // 4, WIDTH // 4))
    heatmaps[0, 0, 5, 2] = 0.7  # alone: the middle of the cell
    heatmaps[0, 1, 5, 2], heatmaps[0, 1, 5, 3], heatmaps[0, 1, 4, 2] = 0.9, 0.5, 0.2
    heatmaps[0, 2, 0, 0], heatmaps[0, 2, 7, 5] = 0.5, 0.6  # in a corner: no neighbour beyond the edge
    points = decode_heatmaps(heatmaps, width_px=WIDTH, height_px=HEIGHT)
    expected = [(10, 22, 0.7), (11, 21, 0.9), (22, 30, 0.6)]
    np.testing.assert_allclose(points[0], expected, rtol=1e-6)


@pytest.mark.parametrize(("normalised", "scale"), [(True, (WIDTH, HEIGHT)), (False, (1, 1))])
def test_keypoints_are_pixels_or_parts_of_the_crop(normalised: bool, scale: tuple[int, int]) -> None:
    raw = np.random.default_rng(0).uniform(0, 1, (2, 17, 3))
    points = decode_keypoints(raw, width_px=WIDTH, height_px=HEIGHT, normalised=normalised)
    np.testing.assert_allclose(points[..., :2], raw[..., :2] * scale, rtol=1e-6)
    np.testing.assert_allclose(points[..., 2], raw[..., 2], rtol=1e-6)
    without = decode_keypoints(raw[..., :2], width_px=WIDTH, height_px=HEIGHT, normalised=normalised)
    assert (without[..., 2] == 1).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("entry", [0, 2])
def test_what_is_not_finite_was_not_seen(bad: float, entry: int) -> None:
    raw = np.full((1, 17, 3), 0.5)
    raw[0, 4, entry] = bad
    points = decode_keypoints(raw, width_px=WIDTH, height_px=HEIGHT, normalised=False)
    assert np.isfinite(points).all() and np.count_nonzero(points[0, :, 2]) == 16


def test_scores_are_limited_to_one() -> None:
    assert decode_keypoints(np.full((1, 17, 3), 1.2), width_px=9, height_px=9, normalised=False)[..., 2].max() == 1
