"""What a stream does about time that went by without a frame."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UsageError
from .pose.types import GapAction


@dataclass(frozen=True)
class GapPolicy:
    """Decides from elapsed time and from what was seen; every pose says what was decided.

    - ``none``: the frame came in time.
    - ``decay``: it came late; the elapsed time goes into the model, whose memory fades by just that much.
    - ``reset``: it came so late that what was before says nothing any more; the memory is cleared.
    - ``hold``: nobody was seen (every score is 0); nothing is fed, and the last pose is repeated with score 0.

    Args:
        decay_after_s: from this on a gap is called one.
        reset_after_s: from this on the memory is cleared.
    """

    decay_after_s: float = 0.2
    reset_after_s: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.decay_after_s <= self.reset_after_s:
            raise UsageError(f"a gap policy of {self}", expected="0 < decay_after_s <= reset_after_s")

    def decide(self, dt_s: float, *, seen: bool) -> GapAction:
        """The action for a frame ``dt_s`` after the last one that was fed."""
        if not seen:
            return "hold"
        if dt_s >= self.reset_after_s:
            return "reset"
        return "decay" if dt_s >= self.decay_after_s else "none"
