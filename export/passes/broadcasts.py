"""The pass that leaves out an Expand before operators that stretch their inputs by themselves."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from .agreement import outputs_agree
from .graph_pass import GraphPass
from .rewriting import RewritableGraph, rewritten
from .shapes import broadcast

_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Where", "Greater", "Less", "Equal", "And", "Or", "Min", "Max"})


def drop_expands(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without an Expand whose readers give the same shape without it."""
    return rewritten(model, _drop)


def _drop(graph: RewritableGraph) -> None:
    for node in list(graph.graph):
        if node.op_type != "Expand" or node.inputs[0] is None:
            continue
        source, stretched = node.inputs[0], node.outputs[0]
        for reader, index in list(stretched.uses()):
            if _fits_without(graph, reader, index, source):
                reader.replace_input_with(index, source)


def _fits_without(graph: RewritableGraph, reader: ir.Node, index: int, source: ir.Value) -> bool:
    if reader.op_type not in _ELEMENTWISE:
        return False
    inputs = [source if i == index else value for i, value in enumerate(reader.inputs)]
    shapes = [shape for value in inputs if (shape := graph.shape(value)) is not None]
    result = graph.shape(reader.outputs[0])
    return result is not None and len(shapes) == len(inputs) and broadcast(*shapes) == result


DROP_EXPANDS = GraphPass("drop_expands", drop_expands, outputs_agree, tolerance=1e-6)
