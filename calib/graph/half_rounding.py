"""True half rounding on a CPU: an FP16 graph as one that computes in FP32 and rounds after every operation.

ONNX Runtime's CPU has almost no FP16 kernels: it computes such graphs in FP32, drops the casts between the operations, and
so shows an FP16 graph better than it is. Here every half-precision result passes through an explicit float -> half -> float
pair of casts, which no optimiser may drop. Sums inside a matrix product are FP32, as they are on a GPU's tensor cores.

INT8 codes are what they are. A product of two dequantised tensors is a sum of exact integer products that is scaled in the
end: only its result is half precision, its inputs never were.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT

# Operations that only move numbers: what was rounded stays rounded.
MOVES = frozenset(
    {"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Split", "Slice", "Gather", "Concat", "Identity", "Expand", "Flatten"}
)
PRODUCTS = frozenset({"MatMul", "Gemm"})


def round_to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with each FP16 tensor as a float32 one whose numbers are halves. Inputs and outputs stay as they are."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    types = {
        v.name: v.type.tensor_type.elem_type
        for v in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input)
    }
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    graph = rounded.graph
    del graph.value_info[:]

    for weight in graph.initializer:
        if weight.data_type == HALF:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float32), weight.name))

    nodes = list(graph.node)
    del graph.node[:]
    codes = _codes(nodes)
    for node in nodes:
        made = [name for name in node.output if types.get(name) == HALF and name not in codes]
        if node.op_type == "Cast" and _to(node) == HALF:
            _set_to(node, FLOAT)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == HALF:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float32)))
        if not made or node.op_type in MOVES:
            graph.node.append(node)
            continue
        renamed = {name: f"{name}.unrounded" for name in made}
        for i, name in enumerate(node.output):
            node.output[i] = renamed.get(name, name)
        graph.node.append(node)
        for name in made:
            graph.node.append(helper.make_node("Cast", [renamed[name]], [f"{name}.half"], to=HALF))
            graph.node.append(helper.make_node("Cast", [f"{name}.half"], [name], to=FLOAT))
    return rounded


def is_half(model: onnx.ModelProto) -> bool:
    """Whether any of the graph's weights is half precision."""
    return any(weight.data_type == HALF for weight in model.graph.initializer)


def _codes(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """Dequantised tensors that are codes times a scale to whatever takes them: inputs of INT8 products, and of nothing else."""
    back = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    elsewhere = set()
    for node in nodes:
        if not (node.op_type in PRODUCTS and set(node.input[:2]) <= back):
            elsewhere |= set(node.input)
    return back - elsewhere


def _to(node: onnx.NodeProto) -> int:
    return int(next(a.i for a in node.attribute if a.name == "to"))


def _set_to(node: onnx.NodeProto, to: int) -> None:
    next(a for a in node.attribute if a.name == "to").i = to
