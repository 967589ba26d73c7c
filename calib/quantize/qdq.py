"""QDQ: quantised layers written into a graph, in the form that TensorRT and ONNX Runtime both read.

Symmetric, zero point 0, signed. Weights are stored in INT8 with a scale for each output channel, activations have one scale
for the tensor. A QuantizeLinear / DequantizeLinear pair stands before each input of a product and none after it; the bias stays
as it was. Scales have the graph's own precision, which ONNX allows from opset 19, so that the nodes in between are FP16.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ...runtime.arrays import F32
from ..graph.editor import GraphEditor
from ..graph.layers import LinearLayer
from .quantized_linear import QuantizedLinear

ZERO_POINT = "int8.zero"


def linear_weights(model: onnx.ModelProto, layers: Iterable[LinearLayer]) -> dict[str, F32]:
    """(K, N) float32 weights by layer name, whichever axis order the graph stores."""
    initializers = {w.name: w for w in model.graph.initializer}
    weights = {}
    for layer in layers:
        weight = numpy_helper.to_array(initializers[layer.weight]).astype(np.float32)
        weights[layer.name] = weight if layer.output_axis == 1 else weight.T
    return weights


def insert_qdq(
    model: onnx.ModelProto, layers: Iterable[LinearLayer], quantized: Mapping[str, QuantizedLinear]
) -> onnx.ModelProto:
    """The graph with these layers in INT8.

    Args:
        layers: of this graph; all others stay as they are.
        quantized: by layer name.
    """
    editor = GraphEditor(model)
    layer_of = {layer.node: layer for layer in layers}
    number = 0
    for node in editor.nodes:
        if node.name in layer_of:
            number += 1
            layer = layer_of[node.name]
            _LayerRewriter(editor, node, layer, number).rewrite(quantized[layer.name])
    editor.remove_unused_initializers()
    return editor.build()


class _LayerRewriter:
    """Rewrites one product. New nodes are named after the layer, new tensors by its number, which is shorter.

    The last part of each name (``level``, ``step``, ``codes`` ...) is that of the first artefacts: graphs stay the same byte by
    byte, and ``compare.matches`` finds the nodes of older ones.
    """

    def __init__(self, editor: GraphEditor, product: onnx.NodeProto, layer: LinearLayer, number: int) -> None:
        self.editor, self.product, self.layer = editor, product, layer
        self.prefix = f"int8.{number}"
        self.dtype = editor.initializer(layer.weight).dtype

    def rewrite(self, quantized: QuantizedLinear) -> None:
        """Smooth and quantise the product's inputs, and add the bias of the smoothing to its output."""
        x = self.product.input[0]
        if quantized.channel_shift is not None and quantized.channel_scale is not None:
            x = self._smooth(x, quantized.channel_shift, quantized.channel_scale)
        if quantized.amax is not None:
            x = self._quantize_dequantize(x, quantized.activation_scale)
        self.product.input[0] = x
        self.product.input[1] = self._weight(quantized)
        if quantized.bias is not None:
            output = self.product.output[0]
            unshifted = self.editor.rename_output(self.product, output, self._tensor("unshifted"))
            bias = self._initializer("bias", quantized.bias)
            self.editor.insert_after(self.product, self._make("Add", [unshifted, bias], output, "shift"))

    def _smooth(self, x: str, shift: F32, scale: F32) -> str:
        """(x - shift) / scale: folded into the norm that produces x if nothing else reads it, otherwise two operations."""
        norm = self._norm(x)
        if norm is not None:
            weight, bias = (self.editor.initializer(name).astype(np.float32) for name in norm.input[1:3])
            norm.input[1] = self._initializer("norm.weight", weight / scale, np.float32)
            norm.input[2] = self._initializer("norm.bias", (bias - shift) / scale, np.float32)
            return x
        shift_name, factor_name = self._initializer("shift", shift), self._initializer("factor", 1 / scale)
        centred = self._insert("Sub", [x, shift_name], self._tensor("centred"), "level")
        return self._insert("Mul", [centred, factor_name], self._tensor("levelled"), "level")

    def _norm(self, x: str) -> onnx.NodeProto | None:
        """The LayerNormalization whose output, cast or not, is ``x`` and has no other reader."""
        node = self.editor.producer(x)
        while node is not None and self.editor.uses(node.output[0]) == 1:
            if (
                node.op_type == "LayerNormalization"
                and len(node.input) == 3
                and all(map(self.editor.is_initializer, node.input[1:]))
            ):
                return node
            if node.op_type != "Cast":
                return None
            node = self.editor.producer(node.input[0])
        return None

    def _quantize_dequantize(self, x: str, scale: float) -> str:
        scale_name = self._initializer("step", np.asarray(scale))
        if not self.editor.is_initializer(ZERO_POINT):
            self.editor.add_initializer(ZERO_POINT, np.zeros((), np.int8))
        quantized = self._insert("QuantizeLinear", [x, scale_name, ZERO_POINT], self._tensor("codes"), "input")
        return self._insert("DequantizeLinear", [quantized, scale_name, ZERO_POINT], self._tensor("coded"), "input")

    def _weight(self, quantized: QuantizedLinear) -> str:
        axis = self.layer.output_axis
        qweight = quantized.qweight if axis == 1 else np.ascontiguousarray(quantized.qweight.T)
        inputs = [
            self._initializer("weight.codes", qweight, np.int8),
            self._initializer("weight.scale", quantized.weight_scale),
        ]
        return self._insert("DequantizeLinear", inputs, self._tensor("weight"), "weight", axis=axis)

    def _tensor(self, part: str) -> str:
        return self.editor.unique_name(f"{self.prefix}.{part}")

    def _initializer(self, part: str, array: NDArray[Any], dtype: Any = None) -> str:
        """A new weight of the layer, in the graph's precision unless a type is given."""
        return self.editor.add_initializer(self._tensor(part), np.asarray(array, dtype or self.dtype))

    def _insert(self, op_type: str, inputs: list[str], output: str, part: str, **attributes: Any) -> str:
        self.editor.insert_before(self.product, self._make(op_type, inputs, output, part, **attributes))
        return output

    def _make(self, op_type: str, inputs: list[str], output: str, part: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op_type, inputs, [output], f"{self.layer.name}/{part}/{op_type}", **attributes)
