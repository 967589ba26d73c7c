"""A graph launched by its engine alone, without the streams, checks and poses of the runtime around it."""

from __future__ import annotations

import numpy as np

from ..arrays import F32
from ..artefact.manifest import Graph
from ..engines import Engine


class BareLaunch:
    """Two bindings of a graph that swap the state between them: call it to launch one of them after the other.

    Args:
        engine: an opened engine, which stays the caller's to close.
        graph: the graph that it opened.
        streams: rows of each input and output.
        keypoints: (streams, ..., J, channels) what it reads in every launch; None is zeros: nobody is seen.
        dt_s: seconds since the frame before.
    """

    def __init__(self, engine: Engine, graph: Graph, streams: int, *, keypoints: F32 | None = None, dt_s: float = 0.02) -> None:
        arrays = {
            tensor.name: np.zeros((streams, *(int(axis) for axis in tensor.shape[1:])), tensor.dtype)
            for tensor in (*graph.inputs, *graph.outputs)
        }
        if "dt" in arrays:
            arrays["dt"][:] = dt_s
        if keypoints is not None:
            arrays["keypoints"][:] = keypoints
        outputs, states = {tensor.name for tensor in graph.outputs}, graph.states
        swapped = arrays | {s.input: arrays[s.output] for s in states} | {s.output: arrays[s.input] for s in states}
        self._launches = [
            engine.bind({k: v for k, v in side.items() if k not in outputs}, {k: v for k, v in side.items() if k in outputs})
            for side in (arrays, swapped)
        ]
        self._side = 0

    def __call__(self) -> None:
        self._launches[self._side]()
        self._side = 1 - self._side
