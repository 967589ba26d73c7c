"""The layers of a graph with their types, read from the ONNX file alone: for machines without TensorRT."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx

from ..runtime.engines.tensorrt.network_layers import NetworkLayer

TYPE_NAMES = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "DOUBLE": "fp64", "UNDEFINED": ""}


def layers_in(path: Path) -> list[NetworkLayer]:
    """Each node with the types of its inputs and outputs, as ONNX infers them; "" where it cannot."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        types[value.name] = value.type.tensor_type.elem_type

    def type_names(tensors: Iterable[str]) -> tuple[str, ...]:
        names = (onnx.TensorProto.DataType.Name(types.get(tensor, 0)) for tensor in tensors if tensor)
        return tuple(TYPE_NAMES.get(name, name.lower()) for name in names)

    return [
        NetworkLayer(node.name, node.op_type.lower(), type_names(node.input), type_names(node.output))
        for node in model.graph.node
    ]
