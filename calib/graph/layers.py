"""The layers of a graph that may go to INT8: products with weights, and nothing that carries or steers."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto

# Narrower than this, a product fills no tensor core, and there is little to save: embeddings, routers' gates and heads are.
NARROWEST = 16


@dataclass(frozen=True)
class Layer:
    """A product of activations with weights.

    Args:
        name: of the module that it comes from, the same in every precision: ``encoder.0.expert_2d.feed.0.up``.
        node: of the product in this graph.
        activation, weight: its inputs; many layers may take the same activations.
        axis: that of the weight's outputs.
        products: multiplications for one row of activations.
    """

    name: str
    node: str
    activation: str
    weight: str
    axis: int
    products: int


def find_layers(model: onnx.ModelProto) -> tuple[Layer, ...]:
    """The layers that may be quantised, in the graph's order.

    Of an FP16 graph those whose weights are half precision: what the export left in FP32 (recurrence, decay, state, norms,
    softmax, embedding, heads) stays there. Of an FP32 graph all products with weights that are wide enough.
    """
    weights = {w.name: w for w in model.graph.initializer if len(w.dims) == 2}
    half = any(w.data_type == TensorProto.FLOAT16 for w in weights.values())
    wanted = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    found = []
    for node in model.graph.node:
        weight = weights.get(node.input[1]) if node.op_type in ("MatMul", "Gemm") else None
        if weight is None or weight.data_type != wanted or min(weight.dims) < NARROWEST:
            continue
        turned = any(a.name == "transB" and a.i for a in node.attribute)
        found.append(
            Layer(
                name=node.name.rsplit("/", 1)[0],
                node=node.name,
                activation=node.input[0],
                weight=node.input[1],
                axis=0 if turned else 1,
                products=weight.dims[0] * weight.dims[1],
            )
        )
    return tuple(found)
