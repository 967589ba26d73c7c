"""Streams alone and in a batch: how far the number of streams in a launch moves their poses.

A matrix product of more rows may sum in another order. In FP32 that is next to nothing. An FP16 graph rounds its sums: two that
differ in their last digit may become different halves, and the state carries the difference on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...runtime.arrays import F32
from ...runtime.artefact.certificate import BatchDifference
from ...runtime.artefact.manifest import Graph
from ...runtime.engines import Engine
from ...runtime.errors import UsageError
from .budget import drift_mm
from .launch import Tensors, initial_states, launch_arrays, launch_inputs
from .recording import Recording

BATCH_STREAMS = 8  # as many as a plan takes by default
COMPARED_SHARE = 1 / 15  # of each recording, which costs a fifth of its rollout: the difference does not grow with time
MIN_FRAMES = 20

OnProgress = Callable[[int], None]
Launches = Sequence[tuple[int, Tensors]]  # of one stream, in order: the number of frames and the inputs other than the state


@dataclass(eq=False)
class _Stream:
    """A stream that is lifted: when it begins, in launches of the batch, its state, and its poses so far, (J, 3) each."""

    begin: int
    launches: Launches
    states: Tensors
    poses: list[F32] = field(default_factory=list)

    def is_live(self, at: int) -> bool:
        return self.begin <= at < self.begin + len(self.launches)


def frames_to_compare(recordings: Sequence[Recording]) -> int:
    """The number of frames that ``measure_batch_difference`` lifts."""
    lengths = [len(_beginning(recording)) for recording in recordings]
    return sum(lengths) + sum(lengths[i % len(lengths)] for i in range(BATCH_STREAMS))


def measure_batch_difference(
    engine: Engine, graph: Graph, recordings: Sequence[Recording], *, on_progress: OnProgress = lambda frames: None
) -> BatchDifference | None:
    """Lift the beginning of each recording alone, then in a batch that grows to 8 streams and shrinks again, and compare.

    The streams of the batch show the recordings in turn and begin one after the other, so that each of them is lifted in
    launches of several sizes, beside streams of other ages.

    Args:
        engine: what ``open_graph`` returned.
        on_progress: called with the number of frames just lifted; ``frames_to_compare`` in all.

    Returns:
        None if the engine launches no stream alone, as a plan that was built for several.
    """
    parts = [list(launch_inputs(graph, _beginning(recording))) for recording in recordings]
    try:
        alone = [_lift(engine, graph, [launches], 0, on_progress)[0] for launches in parts]
    except UsageError:
        return None
    shown = [i % len(parts) for i in range(BATCH_STREAMS)]
    delay = max(map(len, parts)) // BATCH_STREAMS
    together = _lift(engine, graph, [parts[i] for i in shown], delay, on_progress)
    distance_mm = np.concatenate([drift_mm(poses, alone[i]).ravel() for poses, i in zip(together, shown, strict=True)])
    return BatchDifference(
        streams=BATCH_STREAMS,
        frames=max(len(_beginning(recording)) for recording in recordings),
        mean_mm=float(distance_mm.mean()),
        p99_mm=float(np.percentile(distance_mm, 99)),
        max_mm=float(distance_mm.max()),
    )


def _beginning(recording: Recording) -> Recording:
    return recording.during(slice(0, max(MIN_FRAMES, round(COMPARED_SHARE * len(recording)))))


def _lift(engine: Engine, graph: Graph, parts: Sequence[Launches], delay: int, on_progress: OnProgress) -> list[F32]:
    """The (T, J, 3) poses of each stream. Those that are live share a launch; each begins ``delay`` launches after the last."""
    streams = [_Stream(i * delay, launches, initial_states(graph, 1)) for i, launches in enumerate(parts)]
    bound: dict[int, tuple[Tensors, Tensors, Callable[[], None]]] = {}  # by the number of rows
    at = 0
    while live := [stream for stream in streams if stream.is_live(at)]:
        rows = len(live)
        if rows not in bound:
            arrays = launch_arrays(graph.inputs, rows), launch_arrays(graph.outputs, rows)
            bound[rows] = *arrays, engine.bind(*arrays)
        inputs, outputs, launch = bound[rows]
        for row, stream in enumerate(live):
            _, given = stream.launches[at - stream.begin]
            for name, array in (given | stream.states).items():
                inputs[name][row] = array[0]
        launch()
        for row, stream in enumerate(live):
            frames, _ = stream.launches[at - stream.begin]
            for state in graph.states:
                stream.states[state.input][0] = outputs[state.output][row]
            poses = outputs["pose"][row]
            stream.poses += [poses.copy()] if graph.mode == "step" else list(poses[:frames].copy())
            on_progress(frames)
        at += 1
    return [np.stack(stream.poses) for stream in streams]
