"""External data: weights of an ONNX graph in files beside it, which no hash of an artefact covers. Such graphs are refused."""

from __future__ import annotations

from ..errors import ArtefactError
from .protobuf import fields, varint

# Message -> field number -> the message in that field; only those on the way to a tensor (onnx.proto).
MESSAGES: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # of TensorProto: where the data is, and whether it is elsewhere


def refuse_external_data(graph: bytes, place: str) -> None:
    """Raise an ArtefactError if a tensor of an ONNX graph has its data in another file, or if it is no ONNX graph.

    Args:
        place: the graph's file, for the message.
    """
    try:
        external = _has_external_data(graph)
    except (ValueError, IndexError) as error:
        raise ArtefactError(
            f"cannot open {place}: it is not an ONNX file ({error})", expected="a graph that export wrote"
        ) from error
    if external:
        raise ArtefactError(
            f"{place} has weights in another file, which no hash covers",
            expected="a graph with its weights inside, as export writes it",
            run="posemoe-edge export",
        )


def _has_external_data(graph: bytes) -> bool:
    pending = [("Model", 0, len(graph))]
    while pending:
        message, start, end = pending.pop()
        if message == "Tensor":
            for number, (at, _) in fields(graph, start, end):
                if number == EXTERNAL_DATA or (number == DATA_LOCATION and varint(graph, at)[0]):
                    return True
            continue
        inner = MESSAGES[message]
        pending += [(inner[number], *span) for number, span in fields(graph, start, end) if number in inner]
    return False
