"""INT8 in the graph: codes and scales where they are allowed, as TensorRT and ONNX Runtime alike read them.

Symmetric, zero point 0, signed; weights stored as codes with a scale for each output channel, activations with one for the
tensor; a pair of QuantizeLinear and DequantizeLinear before each input of a product, none after it; the bias stays as it was.
Scales have the graph's own precision, which ONNX allows from opset 19, so that what lies between is FP16 and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ..graph.layers import Layer
from .weights import QuantizedLinear

ZERO = "int8.zero"


def layer_weights(model: onnx.ModelProto, layers: Iterable[Layer]) -> dict[str, NDArray[np.float32]]:
    """(K, N) weights by layer name, whichever way round the graph holds them."""
    held = {w.name: w for w in model.graph.initializer}
    found = {}
    for layer in layers:
        weight = numpy_helper.to_array(held[layer.weight]).astype(np.float32)
        found[layer.name] = weight if layer.axis == 1 else weight.T
    return found


def quantize(model: onnx.ModelProto, layers: Iterable[Layer], coded: Mapping[str, QuantizedLinear]) -> onnx.ModelProto:
    """The graph with these layers as they were coded.

    Args:
        layers: of this graph; all others stay as they are.
        coded: by layer name.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = _Rewriter(made.graph)
    chosen = {layer.node: layer for layer in layers}
    for node in graph.take_nodes():
        if node.name in chosen:
            graph.add_layer(node, chosen[node.name], coded[chosen[node.name].name])
        else:
            graph.put(node)
    graph.drop_unused()
    return made


class _Rewriter:
    """A graph whose nodes are put back one by one. New nodes are named after their layer, new tensors are numbered: shorter."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph, self.nodes = graph, graph.node
        self.held = {w.name: w for w in graph.initializer}
        self.takers = Counter(name for node in graph.node for name in node.input)
        self.takers.update(output.name for output in graph.output)
        self.makers: dict[str, onnx.NodeProto] = {}  # of the tensors of the nodes that are back
        self.coded = 0

    def take_nodes(self) -> list[onnx.NodeProto]:
        taken = list(self.graph.node)
        del self.graph.node[:]
        return taken

    def put(self, node: onnx.NodeProto) -> None:
        self.nodes.append(node)
        self.makers.update(dict.fromkeys(node.output, self.nodes[-1]))  # the graph's own copy: levelling changes it

    def add_layer(self, node: onnx.NodeProto, layer: Layer, coded: QuantizedLinear) -> None:
        """The product with codes for its inputs, and what the shift amounts to after it."""
        self.coded += 1
        dtype = numpy_helper.to_array(self.held[layer.weight]).dtype
        x = node.input[0]
        if coded.shift is not None and coded.factor is not None:
            x = self._level(layer, x, coded.shift, coded.factor, dtype)
        if coded.limit is not None:
            x = self._through_codes(layer, x, coded.step, dtype)
        node.input[0] = x
        node.input[1] = self._weight(layer, coded, dtype)
        made = node.output[0]
        if coded.bias is not None:
            node.output[0] = self._tensor("unshifted")
        self.put(node)
        if coded.bias is not None:
            self._node("Add", [node.output[0], self._keep(self._tensor("bias"), coded.bias, dtype)], made, layer, "shift")

    def drop_unused(self) -> None:
        """Weights that nobody takes any more."""
        used = {name for node in self.nodes for name in node.input}
        kept = [w for w in self.graph.initializer if w.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def _level(self, layer: Layer, x: str, shift: Any, factor: Any, dtype: Any) -> str:
        """(x - shift) / factor: in the norm that x comes from, where it is this layer's alone, else on its own."""
        made = self._norm(x)
        if made is not None:
            weight, bias = (numpy_helper.to_array(self.held[name]).astype(np.float32) for name in made.input[1:3])
            made.input[1] = self._keep(self._tensor("norm.weight"), weight / factor, np.float32)
            made.input[2] = self._keep(self._tensor("norm.bias"), (bias - shift) / factor, np.float32)
            return x
        shift, factor = (self._keep(self._tensor(n), v, dtype) for n, v in (("shift", shift), ("factor", 1 / factor)))
        centred = self._node("Sub", [x, shift], self._tensor("centred"), layer, "level")
        return self._node("Mul", [centred, factor], self._tensor("levelled"), layer, "level")

    def _norm(self, x: str) -> onnx.NodeProto | None:
        """The LayerNormalization whose output, cast or not, is ``x`` and goes nowhere else."""
        node = self.makers.get(x)
        while node is not None and self.takers[node.output[0]] == 1:
            if node.op_type == "LayerNormalization" and len(node.input) == 3 and set(node.input[1:]) <= set(self.held):
                return node
            if node.op_type != "Cast":
                return None
            node = self.makers.get(node.input[0])
        return None

    def _through_codes(self, layer: Layer, x: str, step: float, dtype: Any) -> str:
        scale = self._keep(self._tensor("step"), np.asarray(step), dtype)
        zero = self._keep(ZERO, np.zeros(()), np.int8)
        codes = self._node("QuantizeLinear", [x, scale, zero], self._tensor("codes"), layer, "input")
        return self._node("DequantizeLinear", [codes, scale, zero], self._tensor("coded"), layer, "input")

    def _weight(self, layer: Layer, coded: QuantizedLinear, dtype: Any) -> str:
        codes = coded.codes if layer.axis == 1 else np.ascontiguousarray(coded.codes.T)
        inputs = [
            self._keep(self._tensor("weight.codes"), codes, np.int8),
            self._keep(self._tensor("weight.scale"), coded.scale, dtype),
        ]
        return self._node("DequantizeLinear", inputs, self._tensor("weight"), layer, "weight", axis=layer.axis)

    def _tensor(self, part: str) -> str:
        return f"int8.{self.coded}.{part}"

    def _keep(self, name: str, array: NDArray[Any], dtype: Any) -> str:
        if name not in self.held:
            self.graph.initializer.append(numpy_helper.from_array(np.asarray(array, dtype), name))
            self.held[name] = self.graph.initializer[-1]
        return name

    def _node(self, kind: str, inputs: list[str], output: str, layer: Layer, part: str, **attributes: Any) -> str:
        self.put(helper.make_node(kind, inputs, [output], f"{layer.name}/{part}/{kind}", **attributes))
        return output
