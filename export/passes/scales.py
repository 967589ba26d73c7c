"""The pass that multiplies weights once, where a graph multiplies what a linear layer gives by a number in every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from .agreement import outputs_agree
from .graph_pass import GraphPass
from .rewriting import RewritableGraph, attribute, rewritten
from .shapes import Streams

_MOVES = frozenset({"Reshape", "Transpose", "Split"})


@dataclass(frozen=True)
class _Columns:
    """The outputs of a linear layer that a tensor is made of."""

    layer: ir.Node
    columns: NDArray[np.intp]


def fold_scales(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with numbers that the outputs of linear layers, or products of such, are multiplied by, within the weights.

    An example is 1 / sqrt(d) of attention, between the product of queries and keys and the softmax.
    """
    return rewritten(model, _fold)


def _fold(graph: RewritableGraph) -> None:
    for node in list(graph.graph):
        if node.op_type not in ("Mul", "Div") or node.outputs[0].is_graph_output():
            continue
        factors = [(i, numbers) for i, value in enumerate(node.inputs) if (numbers := graph.constant(value)) is not None]
        if len(factors) != 1 or factors[0][1].size != 1 or (node.op_type == "Div" and factors[0][0] != 1):
            continue
        index, number = factors[0]
        scaled = node.inputs[1 - index]
        shape = graph.shape(scaled)
        columns = None if scaled is None or shape is None or shape != graph.shape(node.outputs[0]) else _columns(graph, scaled)
        if columns is not None:
            factor = float(number.item())
            _scale(graph, columns, 1 / factor if node.op_type == "Div" else factor)
            assert scaled is not None
            node.outputs[0].replace_all_uses_with(scaled)


def _columns(graph: RewritableGraph, value: ir.Value) -> _Columns | None:
    """What to scale instead of a tensor that has one reader; None where nothing can be."""
    path: list[tuple[ir.Node, ir.Value]] = []
    while (node := value.producer()) is not None:
        if len(value.uses()) != 1 or value.is_graph_output():
            return None
        if node.op_type == "MatMul" and graph.constant(node.inputs[1]) is None:
            if any(mover.op_type == "Split" for mover, _ in path):  # the other parts would be scaled too
                return None
            sides = [_columns(graph, side) for side in node.inputs if side is not None]
            return next((side for side in sides if side is not None), None)
        path.append((node, value))
        if node.op_type == "Gemm":
            return _traced(graph, path)
        if node.op_type not in _MOVES or node.inputs[0] is None:
            return None
        value = node.inputs[0]
    return None


def _traced(graph: RewritableGraph, path: list[tuple[ir.Node, ir.Value]]) -> _Columns | None:
    """Which columns of the Gemm at the path's end reach its beginning, by moving their indices along."""
    layer, output = path[-1]
    shape, weight = graph.shape(output), graph.constant(layer.inputs[1])
    if shape is None or weight is None or layer.attributes or not isinstance(shape[0], Streams):
        return None
    indices: NDArray[np.intp] = np.broadcast_to(np.arange(weight.shape[1]), (shape[0].times, weight.shape[1]))
    for node, value in reversed(path[:-1]):
        moved = _moved(graph, node, value, indices)
        if moved is None:
            return None
        indices = moved
    columns = np.unique(indices)
    return _Columns(layer, columns) if indices.size == shape[0].times * columns.size else None  # of all rows, or of none


def _moved(graph: RewritableGraph, node: ir.Node, value: ir.Value, x: NDArray[np.intp]) -> NDArray[np.intp] | None:
    """What an operator that only moves numbers makes of one stream's."""
    if node.op_type == "Reshape":
        shape = graph.shape(value)
        return None if shape is None else x.reshape([dim.times if isinstance(dim, Streams) else dim for dim in shape])
    if node.op_type == "Transpose":
        return x.transpose(attribute(node, "perm", None))
    axis, shapes = attribute(node, "axis", 0), [graph.shape(output) for output in node.outputs]
    lengths = [shape[axis] for shape in shapes if shape is not None]
    if len(lengths) < len(shapes) or not all(isinstance(length, int) for length in lengths):
        return None
    return np.split(x, np.cumsum(lengths)[:-1], axis)[node.outputs.index(value)]


def _scale(graph: RewritableGraph, target: _Columns, factor: float) -> None:
    """Multiply columns of a layer's weight and its bias."""
    for index in range(1, len(target.layer.inputs)):
        value = target.layer.inputs[index]
        numbers = graph.constant(value)
        assert value is not None and numbers is not None
        scaled = numbers.copy()
        scaled[..., target.columns] = (scaled[..., target.columns].astype(np.float64) * factor).astype(numbers.dtype)
        target.layer.replace_input_with(index, graph.add_constant(f"{value.name}.scaled", scaled))


FOLD_SCALES = GraphPass("fold_scales", fold_scales, outputs_agree, tolerance=1e-4, half_tolerance=5e-3)
