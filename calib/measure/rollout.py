"""Closed-loop rollout: a graph run over recordings, the state of each stream carried from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from ...runtime.arrays import F32
from ...runtime.artefact.manifest import Graph
from ...runtime.engines import Engine, open_engine
from ...runtime.state import StepSlots
from ..graph.half_rounding import is_half, round_to_half
from ..graph.model_file import read_model
from .launch import launch_arrays, launch_inputs
from .recording import Recording

CPU_ENGINE = "onnxruntime"  # in ``ENGINES``: ONNX Runtime on the CPU


def roll_out(
    source: Path | bytes | Engine,
    graph: Graph,
    recordings: Sequence[Recording],
    *,
    engine: str | None = None,
    on_progress: Callable[[int], None] = lambda frames: None,
) -> list[F32]:
    """(T, J, 3) poses of each recording, (T, J, 4) from a graph with sigma.

    A step graph runs frame after frame as live streams would run it, all recordings in one launch. A chunk graph runs chunk
    after chunk (``Recording.chunks``), each recording on its own, because each is cut at its own resets. A window graph, which
    carries no state, runs window after window; if it returns one pose, all frames of the window get it.

    Args:
        source: the graph's file or its bytes; or what ``open_graph`` returned, and then ``engine`` is ignored.
        engine: see ``open_graph``.
        on_progress: called with the number of frames just lifted.
    """
    if isinstance(source, (Path, bytes)):
        with closing(open_graph(source, engine=engine)) as opened:
            return roll_out(opened, graph, recordings, on_progress=on_progress)
    if graph.mode == "step":
        return _roll_out_steps(source, graph, recordings, on_progress)
    return [_roll_out_alone(source, graph, recording, on_progress) for recording in recordings]


def open_graph(source: Path | bytes, *, engine: str | None = None) -> Engine:
    """Open a graph for a rollout.

    Args:
        engine: a name of ``ENGINES``; None is ONNX Runtime on the CPU, which runs an FP16 graph with true half rounding
            (``calib.graph.half_rounding``). Every other engine rounds by itself.
    """
    name = engine or CPU_ENGINE
    if name == CPU_ENGINE:
        model = read_model(source)
        source = round_to_half(model).SerializeToString() if is_half(model) else source
    return open_engine(source, engine=name)


def _roll_out_steps(
    engine: Engine, graph: Graph, recordings: Sequence[Recording], on_progress: Callable[[int], None]
) -> list[F32]:
    slots = StepSlots(engine, graph)
    pose_shape = tuple(map(int, graph.outputs[0].shape[1:]))
    poses = [np.empty((len(recording), *pose_shape), np.float32) for recording in recordings]
    # The longest recording takes the first slot: launches get fewer rows as recordings end.
    by_length = sorted(zip(recordings, poses, strict=True), key=lambda pair: -len(pair[0]))
    live = [(slots.allocate(), recording, lifted) for recording, lifted in by_length]
    t = 0
    while live := [row for row in live if t < len(row[1])]:
        for slot, recording, _ in live:
            slots.put(slot, recording.keypoints[t], float(recording.dt_s[t]), bool(recording.reset[t]))
        live_slots = [slot for slot, _, _ in live]
        launched = slots.launch(live_slots)
        for slot, _, lifted in live:
            lifted[t] = launched[slot]
        slots.commit(live_slots)
        on_progress(len(live))
        t += 1
    return poses


def _roll_out_alone(engine: Engine, graph: Graph, recording: Recording, on_progress: Callable[[int], None]) -> F32:
    """One recording, launch by launch. One pose of a window stands for all of its frames."""
    inputs, outputs = launch_arrays(graph.inputs), launch_arrays(graph.outputs)
    launch = engine.bind(inputs, outputs)
    poses: list[F32] = []
    for count, launch_input in launch_inputs(graph, recording):
        for name, x in launch_input.items():
            inputs[name][:] = x
        launch()
        for state in graph.states:
            inputs[state.input][:] = outputs[state.output]
        lifted = outputs["pose"][0, :count].copy()
        poses += list(lifted) * (count if len(lifted) == 1 else 1)
        on_progress(count)
    return np.stack(poses)
