"""Linear layers of a graph that may go to INT8: products of activations with weights."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto

from .operators import MATRIX_PRODUCTS

# A narrower product fills no tensor core and saves little. Embeddings, routers' gates and heads are narrower.
MIN_WIDTH = 16


@dataclass(frozen=True)
class LinearLayer:
    """A product of activations with weights.

    Args:
        name: the module that it comes from, the same in every precision: ``encoder.0.expert_2d.feed.0.up``.
        node: name of the product's node in this graph.
        activation, weight: names of its inputs; many layers may read the same activations.
        output_axis: the weight's axis that runs over the outputs.
        macs: multiply-accumulates for one row of activations.
    """

    name: str
    node: str
    activation: str
    weight: str
    output_axis: int
    macs: int


def find_layers(model: onnx.ModelProto) -> tuple[LinearLayer, ...]:
    """The layers that may be quantised, in the graph's order.

    In an FP16 graph, these are the ones whose weights are half precision: what the export left in FP32 (recurrence, decay,
    state, norms, softmax, embedding, heads) stays there. In an FP32 graph, they are all products with weights at least 16 wide.
    """
    weights = {w.name: w for w in model.graph.initializer if len(w.dims) == 2}
    half = any(w.data_type == TensorProto.FLOAT16 for w in weights.values())
    data_type = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    layers = []
    for node in model.graph.node:
        weight = weights.get(node.input[1]) if node.op_type in MATRIX_PRODUCTS else None
        if weight is None or weight.data_type != data_type or min(weight.dims) < MIN_WIDTH:
            continue
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        layers.append(
            LinearLayer(
                name=layer_name(node.name),
                node=node.name,
                activation=node.input[0],
                weight=node.input[1],
                output_axis=0 if transposed else 1,
                macs=weight.dims[0] * weight.dims[1],
            )
        )
    return tuple(layers)


def layer_name(node_name: str) -> str:
    """The module that a node comes from: ``encoder.0.expert_2d.feed.0.up`` of ``encoder.0.expert_2d.feed.0.up/Gemm``."""
    return node_name.rsplit("/", 1)[0]
