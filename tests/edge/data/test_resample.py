from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.edge.data.resample import resample
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.sources.walker import walk_world

KEPT = 2e-3  # relative error of what both rates can hold
STOPPED = 5e-3  # what is left of what the slower rate cannot hold
WALK_MM = 0.5
INSIDE = slice(40, -40)  # away from the ends, where nothing has to be made up

RATES = [(120.0, 50.0), (60.0, 50.0), (100.0, 50.0), (30.0, 50.0), (25.0, 50.0), (119.88, 50.0), (240.0, 50.0)]


@pytest.mark.parametrize(("fps", "to_fps"), RATES)
def test_slow_motion_is_kept_and_fast_motion_does_not_fold_back(fps: float, to_fps: float) -> None:
    slower = min(fps, to_fps)
    t, u = np.arange(int(10 * fps)) / fps, np.arange(int(10 * to_fps)) / to_fps
    slow = resample(np.sin(2 * np.pi * 0.3 * slower * t), fps=fps, to_fps=to_fps)
    np.testing.assert_allclose(slow[INSIDE], np.sin(2 * np.pi * 0.3 * slower * u[: len(slow)])[INSIDE], atol=KEPT)
    if fps >= 1.6 * to_fps:
        fast = resample(np.sin(2 * np.pi * 0.7 * to_fps * t), fps=fps, to_fps=to_fps)
        assert np.abs(fast[INSIDE]).max() < STOPPED
        picked = np.sin(2 * np.pi * 0.7 * to_fps * t)[np.round(u * fps).astype(int) % len(t)]
        assert np.abs(picked[INSIDE]).max() > 0.5  # what mere picking would have made of it


@pytest.mark.parametrize(("fps", "to_fps"), RATES)
@pytest.mark.parametrize("frames", [2, 3, 7, 500])
def test_a_steady_motion_stays_steady_to_the_ends(fps: float, to_fps: float, frames: int) -> None:
    made = resample(3 + 2 * np.arange(frames) / fps, fps=fps, to_fps=to_fps)
    assert len(made) == int((frames - 1) / fps * to_fps + 1e-6) + 1
    np.testing.assert_allclose(made, 3 + 2 * np.arange(len(made)) / to_fps, atol=KEPT * frames / fps + 1e-4)


def test_a_walk_at_another_rate_is_the_same_walk() -> None:
    made = resample(walk_world(np.arange(1200) / 120), fps=120, to_fps=50)
    assert made.shape == (500, 17, 3)
    np.testing.assert_allclose(made[5:-5], walk_world(np.arange(500) / 50)[5:-5], atol=WALK_MM / 1000)


def test_the_same_rate_and_a_single_frame_are_left_alone() -> None:
    values = np.random.default_rng(0).normal(size=(9, 2))
    assert resample(values, fps=50, to_fps=50) is values
    assert resample(values[:1], fps=30, to_fps=50).shape == (1, 2)


@pytest.mark.parametrize(("frames", "fps"), [(0, 30.0), (9, 0.0), (9, float("inf")), (9, float("nan"))])
def test_odd_rates_are_refused(frames: int, fps: float) -> None:
    with pytest.raises(UsageError, match="per second"):
        resample(np.zeros(frames), fps=fps, to_fps=50)
