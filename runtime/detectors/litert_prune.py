"""Networks in ``.tflite`` files without the outputs that nobody reads.

LiteRT computes every output. BlazePose's landmark network also draws the person's outline, which costs a third of its time.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def without_outputs(content: bytes, names: Collection[str]) -> bytes:
    """The network without some of its outputs, and without the operators that only they need.

    The other outputs are computed by the same operators on the same numbers, so they are equal bit for bit.

    Args:
        content: of a ``.tflite`` file.
        names: of the outputs to leave out.

    Returns:
        The content as it is, if the packages that read it (LiteRT's schema, flatbuffers) are not installed: the network is
        only slower then.
    """
    try:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema
    except ImportError:
        return content
    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    graph.outputs = [tensor for tensor in graph.outputs if graph.tensors[tensor].name.decode() not in names]
    needed, operators = set(graph.outputs), []
    for operator in reversed(graph.operators):  # they are in the order of execution
        if needed & set(operator.outputs):
            operators.append(operator)
            needed |= set(operator.inputs)
    graph.operators = operators[::-1]
    model.signatureDefs = []  # they name outputs that are gone
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
