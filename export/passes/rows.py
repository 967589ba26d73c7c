"""The pass that writes tokens as rows of a matrix, so that a linear layer is one Gemm with its bias.

Features are (B, J, C), or (B, T, J, C) in a window. An operator that treats every token alike can as well read (B J, C), and
only a product of two axes takes its bias along. Reshapes are left at the borders of such regions, where tokens meet: most of
them were there before, as the splitting into heads.
"""

from __future__ import annotations

from math import prod

import onnx
import onnx_ir as ir

from .agreement import outputs_agree
from .graph_pass import GraphPass
from .rewriting import RewritableGraph, attribute, rewritten
from .shapes import Shape, Streams

_UNARY = frozenset({"Gelu", "Sigmoid", "Tanh", "Erf", "Exp", "Log", "Sqrt", "Neg", "Abs", "Relu", "Cast"})
_BINARY = frozenset({"Add", "Sub", "Mul", "Div"})


def tokens_as_rows(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its linear layers as Gemms, and what lies between them on matrices of one row a token."""
    return rewritten(model, _rewrite)


def _rewrite(graph: RewritableGraph) -> None:
    for node in list(graph.graph):
        _to_gemm(graph, node)
    region = [node for node in graph.graph if node.op_type == "Gemm" or _treats_tokens_alike(graph, node)]
    region = _with_least_borders(graph, _connected(graph, region))
    _to_rows(graph, region)


def _to_gemm(graph: RewritableGraph, node: ir.Node) -> None:
    """Make a product of tokens with a weight, and the bias added to it, a Gemm, which is not valid until it reads rows."""
    weight, tokens = graph.constant(node.inputs[1]) if node.op_type == "MatMul" else None, graph.shape(node.inputs[0])
    product = node.outputs[0]
    readers = list(product.consumers())
    if weight is None or weight.ndim != 2 or not _are_tokens(tokens) or len(readers) != 1 or product.is_graph_output():
        return
    (add,) = readers
    if add.op_type != "Add" or add.outputs[0].is_graph_output():
        return
    bias = next((value for value in add.inputs if value is not product), None)
    numbers = graph.constant(bias)
    if numbers is None or numbers.shape != weight.shape[1:]:
        return
    shape = graph.shape(add.outputs[0])
    assert shape is not None
    name = f"{node.name.removesuffix('MatMul')}Gemm" if node.name and node.name.endswith("MatMul") else f"{node.name}.gemm"
    (output,) = graph.insert_before(add, "Gemm", [*node.inputs, bias], [shape], name=name)
    add.outputs[0].replace_all_uses_with(output)
    graph.graph.remove([add], safe=True)
    graph.graph.remove([node], safe=True)


def _are_tokens(shape: Shape | None) -> bool:
    """Whether a tensor has a channel axis after the stream and at least one more axis."""
    return shape is not None and len(shape) > 2 and isinstance(shape[0], Streams) and all(isinstance(n, int) for n in shape[1:])


def _treats_tokens_alike(graph: RewritableGraph, node: ir.Node) -> bool:
    """Whether an operator computes each token from the same token of its inputs."""
    shape = graph.shape(node.outputs[0])
    if not _are_tokens(shape) or any(output.is_graph_output() for output in node.outputs):
        return False
    assert shape is not None
    last = (len(shape) - 1, -1)
    tokens = [value for value in node.inputs if value is not None and graph.constant(value) is None]
    if any(_lead(graph, value) != shape[:-1] for value in tokens):
        return False
    match node.op_type:
        case "MatMul":
            weight = graph.constant(node.inputs[1])
            return weight is not None and weight.ndim == 2 and len(tokens) == 1
        case "LayerNormalization":
            return len(node.outputs) == 1 and attribute(node, "axis", -1) in last
        case "Split" | "Concat":
            return attribute(node, "axis", 0) in last and len(tokens) == (1 if node.op_type == "Split" else len(node.inputs))
        case "Softmax":
            return attribute(node, "axis", -1) in last
        case _ if node.op_type in _BINARY:
            constants = [graph.constant(value) for value in node.inputs if value not in tokens]
            return all(numbers is not None and prod(numbers.shape[:-1]) == 1 for numbers in constants)
        case _:
            return node.op_type in _UNARY


def _lead(graph: RewritableGraph, value: ir.Value) -> Shape | None:
    """The axes of a tensor before its channels."""
    shape = graph.shape(value)
    return None if shape is None else shape[:-1]


def _connected(graph: RewritableGraph, nodes: list[ir.Node]) -> set[ir.Node]:
    """Those of the nodes that a Gemm of tokens reaches through the others."""
    inside = set(nodes)
    reached = {node for node in nodes if node.op_type == "Gemm" and _are_tokens(graph.shape(node.outputs[0]))}
    frontier = list(reached)
    while frontier:
        node = frontier.pop()
        for neighbour in (*node.predecessors(), *node.successors()):
            if neighbour in inside and neighbour not in reached:
                reached.add(neighbour)
                frontier.append(neighbour)
    return reached


def _with_least_borders(graph: RewritableGraph, region: set[ir.Node]) -> list[ir.Node]:
    """The region without nodes that would only need further Reshapes around them, in the graph's order."""
    changed = True
    while changed:
        changed = False
        for node in [node for node in graph.graph if node in region and node.op_type != "Gemm"]:
            around = [value for value in (*node.inputs, *node.outputs) if value is not None and graph.constant(value) is None]
            before = sum(_reshapes(value, region) for value in around)
            if sum(_reshapes(value, region - {node}) for value in around) <= before:
                region, changed = region - {node}, True
    return [node for node in graph.graph if node in region]


def _reshapes(value: ir.Value, region: set[ir.Node]) -> int:
    """How many Reshapes a tensor needs at the border of a region: none where one is there already."""
    producer, readers = value.producer(), value.consumers()
    if producer in region:
        return int(value.is_graph_output() or any(node not in region and node.op_type != "Reshape" for node in readers))
    comes_from_reshape = producer is not None and producer.op_type == "Reshape"
    return int(not comes_from_reshape and any(node in region for node in readers))


def _to_rows(graph: RewritableGraph, region: list[ir.Node]) -> None:
    inside, rows = set(region), dict[ir.Value, ir.Value]()
    for node in region:
        for index, value in enumerate(node.inputs):
            if value is None:
                continue
            numbers, shape = graph.constant(value), graph.shape(value)
            if numbers is not None:
                if node.op_type in _BINARY and numbers.ndim > 1:
                    node.replace_input_with(index, graph.add_constant(f"{value.name}.row", numbers.reshape(numbers.shape[-1:])))
            elif value.producer() not in inside:
                assert shape is not None
                if value not in rows:
                    rows[value] = graph.reshape_before(node, value, _row_shape(shape), name=f"{value.name}.rows")
                node.replace_input_with(index, rows[value])
        if "axis" in node.attributes:
            node.attributes["axis"] = ir.AttrInt64("axis", -1)
    for node in region:
        for output in node.outputs:
            shape = graph.shape(output)
            assert shape is not None
            outside = [(reader, index) for reader, index in output.uses() if reader not in inside]
            graph.note_shape(output, _row_shape(shape))
            if output.shape is not None:
                output.shape = None
            if not outside:
                continue
            readers = {reader for reader, _ in outside}
            anchor = next(reader for reader in graph.graph if reader in readers)
            tokens = graph.reshape_before(anchor, output, shape, name=f"{output.name}.tokens")
            for reader, index in outside:
                reader.replace_input_with(index, tokens)


def _row_shape(shape: Shape) -> Shape:
    """(B J, C) of (B, J, C)"""
    channels, streams = shape[-1], shape[0]
    assert isinstance(streams, Streams)
    return (Streams(streams.times * prod(axis for axis in shape[1:-1] if isinstance(axis, int))), channels)


TOKENS_AS_ROWS = GraphPass("tokens_as_rows", tokens_as_rows, outputs_agree, tolerance=1e-4)
