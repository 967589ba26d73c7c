"""Sensitivity: each layer alone, and as much INT8 as a budget allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posemoe_edge.calib.graph.layers import LinearLayer, find_layers
from posemoe_edge.calib.measure.budget import budget_for
from posemoe_edge.calib.measure.recording import Recording
from posemoe_edge.calib.quantize.qdq import linear_weights
from posemoe_edge.calib.quantize.quantized_linear import QuantizedLinear, quantize_weights
from posemoe_edge.calib.quantize.sensitivity import lift_streams, select_int8_layers, sensitivity_mm, within_budget
from posemoe_edge.runtime.artefact.manifest import read_manifest


def named(count: int) -> list[LinearLayer]:
    return [LinearLayer(f"layer{i}", f"layer{i}/MatMul", "x", "w", 1, 256) for i in range(count)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0, 10))
def test_the_mix_leaves_out_the_most_harmful_and_no_more_than_it_must(harm: list[float], allowed: float) -> None:
    layers = named(len(harm))
    alone = {layer.name: size for layer, size in zip(layers, harm, strict=True)}

    def passes(some: Sequence[LinearLayer]) -> bool:
        return sum(alone[layer.name] for layer in some) <= allowed

    kept = select_int8_layers(layers, alone, passes)
    assert passes(kept)
    out = sorted((layer for layer in layers if layer not in kept), key=lambda layer: alone[layer.name])
    if out:
        assert not passes([*kept, out[0]]), "the least harmful that was left out would have been too much"
        assert alone[out[0].name] >= max((alone[layer.name] for layer in kept), default=0.0)
    assert [layer for layer in layers if layer in kept] == list(kept), "in the graph's order"


def test_a_mix_takes_few_rollouts() -> None:
    asked: list[int] = []
    layers = named(140)
    select_int8_layers(
        layers,
        {layer.name: float(i) for i, layer in enumerate(layers)},
        lambda some: asked.append(1) is None and len(some) < 77,
    )
    assert len(asked) <= 9


@pytest.fixture
def small(retention_artefact, walker_keypoints):  # type: ignore[no-untyped-def]
    graph = read_manifest(retention_artefact).graph()
    model = onnx.load(str(retention_artefact / graph.file))
    frames = 12
    reset = np.arange(frames) == 0
    given = [Recording(np.array(walker_keypoints(frames, seed=s)), np.full(frames, 0.02, np.float32), reset) for s in range(2)]
    layers = find_layers(model)[:3]
    coded = {name: quantize_weights(weight) for name, weight in linear_weights(model, layers).items()}
    return graph, model, given, layers, coded


def test_a_layer_whose_codes_are_spoilt_is_the_most_harmful(small) -> None:  # type: ignore[no-untyped-def]
    graph, model, given, layers, coded = small
    spoilt = coded | {
        layers[1].name: QuantizedLinear(coded[layers[1].name].qweight // 32, coded[layers[1].name].weight_scale * 32)
    }
    ticks: list[int] = []
    alone = sensitivity_mm(model, graph, layers, spoilt, given, on_progress=ticks.append)
    assert max(alone, key=alone.__getitem__) == layers[1].name
    assert all(0 < size < 1000 for size in alone.values()) and sum(ticks) == 3


def test_a_budget_is_judged_closed_loop(small) -> None:  # type: ignore[no-untyped-def]
    graph, model, given, layers, coded = small
    exact = lift_streams(model, graph, given)
    assert exact.shape == (2, 12, 17, 3)
    assert within_budget(model, graph, coded, given, exact, budget_for(1000.0))(layers)
    assert not within_budget(model, graph, coded, given, exact, budget_for(1e-6))(layers)
    assert within_budget(model, graph, coded, given, exact, budget_for(1e-6))([]), "nothing in INT8 is the graph itself"
