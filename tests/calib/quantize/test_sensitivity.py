"""Sensitivity of each layer sensitivity, and as many INT8 layers as a budget allows."""

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
def test_the_most_sensitive_layers_are_left_out_and_no_more_than_necessary(drifts: list[float], allowed: float) -> None:
    layers = named(len(drifts))
    sensitivity = {layer.name: size for layer, size in zip(layers, drifts, strict=True)}

    def passes(some: Sequence[LinearLayer]) -> bool:
        return sum(sensitivity[layer.name] for layer in some) <= allowed

    selected = select_int8_layers(layers, sensitivity, passes)
    assert passes(selected)
    out = sorted((layer for layer in layers if layer not in selected), key=lambda layer: sensitivity[layer.name])
    if out:
        assert not passes([*selected, out[0]]), "the least sensitive layer that was left out would have been too much"
        assert sensitivity[out[0].name] >= max((sensitivity[layer.name] for layer in selected), default=0.0)
    assert [layer for layer in layers if layer in selected] == list(selected), "in the graph's order"


def test_few_rollouts_find_the_mix() -> None:
    calls: list[int] = []
    layers = named(140)

    def passes(selected: Sequence[LinearLayer]) -> bool:
        calls.append(len(selected))
        return len(selected) < 77

    select_int8_layers(layers, {layer.name: float(i) for i, layer in enumerate(layers)}, passes)
    assert len(calls) <= 9


@pytest.fixture
def small(retention_artefact, walker_keypoints):  # type: ignore[no-untyped-def]
    graph = read_manifest(retention_artefact).graph()
    model = onnx.load(str(retention_artefact / graph.file))
    frames = 12
    reset = np.arange(frames) == 0
    recordings = [
        Recording(np.array(walker_keypoints(frames, seed=s)), np.full(frames, 0.02, np.float32), reset) for s in range(2)
    ]
    layers = find_layers(model)[:3]
    quantized = {name: quantize_weights(weight) for name, weight in linear_weights(model, layers).items()}
    return graph, model, recordings, layers, quantized


def test_a_layer_with_spoilt_weights_is_the_most_sensitive(small) -> None:  # type: ignore[no-untyped-def]
    graph, model, recordings, layers, quantized = small
    spoilt = quantized | {
        layers[1].name: QuantizedLinear(quantized[layers[1].name].qweight // 32, quantized[layers[1].name].weight_scale * 32)
    }
    progress: list[int] = []
    sensitivity = sensitivity_mm(model, graph, layers, spoilt, recordings, on_progress=progress.append)
    assert max(sensitivity, key=sensitivity.__getitem__) == layers[1].name
    assert all(0 < size < 1000 for size in sensitivity.values()) and sum(progress) == 3


def test_a_budget_is_judged_closed_loop(small) -> None:  # type: ignore[no-untyped-def]
    graph, model, recordings, layers, quantized = small
    exact = lift_streams(model, graph, recordings)
    assert exact.shape == (2, 12, 17, 3)
    assert within_budget(model, graph, quantized, recordings, exact, budget_for(1000.0))(layers)
    assert not within_budget(model, graph, quantized, recordings, exact, budget_for(1e-6))(layers)
    assert within_budget(model, graph, quantized, recordings, exact, budget_for(1e-6))([]), (
        "nothing in INT8 is the graph itself"
    )
