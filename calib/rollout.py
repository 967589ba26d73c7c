"""Closed-loop rollout: a graph over many frames, its own state carried from each to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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

    def during(self, span: slice) -> Recording:
        """Some of the frames."""
        return Recording(self.keypoints[span], self.dt_s[span], self.reset[span])

    def chunks(self, frames: int) -> Iterator[tuple[int, Recording]]:
        """Its frames from the first to the last, so many at a time: (how many of them there are, the chunk).

        A reset begins a new chunk. A chunk that falls short goes on with its last frame.
        """
        start = 0
        while start < len(self):
            resets = np.flatnonzero(self.reset[start + 1 : start + frames])
            given = int(resets[0]) + 1 if len(resets) else min(frames, len(self) - start)
            part, short = self.during(slice(start, start + given)), frames - given
            yield (
                given,
                Recording(
                    np.pad(part.keypoints, ((0, short), (0, 0), (0, 0)), mode="edge"),
                    np.pad(part.dt_s, (0, short), mode="edge"),
                    np.pad(part.reset, (0, short)),
                ),
            )
            start += given

    def windows(self, frames: int) -> Iterator[tuple[int, Recording]]:
        """As ``chunks``, but over resets: a window model knows of none."""
        return replace(self, reset=np.zeros_like(self.reset)).chunks(frames)


def roll_out(path: Path, graph: Graph, recording: Recording, *, tick: Callable[[], None] = lambda: None) -> Floats:
    """(T, J, 3) poses: the graph in the file over the whole recording.

    A step graph runs frame after frame, as a stream would run it; a chunk graph chunk after chunk (``Recording.chunks``); a
    window graph, which carries nothing, window after window. If that answers with one pose, all frames of the window get it.
    An FP16 graph is computed with true half rounding (``calib.rounding``). ``tick`` is called for each frame.
    """
    proto = onnx.load(str(path))
    engine = open_engine(round_to_half(proto).SerializeToString() if is_half(proto) else path)
    roll = {"step": _steps, "chunk": _chunks, "window": _windows}[graph.mode]
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


def _chunks(engine: Engine, graph: Graph, recording: Recording, tick: Callable[[], None]) -> Floats:
    inputs, outputs = ({t.name: np.zeros(_of_one(t.shape), t.dtype) for t in side} for side in (graph.inputs, graph.outputs))
    launch = engine.bind(inputs, outputs)
    poses = []
    for given, chunk in recording.chunks(graph.frames):
        inputs["keypoints"][0], inputs["dt"][0], inputs["reset"][0] = chunk.keypoints, chunk.dt_s, chunk.reset[0]
        launch()
        for state in graph.states:
            inputs[state.input][:] = outputs[state.output]
        poses.append(outputs["pose"][0, :given].copy())
        for _ in range(given):
            tick()
    return np.concatenate(poses)


def _windows(engine: Engine, graph: Graph, recording: Recording, tick: Callable[[], None]) -> Floats:
    x, y = (np.zeros(_of_one(side[0].shape), np.float32) for side in (graph.inputs, graph.outputs))
    launch = engine.bind({graph.inputs[0].name: x}, {graph.outputs[0].name: y})
    poses = []
    for given, window in recording.windows(graph.frames):
        x[0] = window.keypoints
        launch()
        poses += list(y[0, :given].copy()) * (given if len(y[0]) == 1 else 1)
        for _ in range(given):
            tick()
    return np.stack(poses)


def _of_one(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    return (1, *map(int, shape[1:]))
