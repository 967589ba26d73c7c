"""Drift and its budget."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posemoe_edge.calib.measure.budget import DEFAULT_BUDGET, drift_mm, smallest_budget, summarise_drift
from posemoe_edge.runtime.artefact.certificate import Accuracy, Budget, exceeded

FIELDS = tuple(Budget.model_fields)
NOTHING = Budget(mean_mm=0, p99_mm=0, max_mm=0, slope_mm_per_1000=0, mpjpe_loss_mm=0)


def measured(drift: np.ndarray) -> Budget:
    """One stream's (T, J) drift in the terms of a budget."""
    return summarise_drift(drift[None])[0]


def test_drift_is_the_distance_of_each_joint_in_millimetres() -> None:
    reference = np.random.default_rng(0).normal(size=(5, 17, 3)).astype(np.float32)
    poses = reference.copy()
    poses[2, 3] += np.array([0.003, 0.004, 0], np.float32)
    drift = drift_mm(poses, reference)
    assert drift.shape == (5, 17) and drift[2, 3] == pytest.approx(5, rel=1e-3)
    assert np.count_nonzero(drift) == 1


def test_the_drift_of_all_streams_counts_and_its_slope_is_that_of_their_mean() -> None:
    frames = np.arange(2000)
    rising = np.repeat((0.5 + 0.002 * frames)[:, None], 17, axis=1)
    still = np.full_like(rising, 0.25)
    budget, interval = summarise_drift(np.stack([rising, still]))
    assert budget.mean_mm == pytest.approx((0.5 + 0.002 * 999.5 + 0.25) / 2) and budget.max_mm == pytest.approx(
        0.5 + 0.002 * 1999
    )
    assert budget.slope_mm_per_1000 == pytest.approx(1.0)
    assert interval is not None and interval.low == pytest.approx(1.0) == interval.high and interval.distinct


def test_one_joint_is_averaged_into_the_slope() -> None:
    drift = np.zeros((100, 17))
    drift[:, 4] = np.arange(100)
    assert measured(drift).slope_mm_per_1000 == pytest.approx(1000 / 17)


def test_the_99th_percentile_is_over_frames_and_joints() -> None:
    drift = np.arange(1700, dtype=float).reshape(100, 17)
    assert measured(drift).p99_mm == pytest.approx(np.percentile(np.arange(1700), 99)) and measured(drift).max_mm == 1699
    drift[:] = 1
    drift[0, 0] = 1000  # one joint of one frame
    assert (measured(drift).p99_mm, measured(drift).max_mm) == (1, 1000)


def test_the_mpjpe_loss_is_the_increase_of_the_error() -> None:
    before, after = (Accuracy(mpjpe_mm=mm, mpjve_mm=9, bone_jitter_mm=3) for mm in (45.0, 45.75))
    drift = np.ones((1, 50, 17))
    assert summarise_drift(drift, before=before, after=after)[0].mpjpe_loss_mm == 0.75
    assert summarise_drift(drift, before=after, after=before)[0].mpjpe_loss_mm == -0.75
    assert summarise_drift(drift, before=before)[0].mpjpe_loss_mm is None


def test_an_unknown_figure_and_a_missing_limit_are_not_judged() -> None:
    unknown = NOTHING.model_copy(update={"mpjpe_loss_mm": None})
    assert exceeded(unknown, NOTHING) == () and smallest_budget(unknown).mpjpe_loss_mm is None
    assert exceeded(NOTHING.model_copy(update={"mpjpe_loss_mm": 1e9}), unknown) == ()


@pytest.mark.parametrize("field", FIELDS)
def test_an_exceeded_limit_is_named_with_both_numbers(field: str) -> None:
    budget = Budget(mean_mm=1, p99_mm=2, max_mm=3, slope_mm_per_1000=4, mpjpe_loss_mm=5)
    assert exceeded(budget, budget) == ()  # the limit itself is allowed
    over = budget.model_copy(update={field: 7.125})
    assert exceeded(over, budget) == (f"{field} 7.125 > {getattr(budget, field):.4g}",)


def test_all_exceeded_limits_are_named_in_order() -> None:
    much = Budget(mean_mm=9, p99_mm=99, max_mm=999, slope_mm_per_1000=9, mpjpe_loss_mm=9)
    assert [reason.split()[0] for reason in exceeded(much, DEFAULT_BUDGET)] == list(FIELDS)


def test_a_negative_slope_exceeds_nothing() -> None:
    assert exceeded(NOTHING.model_copy(update={"slope_mm_per_1000": -50.0}), NOTHING) == ()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("field", FIELDS)
def test_a_drift_that_is_not_finite_passes_nothing(field: str, bad: float) -> None:
    most = Budget(mean_mm=1e300, p99_mm=1e300, max_mm=1e300, slope_mm_per_1000=1e300, mpjpe_loss_mm=1e300)
    broken = NOTHING.model_copy(update={field: bad})
    assert exceeded(broken, most) and exceeded(broken, NOTHING)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_single_nan_pose_fails_the_whole_recording() -> None:
    drift = np.zeros((100, 17))
    drift[50, 3] = np.nan
    reasons = exceeded(measured(drift), DEFAULT_BUDGET)
    assert [reason.split()[0] for reason in reasons][:3] == ["mean_mm", "p99_mm", "max_mm"]


# Nobody measures below a picometre, and 10**-308 has no two digits.
numbers = st.floats(min_value=1e-9, max_value=1e9)


@given(mean=numbers, p99=numbers, most=numbers, slope=st.one_of(numbers, numbers.map(lambda x: -x), st.just(0.0)))
def test_the_smallest_budget_is_passed_by_what_it_was_made_of(mean: float, p99: float, most: float, slope: float) -> None:
    figures = Budget(mean_mm=mean, p99_mm=p99, max_mm=most, slope_mm_per_1000=slope, mpjpe_loss_mm=-slope)
    budget = smallest_budget(figures)
    assert exceeded(figures, budget) == ()
    again = Budget(**{field: float(f"{getattr(budget, field):g}") for field in FIELDS})  # as the command line prints it
    assert exceeded(figures, again) == ()
    for field in FIELDS:
        value, allowed = getattr(figures, field), getattr(budget, field)
        assert float(f"{allowed:.1e}") == allowed, "two digits"
        assert allowed == 0 if value <= 0 else allowed <= value * 1.1 * (1 + 1e-9), "no more than a tenth above"


@pytest.mark.parametrize(
    ("value", "up"),
    [(0.0, 0.0), (-3.0, 0.0), (1.0, 1.0), (1.01, 1.1), (0.0123, 0.013), (9.91, 10.0), (99.01, 100.0), (0.1, 0.1)],
)
def test_a_budget_is_rounded_up_to_two_digits(value: float, up: float) -> None:
    assert smallest_budget(NOTHING.model_copy(update={"max_mm": value})).max_mm == up


def test_some_of_the_terms_are_judged_by_a_multiple_of_the_budget() -> None:
    limits = Budget(mean_mm=1, p99_mm=2, max_mm=3, slope_mm_per_1000=0)
    assert exceeded({"mean_mm": 2.0, "p99_mm": None, "max_mm": 6.5}, limits, times=2) == ("max_mm 6.5 > 6",)
    assert exceeded({"mean_mm": float("nan")}, limits, times=2) == ("mean_mm nan > 2",)
