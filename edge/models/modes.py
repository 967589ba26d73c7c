"""The execution modes of a whole network: forward, chunk and step.

A topology is written once, as ``lift(x, mode)``. Wherever it mixes over time it calls ``mode.mix(mixer, q, k, v)``. The mode
calls the mixer's ``forward``, ``chunk`` or ``step``, and passes each use of a mixer its own state. States are numbered in the
order of use and packed into one tensor (B, M, *state_shape), so that a graph has one state input per kind.

A mode may also drop frames: the topology calls ``before_layer`` before each layer, ``before_head`` before the regression head
and ``after_head`` after it. ``pruning.PrunedMode`` is H2OT; the other modes keep every frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from .mixer import Mixer
from .timing import Timing


class ExecutionMode(ABC):
    """How a network processes the frames of one call."""

    timing: Timing

    @abstractmethod
    def mix(self, mixer: Mixer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The next use of a mixer: (..., J, C) values mixed over time."""

    def before_layer(self, layer: int, *features: Tensor) -> tuple[Tensor, ...]:
        """The input of a layer, from features over the same frames, (..., T, J, C) each."""
        return features

    def before_head(self, x: Tensor) -> Tensor:
        """The input of the regression head, from the last layer's features."""
        return x

    def after_head(self, pose: Tensor) -> Tensor:
        """The poses to return, from those of the regression head."""
        return pose


class ForwardMode(ExecutionMode):
    """All frames at once, from empty states. ``mixers_used`` lists the mixers in the order of use."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.mixers_used: list[Mixer] = []

    def mix(self, mixer: Mixer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.mixers_used.append(mixer)
        return mixer(q, k, v, self.timing)  # type: ignore[no-any-return]


class StatefulMode(ExecutionMode):
    """A mode that carries states: ``next_states`` collects those after the call, in the order of use."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.next_states: list[Tensor] = []

    def packed_state(self) -> Tensor:
        """(B, M, *state_shape) after the call."""
        return torch.stack(self.next_states, dim=1)


class ChunkMode(StatefulMode):
    """Some frames, with the packed state before them, (B, M, *state_shape)."""

    def __init__(self, timing: Timing, state: Tensor) -> None:
        super().__init__(timing)
        self.state = state

    def mix(self, mixer: Mixer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        y, next_state = mixer.chunk(q, k, v, self.state[:, len(self.next_states)], self.timing)
        self.next_states.append(next_state)
        return y


class StepMode(StatefulMode):
    """One frame, with the packed state before it. All states are decayed at once, by the mixers in the order of use."""

    def __init__(self, timing: Timing, state: Tensor, mixers: list[Mixer]) -> None:
        super().__init__(timing)
        decayed = type(mixers[0]).decay_state(mixers, state, timing)
        self.decayed_states = decayed.flatten(1, 2).split(decayed.shape[2], dim=1)  # M times (B, *state_shape)

    def mix(self, mixer: Mixer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        y, next_state = mixer.update_state(q, k, v, self.decayed_states[len(self.next_states)], self.timing)
        self.next_states.append(next_state)
        return y
