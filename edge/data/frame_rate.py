"""The rate that the frame time of a file means: it was rounded to the digits written, or is in milliseconds."""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

NTSC = (23.976, 29.97, 47.952, 59.94, 119.88, 239.76)
USUAL = (*NTSC, 24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 72.0, 90.0, 100.0, 120.0, 125.0, 144.0, 150.0, 200.0, 240.0, 250.0, 300.0)
LONGEST_S = 2.0  # motion is not recorded with a longer frame time: it is in another unit
_WHOLE = 2e-3  # a whole rate is considered if it is this close; the NTSC rates are half of that away from one
_EXACT = Decimal(1) / 10**6  # whatever digits say so
_MS = 5e-3  # a frame time in milliseconds is this close to that of a usual rate


def frame_rate(frame_time: str) -> float:
    """Frames per second of a frame time as it is written.

    A whole rate or an NTSC rate is taken where its frame time, rounded or cut off, gives the digits that are written: 0.0083333
    is 120 Hz, and 0.0333667 is 29.97 Hz, not 30.

    Raises:
        ValueError: it is not a positive number, or a time in an unknown unit.

    >>> frame_rate("0.0333667"), frame_rate("0.0333333"), frame_rate("33.33")
    (29.97, 30.0, 30.0)
    """
    step_s = float(frame_time)
    if not 0 < step_s < math.inf:
        raise ValueError(f"a frame time of {frame_time}, which is not positive and finite")
    if step_s >= LONGEST_S:
        usual = min(USUAL, key=lambda rate: abs(1000 / step_s - rate))
        if abs(1000 / step_s - usual) > _MS * usual:
            raise ValueError(f"a frame time of {frame_time} s, and of no usual rate in milliseconds")
        return frame_rate(str(Decimal(frame_time).scaleb(-3)))
    rate, written = 1 / step_s, Decimal(frame_time)
    for candidate in (float(round(rate)), *NTSC):
        if abs(rate - candidate) < _WHOLE * rate and _is_written(candidate, written):
            return candidate
    return rate


def _is_written(rate: float, written: Decimal) -> bool:
    """Whether the frame time of a rate has these digits."""
    exact = 1 / (Decimal(round(rate / 0.999) * 1000) / 1001 if rate in NTSC else Decimal(rate))
    if abs(exact - written) <= _EXACT * exact:
        return True
    return any(exact.quantize(written, rounding=rounding) == written for rounding in (ROUND_HALF_UP, ROUND_DOWN))
