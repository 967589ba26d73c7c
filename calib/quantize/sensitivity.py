"""Sensitivity: the drift that each layer alone would cause in INT8, closed loop; and the mix that a budget allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.artefact.certificate import Budget
from ...runtime.artefact.manifest import Graph
from ..graph.layers import Layer
from ..measure.budget import drift_mm, exceeded, measure, of_frames
from ..measure.rollout import Recording, open_graph, roll_out
from .qdq import quantize
from .weights import QuantizedLinear


def rolled(model: onnx.ModelProto, graph: Graph, recordings: Sequence[Recording]) -> NDArray[np.float32]:
    """(S, T, J, 3) poses of streams of one length."""
    with closing(open_graph(model.SerializeToString())) as engine:
        return np.stack(roll_out(engine, graph, recordings))


def alone_mm(
    model: onnx.ModelProto,
    graph: Graph,
    layers: Sequence[Layer],
    coded: Mapping[str, QuantizedLinear],
    recordings: Sequence[Recording],
    *,
    tick: Callable[[int], None] = lambda layers: None,
) -> dict[str, float]:
    """Mean drift in mm of each layer by itself, by name: all others are as they were.

    Args:
        model, graph, layers: the FP32 graph.
        recordings: streams of one length, not those that the layers were coded by.
    """
    exact = rolled(model, graph, recordings)
    drifts = {}
    for layer in layers:
        drifts[layer.name] = float(drift_mm(rolled(quantize(model, [layer], coded), graph, recordings), exact).mean())
        tick(1)
    return drifts


def mix(
    layers: Sequence[Layer],
    alone: Mapping[str, float],
    passes: Callable[[Sequence[Layer]], bool],
) -> tuple[Layer, ...]:
    """As many layers in INT8 as the budget allows: the most harmful ones are left out, no more of them than necessary.

    How many is found by halving, since each answer costs a rollout; what is returned has passed (or is empty).

    Args:
        alone: the layers' harm by name.
        passes: whether the graph with these layers in INT8 is within the budget, closed loop.
    """
    order = sorted(layers, key=lambda layer: -alone[layer.name])
    if passes(order):
        return tuple(layers)
    failed, passed = 0, len(order)  # so many left out
    while passed - failed > 1:
        middle = (failed + passed) // 2
        if passes(order[middle:]):
            passed = middle
        else:
            failed = middle
    kept = {layer.name for layer in order[passed:]}
    return tuple(layer for layer in layers if layer.name in kept)


def within(
    model: onnx.ModelProto,
    graph: Graph,
    coded: Mapping[str, QuantizedLinear],
    recordings: Sequence[Recording],
    exact: NDArray[np.float32],
    budget: Budget,
) -> Callable[[Sequence[Layer]], bool]:
    """Whether ``model`` with some layers in INT8 stays within the budget on these streams. Growth needs longer ones."""
    told = of_frames(budget)

    def passes(layers: Sequence[Layer]) -> bool:
        measured, _ = measure(drift_mm(rolled(quantize(model, layers, coded), graph, recordings), exact))
        return not exceeded(measured, told)

    return passes
