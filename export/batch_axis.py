"""The batch axis of a graph that was traced with a fixed number of streams, set free.

PyTorch can trace with a symbolic batch, but then computes with symbols at every operator: that took more than three times as
long. Instead a graph is traced with a number of streams that no other axis is a multiple of, so that every number in it that
is one stands for the batch.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..runtime.errors import ArtefactError

TRACED_STREAMS = 101  # a prime: 17 joints, channels, heads and frames of any window are no multiples of it


def free_batch(model: ir.Model) -> None:
    """Let the graph take any number of streams, in place.

    Raises:
        ArtefactError: the graph depends on the number of streams in a way that is not known here.
    """
    graph = model.graph
    for node in graph:
        if node.op_type in ("Reshape", "Expand") and (sizes := _numbers(node.inputs[1])) is not None:
            freed = np.where(sizes % TRACED_STREAMS == 0, -1 if node.op_type == "Reshape" else 1, sizes)
            freed[sizes == 0] = 0
            if node.op_type == "Reshape" and (freed == -1).sum() > 1:
                raise _unknown(f"{node.name} gives two axes a length that depends on the batch")
            if (freed != sizes).any():
                node.replace_input_with(1, _constant(graph, f"{node.name}.shape", freed))
    for value in [*graph.initializers.values()]:
        numbers = _numbers(value)
        if numbers is not None and any(axis and axis % TRACED_STREAMS == 0 for axis in numbers.shape):
            value.replace_all_uses_with(_constant(graph, f"{value.name}.any_batch", _without_batch(str(value.name), numbers)))
    for value in (*graph.inputs, *graph.outputs):
        assert value.shape is not None
        value.shape = ir.Shape(["B" if dim == TRACED_STREAMS else dim for dim in value.shape])
    for node in graph:
        for output in node.outputs:
            if not output.is_graph_output():
                output.shape = None  # of the traced batch


def _without_batch(name: str, numbers: NDArray[np.generic]) -> NDArray[np.generic]:
    """A weight that was traced with a row for each stream, as one row."""
    for axis, length in enumerate(numbers.shape):
        if length and length % TRACED_STREAMS == 0:
            first = numbers.take([0], axis=axis)
            if length != TRACED_STREAMS or not (numbers == first).all():
                raise _unknown(f"the constant {name} is not the same for each stream")
            numbers = first
    return numbers


def _numbers(value: ir.Value | None) -> NDArray[np.generic] | None:
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _constant(graph: ir.Graph, name: str, numbers: NDArray[np.generic]) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(np.ascontiguousarray(numbers)))
    value.shape, value.dtype = ir.Shape(numbers.shape), ir.DataType.from_numpy(numbers.dtype)
    graph.register_initializer(value)
    return value


def _unknown(what: str) -> ArtefactError:
    return ArtefactError(f"the traced graph is for {TRACED_STREAMS} streams: {what}", expected="a lifter for any batch")
