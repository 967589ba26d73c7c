"""The pass that cuts a tensor into its parts once, where a graph takes one slice after the other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx
import onnx_ir as ir

from .agreement import outputs_agree
from .graph_pass import GraphPass
from .rewriting import RewritableGraph, attribute, rewritten


@dataclass(frozen=True)
class _Slice:
    """A node that takes a run of indices of one axis."""

    node: ir.Node
    axis: int
    start: int
    stop: int


def split_slices(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with one Split for all slices of a tensor along an axis, if they do not overlap."""
    return rewritten(model, _split)


def _split(graph: RewritableGraph) -> None:
    for source in [*graph.graph.inputs, *(output for node in list(graph.graph) for output in node.outputs)]:
        slices = [found for node in source.consumers() if (found := _slice_of(graph, node, source)) is not None]
        for axis in {item.axis for item in slices}:
            _split_along(graph, source, [item for item in slices if item.axis == axis])


def _split_along(graph: RewritableGraph, source: ir.Value, slices: list[_Slice]) -> None:
    shape, axis = graph.shape(source), slices[0].axis
    assert shape is not None
    length = shape[axis]
    assert isinstance(length, int), "slices are of axes of a fixed length"
    runs = sorted({(item.start, item.stop) for item in slices})
    edges = [0, *(edge for run in runs for edge in run), length]
    if len(runs) < 2 or any(stop > start for (_, stop), (start, _) in pairwise(runs)):
        return
    parts = [(start, stop) for start, stop in pairwise(edges) if stop > start]
    first = min((item.node for item in slices), key=lambda node: graph.graph.index(node))
    sizes = graph.add_constant(f"{first.name}.sizes", np.array([stop - start for start, stop in parts], np.int64))
    shapes = [(*shape[:axis], stop - start, *shape[axis + 1 :]) for start, stop in parts]
    outputs = graph.insert_before(first, "Split", [source, sizes], shapes, {"axis": axis}, name=f"{first.name}.split")
    part_of = dict(zip(parts, outputs, strict=True))
    for item in slices:
        part, taken = part_of[item.start, item.stop], item.node.outputs[0]
        if item.node.op_type == "Gather":  # a Gather by a scalar has an axis less
            taken_shape = graph.shape(taken)
            assert taken_shape is not None
            part = graph.reshape_before(item.node, part, taken_shape, name=f"{item.node.name}.view")
        taken.replace_all_uses_with(part)


def _slice_of(graph: RewritableGraph, node: ir.Node, source: ir.Value) -> _Slice | None:
    """What a node takes of a tensor, if it takes a run of indices of one axis."""
    shape = graph.shape(source)
    if shape is None or node.inputs[0] is not source or node.outputs[0].is_graph_output():
        return None
    if node.op_type == "Gather":
        index, axis = graph.constant(node.inputs[1]), attribute(node, "axis", 0) % len(shape)
        if index is None or index.ndim or not isinstance(length := shape[axis], int):
            return None
        return _Slice(node, axis, int(index) % length, int(index) % length + 1)
    if node.op_type != "Slice" or len(node.inputs) < 4:
        return None
    numbers = [graph.constant(value) for value in node.inputs[1:]]
    if any(values is None or values.size != 1 for values in numbers):
        return None
    start, stop, axis, *step = (int(values.item()) for values in numbers if values is not None)
    length = shape[axis % len(shape)]
    if not isinstance(length, int) or step not in ([], [1]):
        return None
    start, stop, _ = slice(start, stop).indices(length)
    if stop <= start:
        return None
    return _Slice(node, axis % len(shape), start, stop)


SPLIT_SLICES = GraphPass("split_slices", split_slices, outputs_agree, tolerance=1e-6)
