from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.edge.data.resample import resample
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.sources.walker import walk_world

PASS_ERROR = 2e-3  # relative error of frequencies that both rates can represent
STOP_ERROR = 5e-3  # remaining share of frequencies that the slower rate cannot represent
WALK_MM = 0.5
INSIDE = slice(40, -40)  # away from the ends, where the filter needs no extension

RATES = [(120.0, 50.0), (60.0, 50.0), (100.0, 50.0), (30.0, 50.0), (25.0, 50.0), (119.88, 50.0), (240.0, 50.0)]


@pytest.mark.parametrize(("fps", "to_fps"), RATES)
def test_slow_motion_is_kept_and_fast_motion_is_suppressed(fps: float, to_fps: float) -> None:
    slower = min(fps, to_fps)
    t, u = np.arange(int(10 * fps)) / fps, np.arange(int(10 * to_fps)) / to_fps
    slow = resample(np.sin(2 * np.pi * 0.3 * slower * t), fps=fps, to_fps=to_fps)
    np.testing.assert_allclose(slow[INSIDE], np.sin(2 * np.pi * 0.3 * slower * u[: len(slow)])[INSIDE], atol=PASS_ERROR)
    if fps >= 1.6 * to_fps:
        fast = resample(np.sin(2 * np.pi * 0.7 * to_fps * t), fps=fps, to_fps=to_fps)
        assert np.abs(fast[INSIDE]).max() < STOP_ERROR
        picked = np.sin(2 * np.pi * 0.7 * to_fps * t)[np.round(u * fps).astype(int) % len(t)]
        assert np.abs(picked[INSIDE]).max() > 0.5  # aliasing, if frames were only picked


@pytest.mark.parametrize(("fps", "to_fps"), RATES)
@pytest.mark.parametrize("frames", [2, 3, 7, 500])
def test_a_steady_motion_stays_steady_to_the_ends(fps: float, to_fps: float, frames: int) -> None:
    resampled = resample(3 + 2 * np.arange(frames) / fps, fps=fps, to_fps=to_fps)
    assert len(resampled) == int((frames - 1) / fps * to_fps + 1e-6) + 1
    np.testing.assert_allclose(resampled, 3 + 2 * np.arange(len(resampled)) / to_fps, atol=PASS_ERROR * frames / fps + 1e-4)


def test_a_walk_at_another_rate_is_the_same_walk() -> None:
    resampled = resample(walk_world(np.arange(1200) / 120), fps=120, to_fps=50)
    assert resampled.shape == (500, 17, 3)
    np.testing.assert_allclose(resampled[5:-5], walk_world(np.arange(500) / 50)[5:-5], atol=WALK_MM / 1000)


def test_the_same_rate_and_a_single_frame_are_left_alone() -> None:
    values = np.random.default_rng(0).normal(size=(9, 2))
    assert resample(values, fps=50, to_fps=50) is values
    assert resample(values[:1], fps=30, to_fps=50).shape == (1, 2)


@pytest.mark.parametrize(("frames", "fps"), [(0, 30.0), (9, 0.0), (9, float("inf")), (9, float("nan"))])
def test_invalid_rates_are_refused(frames: int, fps: float) -> None:
    with pytest.raises(UsageError, match="per second"):
        resample(np.zeros(frames), fps=fps, to_fps=50)
