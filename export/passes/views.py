"""The pass that leaves one Reshape, or none, of operators in a row that only give numbers another shape."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from .agreement import outputs_agree
from .graph_pass import GraphPass
from .rewriting import RewritableGraph, attribute, rewritten
from .shapes import Shape, elements, reshape_target

_VIEWS = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity"})


def fold_views(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with each chain of views as one Reshape of the tensor before them; a chain that changes nothing is left out."""
    return rewritten(model, _fold)


def _fold(graph: RewritableGraph) -> None:
    for node in list(graph.graph):
        if not _is_view(graph, node):
            continue
        output, source = node.outputs[0], _source(graph, node)
        shape = graph.shape(output)
        if shape is None or source is None:
            continue
        if graph.shape(source) == shape and not output.is_graph_output():
            output.replace_all_uses_with(source)
        elif (target := reshape_target(shape)) is not None:
            node.op_type = "Reshape"
            node.attributes.clear()
            node.resize_inputs(2)
            node.replace_input_with(0, source)
            node.replace_input_with(1, graph.add_constant(f"{node.name}.shape", np.array(target, np.int64)))


def _source(graph: RewritableGraph, node: ir.Node) -> ir.Value | None:
    """The tensor before the chain of views that ends in a node."""
    source = node.inputs[0]
    while source is not None and (producer := source.producer()) is not None and _is_view(graph, producer):
        source = producer.inputs[0]
    return source


def _is_view(graph: RewritableGraph, node: ir.Node) -> bool:
    """Whether a node keeps all numbers in their order."""
    if node.op_type in _VIEWS:
        return True
    before, after = graph.shape(node.inputs[0]) if node.inputs else None, graph.shape(node.outputs[0])
    if before is None or after is None or elements(before) != elements(after):
        return False
    if node.op_type == "Transpose":
        return _keeps_order(before, attribute(node, "perm", range(len(before))[::-1]))
    return node.op_type in ("Gather", "Slice", "Expand") and _takes_all(graph, node)


def _keeps_order(shape: Shape, perm: object) -> bool:
    """Whether a Transpose moves nothing but axes of length 1."""
    assert isinstance(perm, list | tuple | range)
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


def _takes_all(graph: RewritableGraph, node: ir.Node) -> bool:
    """Whether a Gather, Slice or Expand that keeps the number of numbers keeps their order."""
    if node.op_type == "Gather":  # of the only index of an axis
        indices = graph.constant(node.inputs[1])
        return indices is not None and indices.size == 1
    steps = graph.constant(node.inputs[4]) if len(node.inputs) > 4 else np.ones(1)
    return node.op_type == "Expand" or (steps is not None and bool((steps == 1).all()))


FOLD_VIEWS = GraphPass("fold_views", fold_views, outputs_agree, tolerance=1e-6)
