"""The mixer: how a lifter mixes over time. One map of (q, k, v) with three equal forms, and its configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ...runtime.errors import UsageError
from .timing import Timing


class Mixer(nn.Module, ABC):
    """Mixes values over time, each joint on its own, by a map made of queries and keys.

    The three forms give the same numbers for any split of a sequence, any spacing in time and any reset:

    - ``forward``: all T frames at once, from an empty state (training).
    - ``chunk``: T frames and the state before them.
    - ``step``: one frame and the state before it. ``step`` is ``decay_state`` (age the state to the frame's time) and then
      ``update_state`` (add the frame, read the state), so that a graph decays the packed states of all its mixers at once.

    Frames are finite numbers. A reset clears a state whatever it holds, but within one call a frame that is not finite spoils
    every output of its stream.

    Shapes: q, k, v, y (B, T, J, C), in ``step`` (B, J, C); state (B, *state_shape). The state, and what is read from it, are
    float32 or wider whatever the precision of q, k and v; attention returns the precision of its inputs.
    """

    kind: ClassVar[str]
    state_axes: ClassVar[tuple[str, ...]] = ()  # the names of the axes of ``state_shape``, which the manifest records
    shared_by_head: ClassVar[bool] = True  # whether the channels of a head are mixed by the same weights
    capturable: ClassVar[bool] = True  # whether an update can be captured as a CUDA graph: no value is read in it
    keep_fp32 = True

    @property
    @abstractmethod
    def state_shape(self) -> tuple[int, ...] | None:
        """Shape of one stream's state; None where the mixer has none (attention sees one window and nothing else)."""

    @abstractmethod
    def forward(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> Tensor:
        """(B, T, J, C) from an empty state."""

    def chunk(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        """(B, T, J, C) and the state after the last frame."""
        raise self._stateless_error()

    def step(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        """(B, J, C) and the state after this frame."""
        decayed = type(self).decay_state([self], state[:, None], timing)[:, 0]  # (B, *state_shape)
        return self.update_state(q, k, v, decayed, timing)

    @classmethod
    def decay_state(cls, mixers: Sequence[Mixer], state: Tensor, timing: Timing) -> Tensor:
        """(B, M, *state_shape): the states of M mixers, cleared where reset and decayed by the elapsed time."""
        raise cls._stateless_error()

    def update_state(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        """(B, J, C) and the new state, from one frame and the decayed state."""
        raise self._stateless_error()

    @classmethod
    def _stateless_error(cls) -> UsageError:
        return UsageError(f"{cls.kind} has no state to carry", expected="a whole window of frames in one forward call")


@dataclass(frozen=True, kw_only=True)
class MixerConfig(ABC):
    """The settings of one kind of mixer; ``LifterConfig.mixer`` holds one of them.

    Args:
        kind: the mixer's name, which tells the kinds apart in JSON.
    """

    kind: str

    def check_lifter(self, *, joints: int) -> None:
        """Raises a UsageError where such a mixer cannot work in a lifter of that many joints."""
        return

    @abstractmethod
    def build(self, *, dim: int, heads: int, joints: int) -> Mixer:
        """One mixer over C = ``dim`` channels, with fresh weights."""
