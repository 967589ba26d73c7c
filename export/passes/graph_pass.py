"""One pass over an ONNX graph: its name, its function, and the check that the graph still computes the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from ...calib.graph.half_rounding import is_half


@dataclass(frozen=True)
class GraphPass:
    """A named change to a graph that must not change what the graph computes.

    Args:
        name: the name in the manifest and in error messages.
        apply: returns the changed graph as a new object and leaves its argument as it is. A pass that only checks returns its
            argument.
        agree: whether the graph before and the graph after compute the same, within a tolerance.
        tolerance: the difference of outputs that ``agree`` accepts; 0 means bit for bit.
        half_tolerance: the same of an FP16 graph, for a pass that rounds weights anew; None is ``tolerance``.
        package: the Python package whose version decides what ``apply`` does, None if it is this one.
    """

    name: str
    apply: Callable[[onnx.ModelProto], onnx.ModelProto]
    agree: Callable[[onnx.ModelProto, onnx.ModelProto, float], bool]
    tolerance: float = 0.0
    half_tolerance: float | None = None
    package: str | None = None

    def tolerance_of(self, model: onnx.ModelProto) -> float:
        """The tolerance for a graph, by its precision."""
        return self.tolerance if self.half_tolerance is None or not is_half(model) else self.half_tolerance


def copy_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """A deep copy, which a pass may change in place."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied
