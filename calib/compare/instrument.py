"""Instrumented graphs: one in which each tensor's own error is seen alone, and one to whose tensors errors are added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...runtime.arrays import F32
from ..graph.editor import GraphEditor
from .matches import TensorMatch, tensor_types


def isolate_errors(model: onnx.ModelProto, matches: Sequence[TensorMatch]) -> onnx.ModelProto:
    """The other graph, cut at each matched tensor, so that no error reaches the next one.

    The nodes that read a matched tensor read a new input instead, ``TensorMatch.exact_input``.

    Args:
        model: the result of ``for_one_stream``.
    """
    types = tensor_types(model)
    exact_inputs = {match.other: match.exact_input for match in matches}
    editor = GraphEditor(model)
    editor.replace_inputs(exact_inputs)
    for tensor, exact_input in exact_inputs.items():
        value = onnx.ValueInfoProto()
        value.CopyFrom(types[tensor])
        value.name = exact_input
        editor.add_input(value)
    return editor.build()


def inject_errors(model: onnx.ModelProto, errors: Sequence[Mapping[str, F32]]) -> onnx.ModelProto:
    """The graph with errors added to its tensors, in each stream of a launch other ones.

    It has one more input, ``shares`` (B, N): the factor by which a stream gets each of the N errors.

    Args:
        model: for any number of streams, along the first axis of every tensor: one row of it for each, or as many.
        errors: N errors, each by the tensors that it is added to, (rows of one stream, ...).
    """
    editor = GraphEditor(model)
    error_of = {name: n for n, error in enumerate(errors) for name in error}
    for n in range(len(errors)):
        index = editor.add_initializer(f"share.{n}.at", np.array(n))
        editor.prepend(helper.make_node("Gather", ["shares", index], [f"share.{n}"], axis=1))  # (B,)
    editor.add_input(helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["B", len(errors)]))
    for node in editor.nodes:
        for name in [name for name in node.output if name in error_of]:
            n = error_of[name]
            error = errors[n][name]
            unmoved = editor.rename_output(node, name, f"{name}.unmoved")
            axes = editor.add_initializer(f"{name}.axes", np.array([-1, *[1] * error.ndim]))
            whole = editor.add_initializer(f"{name}.whole", error[None])
            shape = editor.add_initializer(f"{name}.shape", np.array([-1, *error.shape[1:]]))
            for added in (
                helper.make_node("Reshape", [f"share.{n}", axes], [f"{name}.share"]),  # (B, 1, 1, ...)
                helper.make_node("Mul", [f"{name}.share", whole], [f"{name}.of_streams"]),  # (B, rows, ...)
                helper.make_node("Reshape", [f"{name}.of_streams", shape], [f"{name}.shift"]),
                helper.make_node("Add", [unmoved, f"{name}.shift"], [name]),
            ):
                editor.insert_after(node, added)
    return editor.build()
