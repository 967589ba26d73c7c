"""Closed-loop rollout: a graph over many frames, its own state carried from each to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from ..runtime.engines import Engine, open_engine
from ..runtime.manifest import Graph
from ..runtime.slots import StepSlots
from .rounding import is_half, round_to_half

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Recording:
    """One stream's frames, one after the other.

    Args:
        keypoints: (T, J, channels) normalised.
        dt_s: (T,) seconds since the frame before.
        reset: (T,) where somebody else begins.
    """

    keypoints: Floats
    dt_s: Floats
    reset: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.keypoints)


def roll_out(path: Path, graph: Graph, recording: Recording, *, tick: Callable[[], None] = lambda: None) -> Floats:
    """(T, J, 3) poses: the graph in the file over the whole recording.

    A step graph runs frame after frame, as a stream would run it; a window graph, which carries nothing, window after
    window. An FP16 graph is computed with true half rounding (``calib.rounding``). ``tick`` is called for each frame.
    """
    proto = onnx.load(str(path))
    engine = open_engine(round_to_half(proto).SerializeToString() if is_half(proto) else path)
    roll = _steps if graph.mode == "step" else _windows
    return roll(engine, graph, recording, tick)


def _steps(engine: Engine, graph: Graph, recording: Recording, tick: Callable[[], None]) -> Floats:
    slots = StepSlots(engine, graph)
    slot = slots.join()
    poses = np.empty((*recording.keypoints.shape[:-1], 3), np.float32)
    for t in range(len(recording)):
        slots.put(slot, recording.keypoints[t], float(recording.dt_s[t]), bool(recording.reset[t]))
        poses[t] = slots.launch([slot])[slot]
        slots.commit([slot])
        tick()
    return poses


def _windows(engine: Engine, graph: Graph, recording: Recording, tick: Callable[[], None]) -> Floats:
    x = np.zeros((1, graph.frames, *recording.keypoints.shape[1:]), np.float32)
    y = np.zeros((*x.shape[:-1], 3), np.float32)
    launch = engine.bind({graph.inputs[0].name: x}, {graph.outputs[0].name: y})
    poses = np.empty((*recording.keypoints.shape[:-1], 3), np.float32)
    for start in range(0, len(recording), graph.frames):
        frames = recording.keypoints[start : start + graph.frames]
        x[0, : len(frames)], x[0, len(frames) :] = frames, frames[-1]
        launch()
        poses[start : start + graph.frames] = y[0, : len(frames)]
        for _ in frames:
            tick()
    return poses
