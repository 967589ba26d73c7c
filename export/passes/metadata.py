"""The pass that removes everything from a graph that no engine needs and that describes how the graph was made."""

from __future__ import annotations

import onnx

from .agreement import same_computation
from .graph_pass import GraphPass, copy_graph


def strip_metadata(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without metadata, documentation and inferred shapes: they name source files of the exporting machine.

    The names of the nodes stay.
    """
    stripped = copy_graph(model)
    del stripped.metadata_props[:]
    del stripped.graph.metadata_props[:]
    del stripped.graph.value_info[:]
    for node in stripped.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return stripped


STRIP_METADATA = GraphPass("strip_metadata", strip_metadata, same_computation)
