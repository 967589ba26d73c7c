"""GapPolicy: what a stream does about the time between two frames."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UsageError
from .pose.types import GapAction


@dataclass(frozen=True)
class GapPolicy:
    """Decides by the elapsed time and by whether anybody is seen. Every pose carries the decision as ``Pose.gap``.

    - ``none``: the frame is on time.
    - ``decay``: the frame is late; the model is fed the elapsed time, by which its state decays.
    - ``reset``: the frame is so late that the frames before it no longer help; the state is cleared. After half a second
      a reset is better (retention) or as good (dssm), see docs/concepts/time.md.
    - ``hold``: nobody is seen (every score is 0); nothing is fed, and the last pose is repeated with score 0.

    Args:
        decay_after_s: the shortest gap that is called ``decay``.
        reset_after_s: the shortest gap that clears the state.
        lost_after_s: how long a pipeline remembers a person who is not seen. A clock that jumps back by as much began anew.
    """

    decay_after_s: float = 0.2
    reset_after_s: float = 0.5
    lost_after_s: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.decay_after_s <= self.reset_after_s:
            raise UsageError(f"invalid gap policy {self}", expected="0 < decay_after_s <= reset_after_s")
        if not self.lost_after_s > 0:
            raise UsageError(f"invalid gap policy {self}", expected="lost_after_s > 0")

    def decide(self, dt_s: float, *, seen: bool) -> GapAction:
        """The action for a frame that comes ``dt_s`` after the last frame that was fed."""
        if not seen:
            return "hold"
        if dt_s >= self.reset_after_s:
            return "reset"
        return "decay" if dt_s >= self.decay_after_s else "none"
