"""The clock of a source: whether the time of a frame goes on from the ones before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ClockStep = Literal["forward", "late", "reset"]
"""A later time than before; a time that the clock has passed; the first time of a clock that began anew."""

LATE_FRAMES = 3
"""So many late frames in a row, in the order of their times, are a clock that went back; fewer are frames out of order."""

UNBELIEVABLE_S = 86_400.0
"""Nobody stops a camera for a day and goes on in the same run: one frame of such a time is wrong, two are a new clock."""


LONG_STEP_S, SHORT_STEP_S = 10.0, 1e-4
"""No camera has longer steps between frames than the first, or shorter ones than the second."""

_ASK_AFTER = 10  # steps
_UNITS = {"milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
_CAMERA_STEP_S = (1 / 500, 1.0)


class SourceClock:
    """Tells a frame that is out of order, which is refused, from a clock that began anew, as at the loop of a recording.

    Args:
        reset_after_s: a jump back by as much is a new clock at once.
    """

    def __init__(self, *, reset_after_s: float) -> None:
        self._reset_after_s = reset_after_s
        self.newest_s: float | None = None
        self._late_s: float | None = None  # the newest time of the late frames in a row
        self._late_frames = 0
        self._ahead_s: float | None = None  # an unbelievable time, if the last frame had one
        self._seen_s: float | None = None  # the last finite time
        self._first_steps_s: list[float] = []
        self._question: str | None = None

    def see(self, t_s: float) -> ClockStep:
        """What the time of the next frame says. A time that is not finite, or a duplicate, is late."""
        newest_s, ahead_s = self.newest_s, self._ahead_s
        if not math.isfinite(t_s):
            return "late"
        self._note_step(t_s)
        if newest_s is None:
            step: ClockStep = "forward"
        elif ahead_s is not None and t_s > ahead_s:
            step = "reset"
        elif t_s - newest_s >= UNBELIEVABLE_S:
            self._ahead_s = t_s
            return "late"
        elif t_s > newest_s:
            step = "forward"
        elif newest_s - t_s >= self._reset_after_s:
            step = "reset"
        else:
            return self._late(t_s)
        self.newest_s, self._late_s, self._late_frames, self._ahead_s = t_s, None, 0, None
        return step

    @property
    def question(self) -> str | None:
        """What to ask about the first ten steps, if nine of them are too long or too short for seconds; None before them."""
        return self._question

    def _note_step(self, t_s: float) -> None:
        if self._seen_s is not None and len(self._first_steps_s) < _ASK_AFTER:
            self._first_steps_s.append(t_s - self._seen_s)
            if len(self._first_steps_s) == _ASK_AFTER:
                odd = odd_steps(self._first_steps_s)
                self._question = None if odd is None else odd.question
        self._seen_s = t_s

    def _late(self, t_s: float) -> ClockStep:
        self._ahead_s = None
        if self._late_s is None or t_s > self._late_s:
            self._late_frames += 1
        else:
            self._late_frames = 1
        self._late_s = t_s
        if self._late_frames < LATE_FRAMES or t_s == self.newest_s:
            return "late"
        self.newest_s, self._late_s, self._late_frames = t_s, None, 0
        return "reset"


@dataclass(frozen=True)
class OddSteps:
    """Steps of which nine in ten are too long or too short for seconds.

    Args:
        question: what to ask the user about them.
        unit: in which they would be steps of a camera; None if in none.
    """

    question: str
    unit: str | None


def odd_steps(steps_s: Sequence[float]) -> OddSteps | None:
    """What is odd about the steps between frames; None if they may be seconds."""
    odd_s = sorted(step_s for step_s in steps_s if step_s > LONG_STEP_S or 0 < step_s < SHORT_STEP_S)
    if not odd_s or len(odd_s) < (_ASK_AFTER - 1) / _ASK_AFTER * len(steps_s):
        return None
    step_s = odd_s[len(odd_s) // 2]
    least_s, most_s = _CAMERA_STEP_S
    unit = next((unit for unit, seconds in _UNITS.items() if least_s <= step_s * seconds <= most_s), None)
    return OddSteps(f"{len(odd_s)} of {len(steps_s)} steps are {step_s:g} s long: are these {unit or 'seconds'}?", unit)
