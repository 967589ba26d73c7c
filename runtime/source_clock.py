"""The clock of a source: whether the time of a frame goes on from the ones before."""

from __future__ import annotations

import math
from typing import Literal

ClockStep = Literal["forward", "late", "reset"]
"""A later time than before; a time that the clock has passed; the first time of a clock that began anew."""

LATE_FRAMES = 3
"""So many late frames in a row, in the order of their times, are a clock that went back; fewer are frames out of order."""

UNBELIEVABLE_S = 86_400.0
"""Nobody stops a camera for a day and goes on in the same run: one frame of such a time is wrong, two are a new clock."""


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

    def see(self, t_s: float) -> ClockStep:
        """What the time of the next frame says. A time that is not finite, or a duplicate, is late."""
        newest_s, ahead_s = self.newest_s, self._ahead_s
        if not math.isfinite(t_s):
            return "late"
        if newest_s is None:
            step: ClockStep = "forward"
        elif ahead_s is not None and 0 <= t_s - ahead_s < UNBELIEVABLE_S:
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
