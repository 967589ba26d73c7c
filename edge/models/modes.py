"""The three forms of a whole network: what ``mix`` means, and where each mixer's memory is.

A topology is written once, as ``lift(x, mode)``. Wherever it mixes over time it calls ``mode.mix(mixer, q, k, v)``; the form
knows whether that is the mixer's ``forward``, ``chunk`` or ``step``, and hands each use of a mixer its own memory. Memories are
numbered in the order of use and packed into one tensor (B, M, *state_shape), so that a graph has one state input per kind.

A form may also change which frames there are: ``enter`` is called before each layer, ``leave`` before the regression head
and ``answer`` after it. ``pruning.Pruned`` is H2OT; the others keep every frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from .mixer import Mixer
from .timing import Timing


class ExecutionMode(ABC):
    """How a network meets time in one call."""

    timing: Timing

    @abstractmethod
    def mix(self, mixer: Mixer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The next use of a mixer."""

    def before_layer(self, layer: int, *features: Tensor) -> tuple[Tensor, ...]:
        """What goes on into a layer, of features over the same frames, (..., T, J, C) each."""
        return features

    def before_head(self, x: Tensor) -> Tensor:
        """What goes on from the last layer into the regression head."""
        return x

    def after_head(self, pose: Tensor) -> Tensor:
        """The poses to answer with, of those that the head made."""
        return pose


class ForwardMode(ExecutionMode):
    """All frames at once, from empty memories."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.used: list[Mixer] = []

    def mix(self, mixer: Mixer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.used.append(mixer)
        return mixer(q, k, v, self.timing)  # type: ignore[no-any-return]


class ChunkMode(ExecutionMode):
    """Some frames, with the memories before them."""

    def __init__(self, timing: Timing, state: Tensor) -> None:
        self.timing, self.state = timing, state
        self.next: list[Tensor] = []

    def mix(self, mixer: Mixer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        y, state = mixer.chunk(q, k, v, self.state[:, len(self.next)], self.timing)
        self.next.append(state)
        return y

    def packed_state(self) -> Tensor:
        """(B, M, *state_shape) after the call."""
        return torch.stack(self.next, dim=1)


class StepMode(ExecutionMode):
    """One frame, with the memories before it, all recalled at once."""

    def __init__(self, timing: Timing, state: Tensor, mixers: list[Mixer]) -> None:
        self.timing = timing
        self.recalled = type(mixers[0]).decay_state(mixers, state, timing).unbind(1)
        self.next: list[Tensor] = []

    def mix(self, mixer: Mixer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        y, state = mixer.update_state(q, k, v, self.recalled[len(self.next)], self.timing)
        self.next.append(state)
        return y

    def packed_state(self) -> Tensor:
        """(B, M, *state_shape) after the frame."""
        return torch.stack(self.next, dim=1)
