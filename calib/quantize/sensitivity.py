"""Sensitivity: the drift that each layer alone causes in INT8, closed loop; and which layers a budget allows in INT8."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial

import numpy as np
import onnx

from ...runtime.arrays import F32
from ...runtime.artefact.certificate import Budget, exceeded
from ...runtime.artefact.manifest import Graph
from ..graph.layers import LinearLayer
from ..measure.budget import drift_mm, frame_limits, summarise_drift
from ..measure.recording import Recording
from ..measure.rollout import open_graph, roll_out
from ..measure.side_by_side import side_by_side
from .qdq import insert_qdq
from .quantized_linear import QuantizedLinear


def lift_streams(model: onnx.ModelProto, graph: Graph, recordings: Sequence[Recording]) -> F32:
    """(S, T, J, 3) poses in metres of streams of one length."""
    with closing(open_graph(model.SerializeToString())) as engine:
        return np.stack(roll_out(engine, graph, recordings))


def sensitivity_mm(
    model: onnx.ModelProto,
    graph: Graph,
    layers: Sequence[LinearLayer],
    quantized: Mapping[str, QuantizedLinear],
    recordings: Sequence[Recording],
    *,
    on_progress: Callable[[int], None] = lambda layers: None,
) -> dict[str, float]:
    """Mean drift in mm by layer name, when that layer alone is in INT8.

    Args:
        model, graph, layers: the FP32 graph.
        recordings: streams of one length, other ones than the layers were quantised by.
        on_progress: called with 1 after each layer.
    """
    exact = lift_streams(model, graph, recordings)

    def drift_of(layer: LinearLayer, report: Callable[[int], None]) -> float:
        poses = lift_streams(insert_qdq(model, [layer], quantized), graph, recordings)
        report(1)
        return float(drift_mm(poses, exact).mean())

    drifts = side_by_side([partial(drift_of, layer) for layer in layers], on_progress=on_progress)
    return {layer.name: drift for layer, drift in zip(layers, drifts, strict=True)}


def select_int8_layers(
    layers: Sequence[LinearLayer],
    sensitivity: Mapping[str, float],
    passes: Callable[[Sequence[LinearLayer]], bool],
) -> tuple[LinearLayer, ...]:
    """As many layers in INT8 as the budget allows: the most sensitive ones are left out, no more of them than necessary.

    A binary search finds how many, because every call of ``passes`` costs a rollout. The returned layers have passed, or
    there are none.

    Args:
        sensitivity: mm of drift by layer name.
        passes: whether the graph with these layers in INT8 is within the budget, closed loop.
    """
    ranked = sorted(layers, key=lambda layer: -sensitivity[layer.name])
    if passes(ranked):
        return tuple(layers)
    failed, passed = 0, len(ranked)  # numbers of layers left out
    while passed - failed > 1:
        middle = (failed + passed) // 2
        if passes(ranked[middle:]):
            passed = middle
        else:
            failed = middle
    selected = {layer.name for layer in ranked[passed:]}
    return tuple(layer for layer in layers if layer.name in selected)


def within_budget(
    model: onnx.ModelProto,
    graph: Graph,
    quantized: Mapping[str, QuantizedLinear],
    recordings: Sequence[Recording],
    exact: F32,
    budget: Budget,
) -> Callable[[Sequence[LinearLayer]], bool]:
    """A function that says whether ``model`` with some layers in INT8 stays within the budget on these streams.

    Growth and accuracy are not judged: they need longer streams.

    Args:
        exact: (S, T, J, 3) poses of the FP32 graph.
    """
    limits = frame_limits(budget)

    def passes(layers: Sequence[LinearLayer]) -> bool:
        poses = lift_streams(insert_qdq(model, layers, quantized), graph, recordings)
        measured, _ = summarise_drift(drift_mm(poses, exact))
        return not exceeded(measured, limits)

    return passes
