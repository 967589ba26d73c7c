"""The choice of a precision: the fastest graph here whose drift stays within the budget."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from ...runtime.artefact.certificate import Budget
from ...runtime.artefact.manifest import Graph, Manifest, check_file
from ...runtime.artefact.precision import Precision
from ...runtime.artefact.record import Record
from ...runtime.engines import open_engine
from ..measure.budget import drift_mm, exceeded, measure, of_frames
from ..measure.rollout import Recording, roll_out

ROUNDS = 200


class Candidate(Record):
    """A graph: how long a launch of one stream takes here, how far it drifts from the FP32 graph, and what that exceeds."""

    precision: Precision
    engine: str
    launch_ms: float
    measured: Budget
    exceeded: tuple[str, ...]


class Choice(Record):
    """The chosen precision, and all that it was chosen among."""

    precision: Precision
    why: str
    candidates: tuple[Candidate, ...]


def choose(folder: Path, manifest: Manifest, recordings: Sequence[Recording], budget: Budget) -> Choice:
    """The fastest graph of an artefact on this machine's engine whose drift from its FP32 graph is within the budget.

    Args:
        recordings: streams of one length.
        budget: growth and accuracy are not judged here: a certificate does.
    """
    paths = {graph.precision: check_file(folder, manifest, graph.file) for graph in manifest.graphs}
    graphs = {graph.precision: graph for graph in manifest.graphs}
    recordings = [recording.as_taken(manifest) for recording in recordings]
    times, engine = launch_ms({precision: (path, graphs[precision]) for precision, path in paths.items()})
    exact = np.stack(roll_out(paths["fp32"], graphs["fp32"], recordings))
    told = of_frames(budget)
    candidates = []
    for precision, path in paths.items():
        measured, _ = measure(drift_mm(np.stack(roll_out(path, graphs[precision], recordings)), exact))
        candidates.append(
            Candidate(
                precision=precision,
                engine=engine,
                launch_ms=times[precision],
                measured=measured,
                exceeded=exceeded(measured, told),
            )
        )
    allowed = sorted((one for one in candidates if not one.exceeded), key=lambda one: one.launch_ms)
    best, rest = allowed[0], [one for one in candidates if one.exceeded]
    why = f"{best.precision} is the fastest of {len(allowed)} within the budget on {engine}, {best.launch_ms:.2f} ms a launch"
    for one in rest:
        why += f"; {one.precision} drifts too far ({', '.join(one.exceeded)})"
    return Choice(precision=best.precision, why=why, candidates=tuple(candidates))


def launch_ms(graphs: Mapping[Precision, tuple[Path, Graph]], *, rounds: int = ROUNDS) -> tuple[dict[Precision, float], str]:
    """Median milliseconds of a launch of one stream, and on which engine; the graphs take turns, so that noise is shared."""
    with ExitStack() as stack:
        launches = {}
        for precision, (path, graph) in graphs.items():
            engine = stack.enter_context(closing(open_engine(path)))
            inputs, outputs = (
                {t.name: np.zeros((1, *map(int, t.shape[1:])), t.dtype) for t in side} for side in (graph.inputs, graph.outputs)
            )
            launches[precision] = engine.bind(inputs, outputs)
            name = engine.name
        times: dict[Precision, list[float]] = {precision: [] for precision in launches}
        for round_ in range(rounds + 20):
            for precision, launch in launches.items():
                started = time.perf_counter()
                launch()
                if round_ >= 20:
                    times[precision].append(time.perf_counter() - started)
    return {precision: 1000 * float(np.median(taken)) for precision, taken in times.items()}, name
