"""Layers: which products may go to INT8, with the same name in every precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from posemoe_edge.calib.graph.layers import MIN_WIDTH, LinearLayer, find_layers
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.artefact.precision import Precision

NEVER = ("embed", "head", "gate", "weigh", "norm", "mixer", "readout")


def layers_of(folder: Path, precision: Precision) -> tuple[LinearLayer, ...]:
    return find_layers(onnx.load(str(folder / read_manifest(folder).graph(precision).file)))


def test_both_precisions_name_their_layers_alike(retention_artefact: Path) -> None:
    fp32, fp16 = (layers_of(retention_artefact, precision) for precision in ("fp32", "fp16"))
    assert [layer.name for layer in fp16] == [layer.name for layer in fp32]
    assert len({layer.name for layer in fp32}) == len(fp32) > 20


@pytest.mark.parametrize("kind", ["retention", "dssm", "attention", "gated", "lookahead-chunk"])
def test_state_gates_heads_and_norms_are_no_layers(kind: str, artefact_of: Callable[[str], Path]) -> None:
    layers = layers_of(artefact_of(kind), "fp32")
    assert layers
    for layer in layers:
        assert not set(layer.name.split(".")) & set(NEVER), layer.name


def test_layers_have_the_names_of_the_modules_that_they_come_from(retention_artefact: Path) -> None:
    names = {layer.name for layer in layers_of(retention_artefact, "fp32")}
    assert {
        "encoder.0.expert_2d.joint_self.project.own",
        "encoder.0.expert_depth.feed.1.down",
        "ceka_time.cross_2d.out",
    } <= names


def test_a_narrow_product_is_no_layer(retention_artefact: Path) -> None:
    path = retention_artefact / read_manifest(retention_artefact).graph().file
    model = onnx.load(str(path))
    narrow = {w.name for w in model.graph.initializer if len(w.dims) == 2 and min(w.dims) < MIN_WIDTH}
    products = {node.input[1] for node in model.graph.node if node.op_type in ("MatMul", "Gemm")}
    assert narrow & products, "otherwise nothing is tested here"
    assert not narrow & {layer.weight for layer in find_layers(model)}
