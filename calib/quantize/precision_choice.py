"""The choice of a precision: the fastest graph on this machine whose drift stays within the budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import numpy as np

from ...runtime.arrays import F32
from ...runtime.artefact.certificate import Budget, exceeded
from ...runtime.artefact.manifest import Graph, Manifest, read_graph_file
from ...runtime.artefact.precision import Precision
from ...runtime.artefact.record import Record
from ...runtime.engines import open_engine
from ..measure.budget import drift_mm, frame_limits, summarise_drift
from ..measure.launch import launch_arrays
from ..measure.recording import Recording
from ..measure.rollout import roll_out
from ..measure.side_by_side import side_by_side

ROUNDS, WARM_UP_ROUNDS = 200, 20


class Candidate(Record):
    """One graph of the artefact, as it runs on this machine.

    Args:
        engine: what executed it.
        launch_ms: median time of a launch of one stream.
        measured: its drift from the FP32 graph.
        exceeded: the limits of the budget that the drift exceeds; empty if it passes.
    """

    precision: Precision
    engine: str
    launch_ms: float
    measured: Budget
    exceeded: tuple[str, ...]


class PrecisionChoice(Record):
    """The chosen precision, why, and all candidates."""

    precision: Precision
    why: str
    candidates: tuple[Candidate, ...]


def choose_precision(folder: Path, manifest: Manifest, recordings: Sequence[Recording], budget: Budget) -> PrecisionChoice:
    """The fastest graph of an artefact on this machine's engine whose drift from the FP32 graph is within the budget.

    Args:
        recordings: streams of one length.
        budget: its limits on growth and accuracy are not judged here; the certificate judges them.
    """
    files = {graph.precision: read_graph_file(folder, manifest, graph) for graph in manifest.graphs}
    graphs = {graph.precision: graph for graph in manifest.graphs}
    recordings = [recording.for_model(manifest) for recording in recordings]
    times, engine = launch_ms({precision: (file, graphs[precision]) for precision, file in files.items()})

    def lift(precision: Precision, report: Callable[[int], None]) -> F32:
        return np.stack(roll_out(files[precision], graphs[precision], recordings, on_progress=report))

    lifted = dict(zip(files, side_by_side([partial(lift, precision) for precision in files]), strict=True))
    limits = frame_limits(budget)
    candidates = []
    for precision in files:
        measured, _ = summarise_drift(drift_mm(lifted[precision], lifted["fp32"]))
        candidates.append(
            Candidate(
                precision=precision,
                engine=engine,
                launch_ms=times[precision],
                measured=measured,
                exceeded=exceeded(measured, limits),
            )
        )
    allowed = [candidate for candidate in candidates if not candidate.exceeded]
    best = min(allowed, key=lambda candidate: candidate.launch_ms)
    why = f"{best.precision} is the fastest of {len(allowed)} within the budget on {engine}, {best.launch_ms:.2f} ms a launch"
    for candidate in candidates:
        if candidate.exceeded:
            why += f"; {candidate.precision} drifts too far ({', '.join(candidate.exceeded)})"
    return PrecisionChoice(precision=best.precision, why=why, candidates=tuple(candidates))


def launch_ms(
    graphs: Mapping[Precision, tuple[Path | bytes, Graph]], *, rounds: int = ROUNDS
) -> tuple[dict[Precision, float], str]:
    """Median milliseconds of a launch of one stream by precision, and the engine's name.

    The graphs are launched in turns, so that the machine's noise affects all of them alike.
    """
    with ExitStack() as stack:
        launches = {}
        for precision, (file, graph) in graphs.items():
            engine = stack.enter_context(closing(open_engine(file)))
            launches[precision] = engine.bind(launch_arrays(graph.inputs), launch_arrays(graph.outputs))
            name = engine.name
        seconds: dict[Precision, list[float]] = {precision: [] for precision in launches}
        for round_ in range(WARM_UP_ROUNDS + rounds):
            for precision, launch in launches.items():
                started = time.perf_counter()
                launch()
                if round_ >= WARM_UP_ROUNDS:
                    seconds[precision].append(time.perf_counter() - started)
    return {precision: 1000 * float(np.median(samples)) for precision, samples in seconds.items()}, name
