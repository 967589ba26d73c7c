"""The timing of one call: when its frames were taken, and where the state is reset."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

MAX_ELAPSED_FRAMES = 10_000.0  # after so many frames the slowest decay leaves 2e-9 of a state


@dataclass(frozen=True, eq=False)
class Timing:
    """The times of a call's frames, as every mixer of the call reads them.

    Args:
        elapsed: (B or 1, T) time since the frame before, in nominal frames (dt x fps); the first is counted from the last
            frame of the carried state. ``from_seconds`` computes it from seconds.
        reset: (B or 1, T) true where the state is cleared before the frame; None for nowhere.
        chunk_size: T_s, NC-RetNet's staircase: a frame sees the past and the rest of its own chunk. 1 is causal.
        uniform: every ``elapsed`` is 1, known without reading the tensor (it allows the FFT path of dssm).
    """

    elapsed: Tensor
    reset: Tensor | None = None
    chunk_size: int = 1
    uniform: bool = False
    _cache: dict[object, object] = field(default_factory=dict)

    @classmethod
    def from_seconds(cls, dt: Tensor, reset: Tensor | None, *, fps: float, chunk_size: int = 1) -> Timing:
        """The timing of frames that lie ``dt`` seconds apart, (B, T).

        At a reset the time before the frame counts as one nominal frame. Times are cut at ``MAX_ELAPSED_FRAMES``, so that
        powers of them stay finite.
        """
        elapsed = (dt * fps).clamp(max=MAX_ELAPSED_FRAMES)
        return cls(elapsed if reset is None else torch.where(reset.bool(), 1.0, elapsed), reset, chunk_size)

    def cached(self, key: object, compute: Callable[[], T]) -> T:
        """``compute()``, called for the first mixer that needs it and shared with the other mixers of this call."""
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]  # type: ignore[return-value]

    def slice_frames(self, frames: slice) -> Timing:
        """The timing of some of the call's frames."""
        reset = None if self.reset is None else self.reset[:, frames]
        return Timing(self.elapsed[:, frames], reset, self.chunk_size, self.uniform)

    def split(self, size: int) -> list[tuple[slice, Timing]]:
        """Pieces of ``size`` frames (the last may be shorter), each with its timing.

        Where nothing tells the pieces of one length apart they share one timing, and what mixers have computed of it.
        """
        frames = self.elapsed.shape[-1]
        spans = [slice(start, min(start + size, frames)) for start in range(0, frames, size)]
        if not self.uniform or self.reset is not None:
            return [(span, self.slice_frames(span)) for span in spans]
        of_length = {span.stop - span.start: self.slice_frames(span) for span in spans}
        return [(span, of_length[span.stop - span.start]) for span in spans]

    def one_row(self) -> Timing:
        """This timing with one row for all, where the rows are alike and none is reset; else itself. It reads the values."""
        never_reset = self.reset is None or not bool(self.reset.any())
        if never_reset and bool((self.elapsed == self.elapsed[:1]).all()):
            return Timing(self.elapsed[:1], None, self.chunk_size, self.uniform)
        return self

    def longest(self, frames: int) -> float:
        """Nominal frames from the first to the last of any so many frames in a row. It reads the values."""
        apart = min(frames, self.elapsed.shape[-1]) - 1
        return float((self.time[:, apart:] - self.time[:, : self.time.shape[-1] - apart]).max())

    def time_reversed(self) -> Timing:
        """The timing of the same frames from the last to the first: each frame lasts until the one after it.

        The duration of the last frame is unknown, as is that of a frame before a reset: the time before it is taken instead.
        """
        until = torch.cat([self.elapsed[:, 1:], self.elapsed[:, -1:]], dim=1)
        if self.reset is None:
            return Timing(until.flip(1), None, self.chunk_size, self.uniform)
        reset = self.reset.bool()
        last = torch.cat([reset[:, 1:], torch.ones_like(reset[:, :1])], dim=1)
        reset = torch.cat([torch.zeros_like(reset[:, :1]), reset[:, 1:].flip(1)], dim=1)
        return Timing(torch.where(last, self.elapsed, until).flip(1), reset, self.chunk_size, self.uniform)

    @property
    def time(self) -> Tensor:
        """(B or 1, T) nominal frames since the call's first frame, in float64: the sum grows and is turned into angles.

        An exported graph has no float64, and no call long enough to need it.
        """
        dtype = torch.float32 if torch.compiler.is_exporting() else torch.float64
        return self.cached("time", lambda: self.elapsed.to(dtype).cumsum(-1) - self.elapsed[:, :1])

    @property
    def segment(self) -> Tensor:
        """(B or 1, T) number of resets between the call's first frame and each frame."""

        def compute() -> Tensor:
            resets = torch.zeros_like(self.elapsed) if self.reset is None else self.reset.to(self.elapsed)
            return resets.cumsum(-1) - resets[:, :1]

        return self.cached("segment", compute)

    @property
    def visible(self) -> Tensor:
        """(B or 1, T, T) true where frame n (rows) may see frame m (columns): same segment, m not after n's chunk."""

        def compute() -> Tensor:
            n = torch.arange(self.elapsed.shape[-1], device=self.elapsed.device)
            horizon = (n // self.chunk_size + 1) * self.chunk_size
            mask = (n[None, :] < horizon[:, None])[None]  # (1, T, T)
            if self.reset is None:
                return mask
            return mask & (self.segment[:, :, None] == self.segment[:, None, :])

        return self.cached("visible", compute)


def phase(time: Tensor, rate: Tensor) -> Tensor:
    """time * rate in radians, in the precision of ``rate``.

    A time that has added up over hundreds of frames comes in float64. In float32 its product with a rate keeps few digits
    after the point, so the product is taken modulo 2 pi first. The time of a single frame needs no such care, and brings no
    float64 into a graph.
    """
    if time.dtype == rate.dtype:
        return time * rate
    return torch.remainder(time.double() * rate.double(), 2 * math.pi).to(rate.dtype)
