"""Closed-loop rollout: a graph over recordings, the state of each carried from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.artefact.manifest import Graph, Manifest
from ...runtime.engines import Engine, open_engine
from ...runtime.pose.skeleton import H36M_ORDERS
from ...runtime.state import StepSlots
from ..graph.half_rounding import is_half, round_to_half

Floats = NDArray[np.float32]
ON_CPU = "onnxruntime"


@dataclass(frozen=True, eq=False)
class Recording:
    """One stream's frames, one after the other.

    Args:
        keypoints: (T, J, channels) normalised.
        dt_s: (T,) seconds since the frame before.
        reset: (T,) where somebody else begins.
        truth: (T, J, 3) metres, what there was to see; None if nobody knows.
        cut: (T,) where somebody else begins and the memory is not told; None if nowhere.
    """

    keypoints: Floats
    dt_s: Floats
    reset: NDArray[np.bool_]
    truth: Floats | None = None
    cut: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.keypoints)

    def during(self, span: slice) -> Recording:
        """Some of the frames."""
        truth = None if self.truth is None else self.truth[span]
        cut = None if self.cut is None else self.cut[span]
        return Recording(self.keypoints[span], self.dt_s[span], self.reset[span], truth, cut)

    def spans(self) -> list[slice]:
        """Its frames, person by person."""
        new = self.reset if self.cut is None else self.reset | self.cut
        starts = [0, *(np.flatnonzero(new[1:]) + 1).tolist(), len(self)]
        return [slice(a, b) for a, b in pairwise(starts)]

    def as_taken(self, manifest: Manifest) -> Recording:
        """What the model of an artefact is fed of it: its own joints, in its own order, and its channels."""
        order = list(H36M_ORDERS[manifest.skeleton])
        return replace(self, keypoints=self.keypoints[:, order, : manifest.channels])

    def chunks(self, frames: int) -> Iterator[tuple[int, Recording]]:
        """Its frames from the first to the last, so many at a time: (how many of them there are, the chunk).

        A reset begins a new chunk. A chunk that falls short goes on with its last frame. Chunks are without truth.
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


def roll_out(
    source: Path | bytes | Engine,
    graph: Graph,
    recordings: Sequence[Recording],
    *,
    engine: str | None = None,
    tick: Callable[[int], None] = lambda frames: None,
) -> list[Floats]:
    """(T, J, 3) poses of each recording: the graph over all its frames.

    A step graph runs frame after frame, as streams would run it, all recordings in one launch; a chunk graph chunk after
    chunk (``Recording.chunks``), each recording cut at its own borders; a window graph, which carries nothing, window after
    window. If that answers with one pose, all frames of the window get it.

    Args:
        source: the graph's file, or its bytes; or what ``open_graph`` made of them, which ``engine`` then has no say in.
        engine: see ``open_graph``.
        tick: called with the number of frames that were just lifted.
    """
    if isinstance(source, (Path, bytes)):
        with closing(open_graph(source, engine=engine)) as opened:
            return roll_out(opened, graph, recordings, tick=tick)
    if graph.mode == "step":
        return _steps(source, graph, recordings, tick)
    return [_alone(source, graph, recording, tick) for recording in recordings]


def feeds(graph: Graph, recording: Recording) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """A recording as a graph takes it, one stream's: of each launch how many frames, and what is fed beside the state."""
    if graph.mode == "step":
        for t in range(len(recording)):
            of = recording.during(slice(t, t + 1))
            yield 1, {"keypoints": of.keypoints, "dt": of.dt_s, "reset": of.reset}
        return
    parts = recording.chunks if graph.mode == "chunk" else recording.windows
    for given, part in parts(graph.frames):
        feed = {"keypoints": part.keypoints[None], "dt": part.dt_s[None], "reset": part.reset[:1]}
        yield given, {tensor.name: feed[tensor.name] for tensor in graph.inputs if tensor.name in feed}


def open_graph(source: Path | bytes, *, engine: str | None = None) -> Engine:
    """A graph, opened for a rollout.

    Args:
        engine: a name of ``ENGINES``; None is ONNX Runtime on the CPU. There an FP16 graph is computed with true half rounding
            (``calib.rounding``); any other engine rounds by itself.
    """
    name = engine or ON_CPU
    if name == ON_CPU:
        proto = onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(str(source))
        source = round_to_half(proto).SerializeToString() if is_half(proto) else source
    return open_engine(source, engine=name)


def _steps(engine: Engine, graph: Graph, recordings: Sequence[Recording], tick: Callable[[int], None]) -> list[Floats]:
    slots = StepSlots(engine, graph)
    poses = [np.empty((*recording.keypoints.shape[:-1], 3), np.float32) for recording in recordings]
    # The longest takes the first slot: as recordings end, the launches have fewer rows.
    longest = sorted(zip(recordings, poses, strict=True), key=lambda pair: -len(pair[0]))
    live = [(slots.allocate(), recording, made) for recording, made in longest]
    t = 0
    while live := [row for row in live if t < len(row[1])]:
        for slot, recording, _ in live:
            slots.put(slot, recording.keypoints[t], float(recording.dt_s[t]), bool(recording.reset[t]))
        seats = [slot for slot, _, _ in live]
        answered = slots.launch(seats)
        for slot, _, made in live:
            made[t] = answered[slot]
        slots.commit(seats)
        tick(len(live))
        t += 1
    return poses


def _alone(engine: Engine, graph: Graph, recording: Recording, tick: Callable[[int], None]) -> Floats:
    """One recording, launch by launch. A window that answers with one pose answers so for all of its frames."""
    inputs, outputs = ({t.name: np.zeros(_of_one(t.shape), t.dtype) for t in side} for side in (graph.inputs, graph.outputs))
    launch = engine.bind(inputs, outputs)
    poses: list[Floats] = []
    for given, feed in feeds(graph, recording):
        for name, x in feed.items():
            inputs[name][:] = x
        launch()
        for state in graph.states:
            inputs[state.input][:] = outputs[state.output]
        made = outputs["pose"][0, :given].copy()
        poses += list(made) * (given if len(made) == 1 else 1)
        tick(given)
    return np.stack(poses)


def _of_one(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    return (1, *map(int, shape[1:]))
