"""The batch axis of a graph that was traced with a fixed number of streams, set free.

PyTorch can trace with a symbolic batch, but then computes with symbols at every operator, which took twice as long. Instead a
graph is traced with a prime number of streams that divides no other axis, so that every multiple of it stands for the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..runtime.errors import ArtefactError

PRIMES = (101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199)


def streams_to_trace(lengths: Iterable[int]) -> int:
    """A number of streams that divides none of these lengths of axes.

    Raises:
        ArtefactError: each of the primes divides one.
    """
    taken = set(lengths)
    for prime in PRIMES:
        if all(length % prime for length in taken if length):
            return prime
    raise ArtefactError("the lifter has axes of too many lengths to trace", expected=f"one of {PRIMES} that divides none")


def free_batch(model: ir.Model, streams: int) -> None:
    """Let a graph that was traced with so many streams take any number of them, in place.

    Raises:
        ArtefactError: the graph depends on the number of streams in a way that is not known here.
    """
    graph = model.graph
    for node in list(graph):
        if node.op_type == "Reshape":
            _free_reshape(graph, node, streams)
        elif node.op_type == "Expand":
            _free_expand(graph, node, streams)
        elif node.op_type in ("Tile", "ConstantOfShape") and any(_has_batch(_numbers(value), streams) for value in node.inputs):
            raise _unknown(f"{node.name}, a {node.op_type}, depends on it")
    for value in [*graph.initializers.values()]:
        numbers = _numbers(value)
        if numbers is not None and _has_batch(np.array(numbers.shape), streams):
            _free_constant(graph, value, numbers, streams)
    for value in (*graph.inputs, *graph.outputs):
        assert value.shape is not None
        value.shape = ir.Shape(["B" if dim == streams else dim for dim in value.shape])
    for node in graph:
        for output in node.outputs:
            if not output.is_graph_output():
                output.shape = None  # of the traced batch


def _free_reshape(graph: ir.Graph, node: ir.Node, streams: int) -> None:
    sizes = _lengths(node.outputs[0]) or _numbers(node.inputs[1])
    if sizes is None:
        return
    freed = np.array([-1 if length > 0 and length % streams == 0 else length for length in sizes], np.int64)
    if (freed == -1).sum() > 1:
        raise _unknown(f"{node.name} gives two axes a length that depends on the batch")
    node.replace_input_with(1, _constant(graph, f"{node.name}.shape", freed))


def _free_expand(graph: ir.Graph, node: ir.Node, streams: int) -> None:
    sizes, before = _numbers(node.inputs[1]), _lengths(node.inputs[0])
    if not _has_batch(sizes, streams):
        return
    assert sizes is not None
    if before is not None and len(before) == len(sizes) and before[0] == streams:  # the batch is there already
        node.replace_input_with(1, _constant(graph, f"{node.name}.shape", np.where(sizes == streams, 1, sizes)))
    else:
        node.replace_input_with(1, _sizes_at_run_time(graph, node, sizes, streams))


def _free_constant(graph: ir.Graph, value: ir.Value, numbers: NDArray[np.generic], streams: int) -> None:
    """A constant with a row for each stream becomes one row, stretched when the graph runs."""
    row = numbers[:1]
    if numbers.shape[0] != streams or _has_batch(np.array(numbers.shape[1:]), streams) or not (numbers == row).all():
        raise _unknown(f"the constant {value.name} is not the same for each stream")
    first = next((node for node in graph if value in node.inputs), None)
    if first is None:
        return
    sizes = _sizes_at_run_time(graph, first, np.array(numbers.shape), streams)
    stretched = ir.node("Expand", [_constant(graph, f"{value.name}.row", row), sizes], name=f"{value.name}.stretched")
    stretched.outputs[0].name = f"{value.name}.of_streams"
    graph.insert_before(first, stretched)
    value.replace_all_uses_with(stretched.outputs[0])


def _sizes_at_run_time(graph: ir.Graph, anchor: ir.Node, sizes: NDArray[np.generic], streams: int) -> ir.Value:
    """A shape whose batch is that of the graph's first input."""
    if sizes[0] != streams or _has_batch(sizes[1:], streams):
        raise _unknown(f"{anchor.name} stretches something to {sizes.tolist()}")
    batch = ir.node("Shape", [graph.inputs[0]], {"start": 0, "end": 1}, name=f"{anchor.name}.batch")
    rest = _constant(graph, f"{anchor.name}.rest", sizes[1:].astype(np.int64))
    joined = ir.node("Concat", [batch.outputs[0], rest], {"axis": 0}, name=f"{anchor.name}.sizes")
    for node in (batch, joined):
        node.outputs[0].name = str(node.name)
        graph.insert_before(anchor, node)
    return joined.outputs[0]


def _has_batch(numbers: NDArray[np.generic] | None, streams: int) -> bool:
    """Whether one of some whole numbers is a multiple of the number of streams."""
    if numbers is None or not np.issubdtype(numbers.dtype, np.integer):
        return False
    return bool(((numbers > 0) & (numbers % streams == 0)).any())  # type: ignore[operator]


def _lengths(value: ir.Value | None) -> Sequence[int] | None:
    """The lengths of a traced tensor's axes, if all are known."""
    if value is None or value.shape is None or not all(isinstance(dim, int) for dim in value.shape):
        return None
    return [int(dim) for dim in value.shape]  # type: ignore[arg-type]


def _numbers(value: ir.Value | None) -> NDArray[np.generic] | None:
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _constant(graph: ir.Graph, name: str, numbers: NDArray[np.generic]) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(np.ascontiguousarray(numbers)))
    value.shape, value.dtype = ir.Shape(numbers.shape), ir.DataType.from_numpy(numbers.dtype)
    graph.register_initializer(value)
    return value


def _unknown(what: str) -> ArtefactError:
    return ArtefactError(f"the graph depends on the number of streams that it was traced with: {what}", expected="any batch")
