"""The layers of a graph with their types, read from the ONNX file alone: for machines without TensorRT."""

from __future__ import annotations

from pathlib import Path

import onnx

from ..runtime.engines.tensorrt.network_layers import NetworkLayer

NAMES = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "DOUBLE": "fp64"}


def layers_in(path: Path) -> list[NetworkLayer]:
    """Each node with the types that it reads and writes, as ONNX infers them; "" where it cannot."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        types[value.name] = value.type.tensor_type.elem_type

    def told(names: list[str]) -> tuple[str, ...]:
        found = [onnx.TensorProto.DataType.Name(types.get(name, 0)) for name in names if name]
        return tuple("" if name == "UNDEFINED" else NAMES.get(name, name.lower()) for name in found)

    return [NetworkLayer(node.name, node.op_type.lower(), told(node.input), told(node.output)) for node in model.graph.node]
