"""Places: the tensors that two graphs of one model both compute, and graphs that are opened there.

Nodes are named after their modules in every precision, so a tensor's place in the network is the name of the node that makes
it. What only moves numbers is no place: it differs as its inputs do. Neither is a norm into which a quantised layer's
levelling was folded: it answers with other numbers by design.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..graph.half_rounding import MOVES, PRODUCTS, is_half, round_to_half

PASSED_BY = MOVES | {"Cast", "QuantizeLinear", "DequantizeLinear"}
NUMBERS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})


@dataclass(frozen=True)
class TensorMatch:
    """A tensor of both graphs.

    Args:
        node: that makes it: ``encoder.0.router/Softmax``.
        exact, other: its name in the one graph and in the other.
    """

    node: str
    exact: str
    other: str

    @property
    def layer(self) -> str:
        """The module that it belongs to: ``encoder.0.router``."""
        return self.node.partition("/")[0]

    @property
    def given(self) -> str:
        """The input of ``isolate_errors`` that stands for it."""
        return f"{self.other}.given"


def match_tensors(exact: onnx.ModelProto, other: onnx.ModelProto) -> tuple[TensorMatch, ...]:
    """Where two graphs of one model can be compared, in the first one's order."""
    types = {name: value.type.tensor_type.elem_type for name, value in _values(of_one_stream(exact)).items()}
    here, there = ({node.name: node for node in model.graph.node} for model in (exact, other))
    found = []
    for node in exact.graph.node:
        same = there.get(node.name)
        if same is None or node.op_type in PASSED_BY or types[node.output[0]] not in NUMBERS:
            continue
        if node.op_type == "LayerNormalization" and node.input[1:] != same.input[1:]:
            continue
        shift = f"{node.name.partition('/')[0]}/shift/Add"  # makes up for what was levelled before the product
        if node.op_type in PRODUCTS and shift not in here:
            same = there.get(shift, same)
        found.append(TensorMatch(node.name, node.output[0], same.output[0]))
    return tuple(found)


def as_computed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph as ONNX Runtime's CPU has to be given it: half precision rounded explicitly."""
    return round_to_half(model) if is_half(model) else model


def of_one_stream(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph for one stream, with the type and the shape of each of its tensors."""
    one = _copy(model)
    for value in (*one.graph.input, *one.graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_value = 1
    one = onnx.shape_inference.infer_shapes(one, strict_mode=True, data_prop=True)
    one.graph.value_info.extend(one.graph.output)  # still told when others are its outputs
    return one


def isolate_errors(model: onnx.ModelProto, places: Sequence[TensorMatch]) -> onnx.ModelProto:
    """The other graph, cut at each place: what comes after takes an input, ``TensorMatch.given``, and no error is handed on.

    Args:
        model: ``of_one_stream``.
    """
    values, made = _values(model), _copy(model)
    instead = {place.other: place.given for place in places}
    for node in made.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = instead.get(name, name)
    for name, given in instead.items():
        made.graph.input.append(values[name])
        made.graph.input[-1].name = given
    return made


def inject_errors(model: onnx.ModelProto, shifts: Sequence[Mapping[str, NDArray[np.float32]]]) -> onnx.ModelProto:
    """The graph, to whose tensors something is added, in each stream of a launch something else.

    It has one more input, ``shares`` (B, N): how much of each of the N shifts a stream gets.

    Args:
        model: for any number of streams, the first axis of every tensor.
        shifts: each by the tensors that it is added to, (1, ...).
    """
    made = _copy(model)
    nodes = list(made.graph.node)
    del made.graph.node[:]
    number = {name: n for n, shift in enumerate(shifts) for name in shift}

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        made.graph.node.append(helper.make_node(kind, inputs, [output], **attributes))

    def keep(array: NDArray[Any], name: str) -> str:
        made.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    for n in range(len(shifts)):
        add("Gather", ["shares", keep(np.array(n), f"share.{n}.at")], f"share.{n}", axis=1)  # (B,)
    for node in nodes:
        moved = [name for name in node.output if name in number]
        for i, name in enumerate(node.output):
            node.output[i] = f"{name}.unmoved" if name in number else name
        made.graph.node.append(node)
        for name in moved:
            shift = shifts[number[name]][name]
            axes = keep(np.array([-1, *[1] * (shift.ndim - 1)]), f"{name}.axes")
            add("Reshape", [f"share.{number[name]}", axes], f"{name}.share")  # (B, 1, ...)
            add("Mul", [f"{name}.share", keep(shift, f"{name}.whole")], f"{name}.shift")
            add("Add", [f"{name}.unmoved", f"{name}.shift"], name)
    made.graph.input.append(helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["B", len(shifts)]))
    return made


def _values(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    return {value.name: value for value in model.graph.value_info}


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made
