"""A source's clock: a frame out of order is refused, a clock that began anew is followed."""

from __future__ import annotations

import math

import pytest
from posemoe_edge.runtime.source_clock import UNBELIEVABLE_S, ClockStep, SourceClock


def steps(*times_s: float) -> list[ClockStep]:
    clock = SourceClock(reset_after_s=2.0)
    return [clock.see(t_s) for t_s in times_s]


def test_later_times_go_forward_whatever_the_gap() -> None:
    assert steps(0.0, 0.04, 0.05, 30.0, 4000.0) == ["forward"] * 5


@pytest.mark.parametrize("t_s", [1.0, 0.99, math.nan, math.inf, -math.inf])
def test_one_wrong_time_costs_one_frame(t_s: float) -> None:
    assert steps(1.0, t_s, 1.04) == ["forward", "late", "forward"]


def test_frames_that_change_places_are_not_a_new_clock() -> None:
    assert steps(1.00, 1.08, 1.04, 1.06, 1.12) == ["forward", "forward", "late", "late", "forward"]


def test_a_large_jump_back_is_a_new_clock_said_once() -> None:
    assert steps(10.0, 3.0, 3.04, 3.08) == ["forward", "reset", "forward", "forward"]


def test_a_small_jump_back_is_a_new_clock_after_three_frames() -> None:
    assert steps(10.0, 9.0, 9.04, 9.08, 9.12) == ["forward", "late", "late", "reset", "forward"]


def test_a_picture_that_is_repeated_for_ever_is_no_new_clock() -> None:
    assert steps(1.0, *[1.0] * 10, 1.04) == ["forward", *["late"] * 10, "forward"]


def test_a_day_ahead_is_believed_the_second_time() -> None:
    ahead_s = 2 * UNBELIEVABLE_S
    assert steps(1.0, ahead_s, 1.04, ahead_s, 1.08) == ["forward", "late", "forward", "late", "forward"]
    assert steps(1.0, ahead_s, ahead_s + 0.04, ahead_s + 0.08) == ["forward", "late", "reset", "forward"]


def question(step_s: float, frames: int = 20) -> str | None:
    clock = SourceClock(reset_after_s=2.0)
    for i in range(frames):
        clock.see(1000.0 + i * step_s)
    return clock.question


@pytest.mark.parametrize(
    ("step_s", "asked"),
    [
        (20.0, "10 of 10 steps are 20 s long: are these milliseconds?"),
        (33_333.0, "are these microseconds?"),
        (2e7, "10 of 10 steps are 2e+07 s long: are these nanoseconds?"),
        (3e-5, "steps are 3e-05 s long: are these seconds?"),
    ],
)
def test_steps_that_no_camera_makes_are_asked_about(step_s: float, asked: str) -> None:
    text = question(step_s)
    assert text is not None and asked in text


@pytest.mark.parametrize("step_s", [0.001, 0.02, 1.0, 9.0])
def test_steps_of_cameras_are_not_asked_about(step_s: float) -> None:
    assert question(step_s) is None
    assert question(20.0, frames=10) is None  # nine steps are too few to ask


def test_times_of_which_every_step_is_a_day_are_not_refused_for_ever() -> None:
    assert steps(*[i * 2 * UNBELIEVABLE_S for i in range(5)]) == ["forward", "late", "reset", "late", "reset"]
