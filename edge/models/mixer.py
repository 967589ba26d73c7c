"""The mixer: how a lifter mixes over time. One map of (q, k, v), three equal forms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from ...runtime.errors import UsageError
from .timing import Timing


class Mixer(nn.Module, ABC):
    """Mixes values over time, each joint on its own, by a map made of queries and keys.

    The three forms give the same numbers for any split of a sequence, any spacing in time and any reset:

    - ``forward``: all T frames at once, from an empty memory (training).
    - ``chunk``: T frames and the state before them.
    - ``step``: one frame and the state before it. ``step`` is ``recall`` (what the memory is worth by now) and then
      ``absorb`` (take this frame in, read the memory), so that a graph recalls all its mixers' packed states at once.

    Frames are finite numbers: a reset clears a memory of anything, but within one call a frame that is not finite spoils
    every output of its stream.

    Shapes: q, k, v, y (B, T, J, C), in ``step`` (B, J, C); state (B, *state_shape). The state, and what is read of it, are
    float32 or wider whatever q, k and v are; attention answers in their precision.
    """

    kind: ClassVar[str]
    keep_fp32 = True

    @property
    @abstractmethod
    def state_shape(self) -> tuple[int, ...] | None:
        """Shape of one stream's memory, None where the mixer has none (attention sees a window, and nothing else)."""

    @abstractmethod
    def forward(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> Tensor:
        """(B, T, J, C) from an empty memory."""

    def chunk(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        """(B, T, J, C) and the state after the last frame."""
        raise self._stateless_error()

    def step(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        """(B, J, C) and the state after this frame."""
        recalled = type(self).decay_state([self], state[:, None], timing)[:, 0]  # (B, *state_shape)
        return self.update_state(q, k, v, recalled, timing)

    @classmethod
    def decay_state(cls, mixers: Sequence[Mixer], state: Tensor, timing: Timing) -> Tensor:
        """(B, M, *state_shape): the memories of M mixers, forgotten where reset, aged by the elapsed time."""
        raise cls._stateless_error()

    def update_state(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        """(B, J, C) and the new state, from one frame and the recalled state."""
        raise self._stateless_error()

    @classmethod
    def _stateless_error(cls) -> UsageError:
        return UsageError(f"{cls.kind} has no memory to carry", expected="a whole window of frames in one forward call")
