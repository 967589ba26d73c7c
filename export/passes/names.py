"""The pass that names each node after the PyTorch module that it comes from."""

from __future__ import annotations

import ast
from collections import Counter

import onnx

from .agreement import same_computation
from .graph_pass import GraphPass, copy_graph

SCOPES = "pkg.torch.onnx.name_scopes"  # the exporter's metadata: the names of the modules around a node, outermost first


def name_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with each node named after its module: ``encoder.0.expert_2d.feed.0.up/MatMul``.

    A layer then has the same name in the graphs of all precisions, in calibration, and in the reports of every engine.
    """
    named = copy_graph(model)
    uses: Counter[str] = Counter()
    for node in named.graph.node:
        name = f"{_module_of(node)}/{node.op_type}".lstrip("/")
        uses[name] += 1
        node.name = name if uses[name] == 1 else f"{name}_{uses[name]}"
    return named


def _module_of(node: onnx.NodeProto) -> str:
    """The dotted name of the node's module within the lifter; "" where the exporter recorded none."""
    scopes: list[str] = next((ast.literal_eval(entry.value) for entry in node.metadata_props if entry.key == SCOPES), [])
    return scopes[-2].removeprefix("model").lstrip(".") if len(scopes) > 1 else ""


NAME_NODES = GraphPass("name_nodes", name_nodes, same_computation)
