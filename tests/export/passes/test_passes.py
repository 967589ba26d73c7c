"""Passes: each is applied in order, checked against its tolerance, and recorded; none changes its argument."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from posemoe_edge.export.passes import NAME_NODES, SIMPLIFY, STRIP_METADATA, GraphPass, contract_pass, export_passes, run_passes
from posemoe_edge.export.passes.agreement import outputs_agree, same_computation
from posemoe_edge.export.passes.graph_pass import copy_graph
from posemoe_edge.export.passes.names import SCOPES
from posemoe_edge.runtime import ArtefactError
from posemoe_edge.runtime.artefact.graph_parts import AppliedPass
from posemoe_edge.runtime.artefact.manifest import read_manifest


def two_products() -> onnx.ModelProto:
    """y = (x @ w) @ w, as PyTorch's exporter would leave it: with scopes, documentation, and the names of files."""
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["B", 3]) for name in ("x", "y")]
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], "a"), helper.make_node("MatMul", ["h", "w"], ["y"], "b")]
    for node in nodes:
        node.doc_string = "/home/me/model.py"
        node.metadata_props.add(key=SCOPES, value=str(["", "model.feed.up", "matmul"]))
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model.metadata_props.add(key="made_by", value="/home/me/export.py")
    return model


def test_the_passes_come_in_the_order_that_they_need() -> None:
    assert export_passes()[:3] == (NAME_NODES, SIMPLIFY, STRIP_METADATA)
    assert [item.name for item in export_passes()[3:]] == [
        "drop_expands",
        "split_slices",
        "tokens_as_rows",
        "merge_products",
        "fold_scales",
        "fold_views",
    ]


def test_nodes_are_named_after_their_modules_and_numbered_from_the_second() -> None:
    named, _ = run_passes(two_products(), [NAME_NODES])
    assert [node.name for node in named.graph.node] == ["feed.up/MatMul", "feed.up/MatMul_2"]


def test_stripping_removes_everything_but_names_and_computation() -> None:
    stripped, _ = run_passes(two_products(), [STRIP_METADATA])
    assert b"/home/me" not in stripped.SerializeToString()
    assert [node.name for node in stripped.graph.node] == ["a", "b"]


@pytest.mark.parametrize("graph_pass", export_passes(), ids=lambda item: item.name)
def test_a_pass_leaves_its_argument_alone(graph_pass: GraphPass) -> None:
    model = two_products()
    before = model.SerializeToString(deterministic=True)
    run_passes(model, [graph_pass])
    assert model.SerializeToString(deterministic=True) == before


def test_what_was_applied_is_recorded_with_tolerance_and_version() -> None:
    _, applied = run_passes(two_products(), export_passes()[:3])
    assert applied == (
        AppliedPass(name="name_nodes", tolerance=0),
        AppliedPass(name="simplify", tolerance=1e-3, package="onnxsim", version=version("onnxsim")),
        AppliedPass(name="strip_metadata", tolerance=0),
    )


def test_the_manifest_of_an_export_records_the_passes_of_each_graph(retention_artefact: Path) -> None:
    names = [*(item.name for item in export_passes()), "check_contract"]
    assert [[item.name for item in graph.passes] for graph in read_manifest(retention_artefact).graphs] == [names, names]


def test_a_pass_that_changes_the_computation_is_refused() -> None:
    def drop_a_product(model: onnx.ModelProto) -> onnx.ModelProto:
        changed = copy_graph(model)
        changed.graph.node[1].input[0] = "x"
        return changed

    broken = GraphPass("drop_a_product", drop_a_product, same_computation)
    with pytest.raises(ArtefactError, match="the pass drop_a_product changed what the graph computes"):
        run_passes(two_products(), [broken])


@pytest.mark.parametrize(("field", "same"), [("name", True), ("doc_string", True), ("op_type", False), ("domain", False)])
def test_only_what_is_computed_counts(field: str, same: bool) -> None:
    model = two_products()
    changed = copy_graph(model)
    setattr(changed.graph.node[0], field, "Other")
    assert same_computation(model, changed) is same


def test_a_changed_weight_is_seen_bit_for_bit_and_by_its_outputs() -> None:
    model = two_products()
    changed = copy_graph(model)
    slightly = np.eye(3, dtype=np.float32) * np.float32(1 + 1e-6)
    changed.graph.initializer[0].CopyFrom(numpy_helper.from_array(slightly, "w"))
    assert not same_computation(model, changed)
    assert outputs_agree(model, changed, tolerance=1e-3) and not outputs_agree(model, changed, tolerance=1e-8)


def test_the_contract_is_a_pass_that_changes_nothing(retention_artefact: Path) -> None:
    graph = read_manifest(retention_artefact).graph("fp32")
    model = onnx.load(retention_artefact / graph.file)
    checked, applied = run_passes(model, [contract_pass(graph.inputs, graph.outputs)])
    assert checked is model and [item.name for item in applied] == ["check_contract"]
