"""The arrays of one launch: what a graph takes and returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.artefact.graph_parts import Tensor
from ...runtime.artefact.manifest import Graph
from .recording import Recording

Tensors = dict[str, NDArray[Any]]  # by name


def launch_inputs(graph: Graph, recording: Recording) -> Iterator[tuple[int, Tensors]]:
    """One stream's recording as a graph takes it: for each launch, the number of frames and the inputs other than the state."""
    if graph.mode == "step":
        for t in range(len(recording)):
            frame = recording.during(slice(t, t + 1))
            yield 1, {"keypoints": frame.keypoints, "dt": frame.dt_s, "reset": frame.reset}
        return
    parts = recording.chunks if graph.mode == "chunk" else recording.windows
    for count, part in parts(graph.frames):
        inputs = {"keypoints": part.keypoints[None], "dt": part.dt_s[None], "reset": part.reset[:1]}
        yield count, {tensor.name: inputs[tensor.name] for tensor in graph.inputs if tensor.name in inputs}


def initial_states(graph: Graph, streams: int) -> Tensors:
    """The states with which streams begin, by the names of the graph's inputs: zeros, (streams, ...)."""
    return {state.input: np.zeros((streams, *_per_stream(state.shape)), state.dtype) for state in graph.states}


def launch_arrays(tensors: Iterable[Tensor], streams: int = 1) -> Tensors:
    """Arrays of zeros for the inputs or the outputs of a graph in a launch of that many streams."""
    return {tensor.name: np.zeros((streams, *_per_stream(tensor.shape)), tensor.dtype) for tensor in tensors}


def _per_stream(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    return tuple(map(int, shape[1:]))
