"""The timing of one call: when its frames happened, and where memory is forgotten."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

LONGEST = 10_000.0  # frames: the slowest memory keeps 2e-9 of itself over them


@dataclass(frozen=True, eq=False)
class Timing:
    """Time as every mixer of one call sees it.

    Args:
        elapsed: (B or 1, T) time since the frame before, in nominal frames (dt x fps); the first is counted from the last
            frame of the carried state. ``since`` makes it of seconds.
        reset: (B or 1, T) true where all memory is forgotten before the frame; None for nowhere.
        chunk_size: T_s, NC-RetNet's staircase: a frame sees the past and the rest of its own chunk. 1 is causal.
        uniform: every ``elapsed`` is 1, known without looking (it opens the FFT path of dssm).
    """

    elapsed: Tensor
    reset: Tensor | None = None
    chunk_size: int = 1
    uniform: bool = False
    _shared: dict[object, object] = field(default_factory=dict)

    @classmethod
    def from_seconds(cls, dt: Tensor, reset: Tensor | None, *, fps: float, chunk_size: int = 1) -> Timing:
        """The timing of frames ``dt`` seconds apart, (B, T).

        A reset forgets the time before it too. Times beyond all memory are cut, so that their powers stay finite.
        """
        elapsed = (dt * fps).clamp(max=LONGEST)
        return cls(elapsed if reset is None else torch.where(reset.bool(), 1.0, elapsed), reset, chunk_size)

    def cached(self, key: object, make: Callable[[], T]) -> T:
        """``make()``, computed by the first mixer that asks and shared with the others of this call."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]  # type: ignore[return-value]

    def slice_frames(self, span: slice) -> Timing:
        """The timing of some of the call's frames."""
        return Timing(self.elapsed[:, span], None if self.reset is None else self.reset[:, span], self.chunk_size, self.uniform)

    def time_reversed(self) -> Timing:
        """The timing of the same frames from the last to the first: each stands for the time until the one after it.

        How long the last one lasts is not told, nor is it before a reset: as long as the time before it.
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
        """(B or 1, T) nominal frames since the call's first frame, in float64: they add up, and are turned into angles.

        A graph has no float64, and no call so long that it would need it.
        """
        wide = torch.float32 if torch.compiler.is_exporting() else torch.float64
        return self.cached("time", lambda: self.elapsed.to(wide).cumsum(-1) - self.elapsed[:, :1])

    @property
    def segment(self) -> Tensor:
        """(B or 1, T) how many resets lie between the call's first frame and the frame."""

        def make() -> Tensor:
            resets = torch.zeros_like(self.elapsed) if self.reset is None else self.reset.to(self.elapsed)
            return resets.cumsum(-1) - resets[:, :1]

        return self.cached("segment", make)

    @property
    def visible(self) -> Tensor:
        """(B or 1, T, T) true where frame n (rows) may see frame m (columns): same life, and m not after n's chunk."""

        def make() -> Tensor:
            n = torch.arange(self.elapsed.shape[-1], device=self.elapsed.device)
            horizon = (n // self.chunk_size + 1) * self.chunk_size
            seen = (n[None, :] < horizon[:, None])[None]  # (1, T, T)
            if self.reset is None:
                return seen
            return seen & (self.segment[:, :, None] == self.segment[:, None, :])

        return self.cached("visible", make)


def phase(time: Tensor, rate: Tensor) -> Tensor:
    """time * rate in radians, in the precision of ``rate``.

    A time that has added up to hundreds of frames comes in float64: its product with a rate has few digits left behind the
    point in float32, so it is taken modulo 2 pi first. One frame's own time needs no such care, and no float64 in a graph.
    """
    if time.dtype == rate.dtype:
        return time * rate
    return torch.remainder(time.double() * rate.double(), 2 * math.pi).to(rate.dtype)
