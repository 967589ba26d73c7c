"""One-Euro filters: by elapsed time, isotropic, with joints that come and go."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.pose.smoothing import SMOOTHING, Cutoff, OneEuro, Smooth, Smoother

RESET_S = 2.0


def run(values: F64, t_s: F64, cutoff: Cutoff) -> F64:
    one_euro = OneEuro(cutoff, reset_after_s=RESET_S)
    return np.stack([one_euro.step(x, t_s=float(t)) for x, t in zip(values, t_s, strict=True)])


def test_a_joint_at_rest_follows_the_formula() -> None:
    """Without speed in the cutoff it is an exponential filter: 1 - exp(-2 pi f t) of a step after t seconds."""
    values = np.zeros((6, 1, 3))
    values[1:] = 1.0
    t_s = np.arange(6, dtype=np.float64) * 0.02
    smoothed = run(values, t_s, Cutoff(1.5, 0.0))
    np.testing.assert_allclose(smoothed[:, 0, 0], 1 - np.exp(-2 * math.pi * 1.5 * t_s), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 2 * math.pi), st.integers(0, 1000))
def test_it_turns_with_the_axes(angle: float, seed: int) -> None:
    """The speed is that of the joint, not of each axis, so a turned camera gives the turned result."""
    values = np.random.default_rng(seed).normal(size=(8, 4, 2)).cumsum(axis=0)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    t_s, cutoff = np.arange(8, dtype=np.float64) * 0.03, Cutoff(1.0, 2.0)
    np.testing.assert_allclose(run(values @ turn.T, t_s, cutoff), run(values, t_s, cutoff) @ turn.T, atol=1e-9)


def test_trembling_goes_and_movement_stays() -> None:
    rng, t_s = np.random.default_rng(0), np.arange(200, dtype=np.float64) / 50
    truth = 0.2 * np.stack([np.sin(t_s), np.cos(t_s), t_s], axis=-1)[:, None]
    noisy = truth + 0.015 * rng.normal(size=truth.shape)
    smoothed = run(noisy, t_s, Cutoff(1.5, 4.0))
    assert np.abs(smoothed - truth)[50:].mean() < 0.8 * np.abs(noisy - truth)[50:].mean()
    assert np.abs(np.diff(smoothed, 2, axis=0))[50:].mean() < 0.5 * np.abs(np.diff(noisy, 2, axis=0))[50:].mean()


def test_a_joint_that_was_not_seen_starts_anew() -> None:
    smoother = Smoother(SMOOTHING["strong"] or pytest.fail(), reset_after_s=RESET_S)
    points = np.ones((17, 3)) * [100, 200, 1]
    points[1:4, 0] += 50
    smoother.keypoints(points, t_s=0.0)
    missing = points.copy()
    missing[3] = 0
    np.testing.assert_array_equal(smoother.keypoints(missing, t_s=0.1)[3], 0)
    back = points.copy()
    back[3, :2] = 900
    smoothed = smoother.keypoints(back, t_s=0.2)
    np.testing.assert_array_equal(smoothed[3], [900, 900, 1])  # nothing is held from before
    np.testing.assert_array_equal(smoothed[:, 2], 1)


@pytest.mark.parametrize("t_s", [0.5, 0.4, math.nan, math.inf])
def test_a_time_that_does_not_go_on_changes_nothing(t_s: float) -> None:
    one_euro = OneEuro(Cutoff(1.0, 0.0), reset_after_s=RESET_S)
    one_euro.step(np.zeros((1, 3)), t_s=0.5)
    np.testing.assert_array_equal(one_euro.step(np.full((1, 3), 9.0), t_s=t_s), 9.0)
    assert one_euro.step(np.full((1, 3), 1.0), t_s=0.6)[0, 0] == pytest.approx(1 - math.exp(-0.2 * math.pi))


@pytest.mark.parametrize("t_s", [2.5, 1e9, -5.0])
def test_after_a_gap_or_a_jump_back_everything_starts_anew(t_s: float) -> None:
    one_euro = OneEuro(Cutoff(1.0, 0.0), reset_after_s=RESET_S)
    one_euro.step(np.zeros((1, 3)), t_s=0.5)
    np.testing.assert_array_equal(one_euro.step(np.full((1, 3), 9.0), t_s=t_s), 9.0)


def test_a_frame_that_is_not_finite_is_forgotten() -> None:
    one_euro = OneEuro(Cutoff(1.0, 1.0), reset_after_s=RESET_S)
    one_euro.step(np.zeros((2, 2)), t_s=0.0)
    assert np.isnan(one_euro.step(np.array([[np.nan, 0.0], [1.0, 1.0]]), t_s=0.1)[0, 0])
    np.testing.assert_array_equal(one_euro.step(np.ones((2, 2)), t_s=0.2)[0], 1)


@pytest.mark.parametrize("level", ["light", "strong"])
def test_keypoints_are_smoothed_alike_in_any_unit(level: Smooth) -> None:
    values = np.random.default_rng(1).normal(size=(20, 17, 2)).cumsum(axis=0) * 3 + np.arange(17)[:, None] * 10
    chosen = SMOOTHING[level]
    assert chosen is not None
    small, large = (Smoother(chosen, reset_after_s=RESET_S) for _ in range(2))
    for i, xy in enumerate(values):
        points = np.concatenate([xy, np.ones((17, 1))], axis=1)
        a = small.keypoints(points, t_s=i / 30)
        b = large.keypoints(points * [4, 4, 1], t_s=i / 30)
        np.testing.assert_allclose(b[:, :2], 4 * a[:, :2], rtol=1e-9)
