"""The result of a comparison of two graphs: tensor by tensor, launch by launch and layer by layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorDifference:
    """The difference of one tensor, over all launches.

    Args:
        node: name of the node that produces it, which is named after its module.
        frame: in which it differed most.
        largest: its largest absolute difference in that frame.
        relative: the same, relative to the tensor's root mean square.
        isolated: as ``relative``, if all inputs of the node were exact; the largest over all launches.
    """

    node: str
    frame: int
    largest: float
    relative: float
    isolated: float


@dataclass(frozen=True)
class LaunchDifference:
    """The difference of the poses of one launch, and of the states after it.

    Args:
        frame: the launch's first frame.
        mean_mm, max_mm: over the pose's joints.
        state: the carried states' largest difference, relative to their root mean square; 0 if the graph carries none.
    """

    frame: int
    mean_mm: float
    max_mm: float
    state: float


@dataclass(frozen=True)
class LayerEffect:
    """What a layer's isolated errors do to one launch, while all other layers are exact (as in ``LaunchDifference``)."""

    layer: str
    mean_mm: float
    max_mm: float
    state: float


@dataclass(frozen=True)
class Comparison:
    """The differences of two graphs.

    Args:
        tensors: of the tensors that both compute, in the graph's order.
        launches: of each launch, in order.
        effects: of each layer in the launch whose poses differ most, the most harmful layer first.
    """

    tensors: tuple[TensorDifference, ...]
    launches: tuple[LaunchDifference, ...]
    effects: tuple[LayerEffect, ...]

    @property
    def worst(self) -> LaunchDifference:
        """The launch whose poses differ most."""
        return max(self.launches, key=lambda launch: launch.max_mm)

    def first_above(self, tolerance: float) -> TensorDifference | None:
        """The first tensor with a ``relative`` difference above the tolerance."""
        return next((tensor for tensor in self.tensors if tensor.relative > tolerance), None)

    def first_isolated_above(self, tolerance: float) -> TensorDifference | None:
        """The first tensor with an ``isolated`` difference above the tolerance."""
        return next((tensor for tensor in self.tensors if tensor.isolated > tolerance), None)
