"""True half rounding on a CPU: an FP16 graph as one that computes in FP32 and rounds after every operation.

ONNX Runtime's CPU has almost no FP16 kernels: it computes such graphs in FP32 and drops the casts between the operations, so
an FP16 graph looks more accurate than it is. Here every half-precision result passes through an explicit float -> half ->
float pair of casts, which no optimiser may drop. Sums inside a matrix product are FP32, as they are on a GPU's tensor cores.

INT8 values stay exact. A product of two dequantised tensors is a sum of exact integer products that is scaled in the end: only
its result is half precision, its inputs never are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .editor import GraphEditor
from .operators import DATA_MOVEMENT, MATRIX_PRODUCTS

HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def round_to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with each FP16 tensor as a float32 one whose values are halves. Inputs and outputs stay as they are."""
    types = _element_types(model)
    editor = _with_wide_weights(model)
    exact = _int8_operands(editor.nodes)
    for node in editor.nodes:
        half_outputs = [name for name in node.output if types.get(name) == HALF and name not in exact]
        _compute_in_float(node)
        if node.op_type in DATA_MOVEMENT:
            continue
        for name in half_outputs:
            unrounded = editor.rename_output(node, name, f"{name}.unrounded")
            editor.insert_after(node, helper.make_node("Cast", [unrounded], [f"{name}.half"], to=HALF))
            editor.insert_after(node, helper.make_node("Cast", [f"{name}.half"], [name], to=FLOAT))
    return editor.build()


def widen(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with each FP16 tensor as a float32 one, and nothing rounded but its weights: what it would be without FP16."""
    editor = _with_wide_weights(model)
    for node in editor.nodes:
        _compute_in_float(node)
    return editor.build()


def _with_wide_weights(model: onnx.ModelProto) -> GraphEditor:
    editor = GraphEditor(model)
    editor.clear_value_info()
    for weight in model.graph.initializer:
        if weight.data_type == HALF:
            editor.replace_initializer(weight.name, numpy_helper.to_array(weight).astype(np.float32))
    return editor


def is_half(model: onnx.ModelProto) -> bool:
    """Whether any of the graph's weights is half precision."""
    return any(weight.data_type == HALF for weight in model.graph.initializer)


def _element_types(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor that shape inference can type."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    return {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output, *graph.input)}


def _compute_in_float(node: onnx.NodeProto) -> None:
    """A cast to half becomes a cast to float, and so do half-precision constants."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == HALF:
            attribute.i = FLOAT
        if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == HALF:
            attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float32)))


def _int8_operands(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """Dequantised tensors that only INT8 products read: to those they are integers times a scale, never halves."""
    dequantized = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    read_elsewhere = set()
    for node in nodes:
        if not (node.op_type in MATRIX_PRODUCTS and set(node.input[:2]) <= dequantized):
            read_elsewhere |= set(node.input)
    return dequantized - read_elsewhere
