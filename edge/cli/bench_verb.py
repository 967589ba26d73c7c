"""posemoe-edge bench"""

from __future__ import annotations

import os
import platform
from contextlib import ExitStack
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np

from ... import __version__
from ...runtime.arrays import F32
from ...runtime.artefact.locate import find_artefact
from ...runtime.artefact.precision import Precision
from ...runtime.bench import Contestant, StepTimes, profile_graph, run_contest
from ...runtime.command_line import command_line
from ...runtime.engines import resolve
from ...runtime.engines.onnxruntime import OnnxRuntimeEngine
from ...runtime.model import Model
from ...runtime.plotting.bars import Bars, draw_bars
from ...runtime.plotting.figure import check_available
from ...runtime.sources import SyntheticSource
from ..environment import installed_version
from .options import FILE, PRECISION
from .output import Output, Result, counted, verb

FRAMES = 200
BOUND = {"products": "Compute-bound", "bytes": "Bandwidth-bound", "starts": "Launch-bound"}
MOST_STREAMS = 1024


def _counts(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """Parse "1,8,32", numbers of people."""
    try:
        counts = tuple(int(part) for part in value.split(","))
    except ValueError:
        counts = ()
    if not counts or not all(0 < count <= MOST_STREAMS for count in counts):
        raise click.BadParameter(f"{value!r} is not numbers of people up to {MOST_STREAMS}, e.g. 1,8,32", ctx, param)
    return counts


@click.command("bench")
@click.argument("artefact", required=False)
@click.option("--engine", multiple=True, help="An engine to measure; repeatable.  [default: the fastest here]")
@click.option("--precision", type=PRECISION, multiple=True, help="A graph to measure; repeatable.")
@click.option("--streams", callback=_counts, default="1,8,32", show_default=True, help="Numbers of people in one step.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads of an engine.")
@click.option(
    "--fps",
    type=click.FloatRange(min=0, min_open=True),
    help="The camera's rate, which sets the deadline of a step.  [default: the artefact's]",
)
@click.option("--seconds", type=click.FloatRange(min=0), default=10.0, show_default=True, help="How long to measure in all.")
@click.option("--plot", type=FILE, help="Draw the times here (.png).")
@click.option("--allow-failed", is_flag=True, help="Measure an artefact whose drift certificate failed.")
@verb
def command(
    out: Output,
    artefact: str | None,
    engine: tuple[str, ...],
    precision: tuple[Precision, ...],
    streams: tuple[int, ...],
    threads: int,
    fps: float | None,
    seconds: float,
    plot: Path | None,
    allow_failed: bool,
) -> Result:
    """Measure how long a step of ARTEFACT takes on this machine, and what limits it.

    All engines, precisions and numbers of people take turns step by step, so that a busy machine disturbs them alike. The
    lower bounds of a launch are what the same machine needs for the graph's matrix products alone, for reading and writing its
    weights and states alone, and for starting its operators alone.
    """
    if plot is not None:
        check_available()
    folder = find_artefact(artefact)
    with ExitStack() as on_end:
        contestants: list[Contestant] = []
        for graph in precision or (None,):
            for name in engine or (None,):
                selection = resolve(folder, precision=graph, engine=name)
                for count in streams:
                    model = Model.open(selection, threads=threads, allow_failed=allow_failed)
                    on_end.callback(model.close)
                    contestants.append(Contestant(selection, model, count, threads))
        manifest, machine = contestants[0].model.manifest, _machine(threads)
        rate = fps or manifest.fps
        out.print(
            f"{manifest.preset}, mode {manifest.mode}: {manifest.parameters / 1e6:.2f} M parameters, "
            f"{manifest.state_bytes / 1000:.0f} kB of state a person"
        )
        out.print(", ".join(f"{name} {value}" for name, value in machine.items() if value is not None))
        with out.progress("measuring", total=round(1000 * seconds), unit="ms") as on_progress:
            run_contest(contestants, _keypoints(), seconds=seconds, on_round=lambda took: on_progress(round(1000 * took)))
        rows = [_row(contestant, contestant.times(rate)) for contestant in contestants]
        _print_rows(out, rows, rate)
        on_cpu = [contestant for contestant in contestants if contestant.model.engine == OnnxRuntimeEngine.name]
        graphs = [_graph(out, contestant) for contestant in on_cpu]
    if plot is not None:
        _draw(plot, rows, f"{manifest.preset}: a step on {machine['processor']}")
        out.print(f"The times are in {plot}")
    data = {
        "artefact": str(folder),
        "preset": manifest.preset,
        "mode": manifest.mode,
        "parameters": manifest.parameters,
        "state_bytes": manifest.state_bytes,
        "fps": rate,
        "machine": machine,
        "steps": rows,
        "graphs": graphs,
        "plot": None if plot is None else str(plot),
    }
    return Result(data, next_command=command_line("run", "synthetic://walk", "--model", folder, "--frames", 200))


def _keypoints() -> list[F32]:
    """(17, 3) of each frame of a walker, as a detector sees one."""
    with SyntheticSource(noise_px=2, frames=FRAMES) as source:
        return [np.asarray(frame.keypoints[0].normalised(), np.float32) for frame in source]


def _machine(threads: int) -> dict[str, Any]:
    """What the figures hold for."""
    packages = {name: installed_version(name) for name in ("onnxruntime", "onnxruntime-gpu", "tensorrt", "torch", "numpy")}
    return {
        "posemoe-edge": __version__,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "mhz": _clock_mhz(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **packages,
    }


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _clock_mhz() -> int | None:
    clock = _cpuinfo("cpu MHz")
    return None if clock is None else round(float(clock))


def _cpuinfo(key: str) -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def _row(contestant: Contestant, times: StepTimes) -> dict[str, Any]:
    return {
        "precision": contestant.model.graph.precision,
        "engine": contestant.model.engine,
        "streams": contestant.streams,
        "frames": contestant.frames,
        **{f"{name}_ms": round(getattr(times, name), 4) for name in ("p50", "p90", "p99", "max")},
        "launch_p50_ms": round(times.launch_p50, 4),
        "a_person_ms": round(times.p50 / contestant.streams, 4),
        "missed": times.missed,
        "steps": times.steps,
    }


def _print_rows(out: Output, rows: list[dict[str, Any]], rate: float) -> None:
    width = max(12, *(len(_label(row)) for row in rows))
    columns = {"p50": "p50", "p90": "p90", "p99": "p99", "max": "max", "launch_p50": "launch", "a_person": "a person"}
    heads = "".join(f"{head:>10}" for head in columns.values())
    out.print(f"{'milliseconds':<{width}}{'people':>8}{heads}   missed at {rate:g} Hz")
    for row in rows:
        times = "".join(f"{row[f'{name}_ms']:>10.3f}" for name in columns)
        out.print(f"{_label(row):<{width}}{row['streams']:>8}{times}{row['missed']:>10.1%}")


def _label(row: dict[str, Any]) -> str:
    return f"{row['precision']} {row['engine']}"


def _graph(out: Output, contestant: Contestant) -> dict[str, Any]:
    """What a graph executes on this processor, and with the package onnx its floors, and which of them holds it back."""
    selection, streams = contestant.selection, contestant.streams
    profile = profile_graph(selection.content, selection.graph, streams)
    launch_ms = 1000 * float(np.median(contestant.launch_s))
    most = ", ".join(f"{kind} {share:.0%}" for kind, share in list(profile.share.items())[:3])
    people = counted(streams, "person", "people")
    record: dict[str, Any] = {
        "precision": selection.graph.precision,
        "streams": streams,
        "file_bytes": len(selection.content),
        "operators": profile.operators,
        "share_of_time": {kind: round(share, 4) for kind, share in profile.share.items()},
        **dict.fromkeys(("floors", "launch_over_products", "launch_over_highest", "bound_by")),
    }
    diagnosis = f"A launch takes {launch_ms:.3f} ms and executes {profile.operators} operators"
    if find_spec("onnx") is not None:
        from ...calib.measure.floors import measure_floors

        moved = len(selection.content) + 2 * contestant.model.state_bytes * streams
        floors = measure_floors(profile.products, moved_bytes=moved, operators=profile.operators, threads=contestant.threads)
        diagnosis = (
            f"{BOUND[floors.bound_by]}. {diagnosis}; it needs at least {floors.products_ms:.3f} ms for its products, "
            f"{floors.bytes_ms:.3f} for weights and states, {floors.starts_ms:.3f} to start the operators"
        )
        record |= {
            "floors": asdict(floors),
            "launch_over_products": round(launch_ms / floors.products_ms, 3) if floors.products_ms else None,
            "launch_over_highest": round(launch_ms / max(floors.by_name.values()), 3),
            "bound_by": floors.bound_by,
        }
    out.print(f"{selection.graph.precision}, {people}: {diagnosis}. Most time goes to {most}.")
    return record | {"diagnosis": diagnosis}


def _draw(path: Path, rows: list[dict[str, Any]], title: str) -> None:
    values = {
        f"{_label(row)}, {counted(row['streams'], 'person', 'people')}": {
            "median": row["p50_ms"],
            "99th percentile": row["p99_ms"],
        }
        for row in rows
    }
    draw_bars(path, Bars(values, title, "time of a step (ms)", numbers=".3g"))
