"""Matched tensors: the tensors that two graphs of one model both compute.

Nodes are named after their modules in every precision, so the name of the node that produces a tensor identifies it in both
graphs. Some tensors are not matched: those of operators that only move or convert numbers, which differ as their
inputs do, and the output of a norm into which the smoothing of a quantised layer was folded, which differs by design. Nor are
tensors of different shapes: in another precision, or exported before, other layers may have been merged into one product.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto

from ..graph.half_rounding import is_half, round_to_half
from ..graph.operators import DATA_MOVEMENT, MATRIX_PRODUCTS

NOT_COMPARED = DATA_MOVEMENT | {"Cast", "QuantizeLinear", "DequantizeLinear"}
FLOATING_POINT = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})


@dataclass(frozen=True)
class TensorMatch:
    """A tensor that both graphs compute.

    Args:
        node: name of the node that produces it: ``encoder.0.router/Softmax``.
        exact, other: the tensor's name in the exact graph and in the other one.
    """

    node: str
    exact: str
    other: str

    @property
    def layer(self) -> str:
        """The module that it belongs to: ``encoder.0.router``."""
        return self.node.partition("/")[0]

    @property
    def exact_input(self) -> str:
        """The input of ``isolate_errors``'s graph that takes the exact tensor."""
        return f"{self.other}.given"


def match_tensors(exact: onnx.ModelProto, other: onnx.ModelProto) -> tuple[TensorMatch, ...]:
    """The tensors at which two graphs of one model can be compared, in the exact graph's order."""
    exact_types, other_types = (tensor_types(for_one_stream(model)) for model in (exact, other))
    exact_nodes, other_nodes = ({node.name: node for node in model.graph.node} for model in (exact, other))
    matches = []
    for node in exact.graph.node:
        twin = other_nodes.get(node.name)
        if twin is None or node.op_type in NOT_COMPARED or not _is_float(exact_types[node.output[0]]):
            continue
        if node.op_type == "LayerNormalization" and node.input[1:] != twin.input[1:]:
            continue
        # After a smoothed product, the bias that undoes the channels' shift: only its sum is the layer's output.
        shift = f"{node.name.partition('/')[0]}/shift/Add"
        if node.op_type in MATRIX_PRODUCTS and shift not in exact_nodes:
            twin = other_nodes.get(shift, twin)
        if _shape(exact_types[node.output[0]]) != _shape(other_types[twin.output[0]]):
            continue
        matches.append(TensorMatch(node.name, node.output[0], twin.output[0]))
    return tuple(matches)


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type in FLOATING_POINT


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def with_half_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph as ONNX Runtime's CPU has to run it: half precision rounded explicitly."""
    return round_to_half(model) if is_half(model) else model


def for_one_stream(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph for one stream (B = 1), with the type and the shape of each of its tensors in ``value_info``."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    for value in (*single.graph.input, *single.graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_value = 1
    single = onnx.shape_inference.infer_shapes(single, strict_mode=True, data_prop=True)
    single.graph.value_info.extend(single.graph.output)  # their types stay known when other tensors become the outputs
    return single


def tensor_types(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Type and shape of each tensor by name.

    Args:
        model: the result of ``for_one_stream``.
    """
    return {value.name: value for value in model.graph.value_info}
