"""The clock of one call: when its frames happened, and where memory is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Clock:
    """Time as every mixer of one call sees it.

    Args:
        elapsed: (B or 1, T) time since the frame before, in nominal frames (dt x fps); the first is counted from the last
            frame of the carried state.
        reset: (B or 1, T) true where all memory is forgotten before the frame; None for nowhere.
        chunk_size: T_s, NC-RetNet's staircase: a frame sees the past and the rest of its own chunk. 1 is causal.
        uniform: every ``elapsed`` is 1, known without looking (it opens the FFT path of dssm).
    """

    elapsed: Tensor
    reset: Tensor | None = None
    chunk_size: int = 1
    uniform: bool = False
    _shared: dict[object, object] = field(default_factory=dict)

    def once(self, key: object, make: Callable[[], T]) -> T:
        """``make()``, computed by the first mixer that asks and shared with the others of this call."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]  # type: ignore[return-value]

    def during(self, span: slice) -> Clock:
        """The clock of some of the call's frames, counted from the frame before them."""
        return Clock(self.elapsed[:, span], None if self.reset is None else self.reset[:, span], self.chunk_size, self.uniform)

    @property
    def time(self) -> Tensor:
        """(B or 1, T) nominal frames since the carried state's last frame."""
        return self.once("time", lambda: self.elapsed.cumsum(-1))

    @property
    def life(self) -> Tensor:
        """(B or 1, T) how many resets lie between the carried state and the frame."""
        return self.once(
            "life", lambda: (torch.zeros_like(self.elapsed) if self.reset is None else self.reset.to(self.elapsed)).cumsum(-1)
        )

    @property
    def visible(self) -> Tensor:
        """(B or 1, T, T) true where frame n (rows) may see frame m (columns): same life, and m not after n's chunk."""

        def make() -> Tensor:
            n = torch.arange(self.elapsed.shape[-1], device=self.elapsed.device)
            horizon = (n // self.chunk_size + 1) * self.chunk_size
            seen = (n[None, :] < horizon[:, None])[None]  # (1, T, T)
            if self.reset is None:
                return seen
            return seen & (self.life[:, :, None] == self.life[:, None, :])

        return self.once("visible", make)
