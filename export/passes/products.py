"""The pass that makes one product of linear layers that read the same input."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from functools import partial

import numpy as np
import onnx
import onnx_ir as ir

from ...calib.graph.layers import layer_name
from .agreement import outputs_agree
from .graph_pass import GraphPass
from .rewriting import RewritableGraph, attribute, rewritten
from .shapes import Shape


def merge_products_pass(half_layers: Collection[str] = ()) -> GraphPass:
    """The pass for a network of which these linear layers, by name, are half precision in its FP16 graph.

    They are merged with each other only, so that layers are the same in the graphs of all precisions: INT8 weights are made
    from the FP32 graph and put into the FP16 graph, layer by layer.
    """
    layers = frozenset(half_layers)
    apply = partial(merge_products, half_layers=layers)
    return GraphPass("merge_products", apply, outputs_agree, tolerance=1e-4, half_tolerance=5e-3)


def merge_products(model: onnx.ModelProto, half_layers: frozenset[str] = frozenset()) -> onnx.ModelProto:
    """The graph with one Gemm for all that read the same tensor; norms of one tensor are made one, their scales weights.

    An example are the keys and values that all layers of a PoseMoE make of one and the same F_P.

    Args:
        half_layers: names of layers that are merged with each other only.
    """
    return rewritten(rewritten(model, _share_norms), partial(_merge, half_layers=half_layers))


def _share_norms(graph: RewritableGraph) -> None:
    """Where several norms of a tensor feed nothing but Gemms: their scales and biases within the weights of those."""
    norms: dict[object, list[ir.Node]] = defaultdict(list)
    for node in graph.graph:
        if node.op_type == "LayerNormalization" and len(node.outputs) == 1 and _layers_after(graph, node):
            norms[node.inputs[0], attribute(node, "axis", -1), attribute(node, "epsilon", 1e-5)].append(node)
    for group in norms.values():
        if len(group) < 2:
            continue
        for node in group:
            scale, bias = graph.constant(node.inputs[1]), graph.constant(node.inputs[2]) if len(node.inputs) > 2 else None
            assert scale is not None
            for layer in _layers_after(graph, node):
                _take_norm(graph, layer, scale, np.zeros_like(scale) if bias is None else bias)
            node.replace_input_with(1, graph.add_constant("norm.one", np.ones_like(scale)))
            if len(node.inputs) > 2:
                node.replace_input_with(2, graph.add_constant("norm.zero", np.zeros_like(scale)))


def _layers_after(graph: RewritableGraph, norm: ir.Node) -> list[ir.Node]:
    """The Gemms that alone read a norm, directly or through a Cast; none if anything else does."""
    if graph.constant(norm.inputs[1]) is None or any(graph.constant(value) is None for value in norm.inputs[2:3]):
        return []
    layers = []
    for reader, index in norm.outputs[0].uses():
        readers = [(reader, index)] if reader.op_type != "Cast" else list(reader.outputs[0].uses())
        if any(not _is_layer(graph, node) or i for node, i in readers):
            return []
        layers += [node for node, _ in readers]
    return layers


def _is_layer(graph: RewritableGraph, node: ir.Node) -> bool:
    """Whether a node is a plain Gemm with weight and bias, and no output of the graph."""
    constants = [graph.constant(value) for value in node.inputs[1:]]
    plain = node.op_type == "Gemm" and not node.attributes and len(constants) == 2 and not node.outputs[0].is_graph_output()
    return plain and all(numbers is not None for numbers in constants)


def _take_norm(graph: RewritableGraph, layer: ir.Node, scale: np.ndarray, bias: np.ndarray) -> None:
    """(x s + b) W + c as x (s W) + (b W + c)."""
    weight, constant = (graph.constant(value) for value in layer.inputs[1:])
    assert weight is not None and constant is not None
    wide = weight.astype(np.float64)
    for index, numbers in ((1, scale[:, None] * wide), (2, constant + bias @ wide)):
        name = f"{layer.inputs[index].name}.normed"  # type: ignore[union-attr]
        layer.replace_input_with(index, graph.add_constant(name, numbers.astype(weight.dtype)))


def _merge(graph: RewritableGraph, half_layers: frozenset[str]) -> None:
    for source in [output for node in list(graph.graph) for output in node.outputs]:
        layers = [node for node, index in source.uses() if not index and _is_layer(graph, node)]
        for is_half in (True, False):
            alike = [layer for layer in layers if (layer_name(layer.name or "") in half_layers) == is_half]
            if len(alike) > 1:
                _merge_layers(graph, source, alike)


def _merge_layers(graph: RewritableGraph, source: ir.Value, layers: list[ir.Node]) -> None:
    """One Gemm and one Split; a Split of what a layer gave becomes part of it."""
    first = min(layers, key=graph.graph.index)
    weight, bias = (
        np.concatenate([numbers for layer in layers if (numbers := graph.constant(layer.inputs[i])) is not None], axis=-1)
        for i in (1, 2)
    )
    parts: list[tuple[int, ir.Value]] = []  # width, and the value that the part takes the place of
    for layer in layers:
        parts += _parts(graph, layer)
    shape = graph.shape(first.outputs[0])
    assert shape is not None and first.name is not None
    whole: Shape = (*shape[:-1], weight.shape[-1])
    constants = [graph.add_constant(f"{first.name}.{kind}", numbers) for kind, numbers in (("weight", weight), ("bias", bias))]
    (product,) = graph.insert_before(first, "Gemm", [source, *constants], [whole], name=first.name)
    sizes = graph.add_constant(f"{first.name}.sizes", np.array([width for width, _ in parts], np.int64))
    shapes: list[Shape] = [(*shape[:-1], width) for width, _ in parts]
    outputs = graph.insert_before(first, "Split", [product, sizes], shapes, {"axis": -1}, name=f"{first.name}.split")
    for (_, value), output in zip(parts, outputs, strict=True):
        value.replace_all_uses_with(output)


def _parts(graph: RewritableGraph, layer: ir.Node) -> list[tuple[int, ir.Value]]:
    """What is read of a layer's output: its parts, if a Split is all that reads it, else the whole."""
    output = layer.outputs[0]
    readers = [reader for reader, _ in output.uses()]
    shape = graph.shape(output)
    assert shape is not None
    is_split = len(readers) == 1 and readers[0].op_type == "Split" and attribute(readers[0], "axis", 0) in (-1, len(shape) - 1)
    values = list(readers[0].outputs) if is_split else [output]
    if any(value.is_graph_output() for value in values):
        values = [output]
    widths = [shape[-1] for value in values if (shape := graph.shape(value)) is not None]
    return [(width, value) for width, value in zip(widths, values, strict=True) if isinstance(width, int)]
