"""posemoe-edge replay"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import click

from ...runtime.artefact.certificate import exceeded
from ...runtime.artefact.precision import Precision
from ...runtime.command_line import command_line
from ...runtime.events import Event, PoseFrame
from ...runtime.model import Model, load
from ...runtime.pose.skeleton import H36M17
from ...runtime.replay import ReplayReport, open_recording, replay
from ...runtime.sinks import open_sinks
from .options import PRECISION
from .output import Output, Result, verb


@click.command("replay")
@click.argument("recording")
@click.option("--model", help="An artefact's folder, or a shipped one's name.  [default: the recorded one, if it is shipped]")
@click.option("--precision", type=PRECISION, help="The graph to run.  [default: the recorded one]")
@click.option("--engine", help="What runs the graph.  [default: the fastest on this machine]")
@click.option("--sink", multiple=True, help="Where the replayed poses go, as for run; repeatable.")
@click.option("--frames", type=click.IntRange(min=1), help="Stop after that many.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Processor threads of a launch.")
@click.option("--allow-failed", is_flag=True, help="Replay with an artefact whose drift certificate failed.")
@verb
def command(
    out: Output,
    recording: str,
    model: str | None,
    precision: Precision | None,
    engine: str | None,
    sink: tuple[str, ...],
    frames: int | None,
    threads: int,
    allow_failed: bool,
) -> Result:
    """Lift RECORDING, of --sink mcap:FILE.mcap, again, and compare the poses with the recorded ones.

    With the same graph on the same engine they have to be the same, bit for bit; on another engine or in another precision,
    within the drift that the model's certificate allows both.
    """
    return replay_recording(
        out, recording, model=model, precision=precision, engine=engine, sinks=sink, frames=frames, threads=threads,
        allow_failed=allow_failed,
    )  # fmt: skip


def replay_recording(
    out: Output,
    recording: str,
    *,
    model: str | None,
    precision: Precision | None = None,
    engine: str | None = None,
    sinks: Sequence[str] = (),
    frames: int | None = None,
    threads: int = 1,
    allow_failed: bool = False,
) -> Result:
    """What the verb does, also for ``verify --replay``."""
    with ExitStack() as stack:
        source = stack.enter_context(open_recording(recording, frames=frames))
        run = source.run
        recorded_precision: Any = run["precision"]
        lifter = load(
            model or run["preset"],
            precision=precision or (recorded_precision if model is None else None),
            engine=engine,
            threads=threads,
            allow_failed=allow_failed,
        )
        opened_sinks = [stack.enter_context(opened) for opened in open_sinks(sinks)]
        out.print(f"recorded: {run['preset']} {run['precision']} on {run['engine']}")
        out.print(f"replayed: {lifter.manifest.preset} {lifter.graph.precision} on {lifter.engine}")
        with out.progress("lifting", total=source.info.frames) as advance:

            def show(event: Event) -> None:
                if isinstance(event, PoseFrame):
                    advance(1)

            report = replay(source, lifter, sinks=opened_sinks, on_event=show)
    passed = _judge(out, report, lifter, run["preset"])
    names = {"recording": recording, "recorded": dict(run), "model": lifter.manifest.preset}
    next_command = None if report.identical else command_line("run", f"mcap:{recording}", "--sink", "jsonl:poses.jsonl")
    return Result({**names, **report.to_json(), "passed": passed}, exit_code=0 if passed else 1, next_command=next_command)


def _judge(out: Output, report: ReplayReport, model: Model, recorded_preset: str) -> bool:
    """Say how far both runs are apart; whether that is allowed."""
    if report.identical:
        out.print(f"{report.poses} poses in {report.frames} frames: the same, bit for bit")
        return True
    for count, whose in ((report.lost, "recorded run"), (report.added, "replay")):
        if count:
            out.warn(f"{count} poses are of the {whose} alone")
    if report.first is not None:
        first = report.first
        out.print(f"{report.poses - report.equal} of {report.poses} poses differ")
        joint = H36M17.joints[first.joint]
        out.print(f"  first at {first.t_s:.3f} s, person {first.person}, {joint}: {first.mm:.2g} mm")
        out.print(f"  mean {report.mean_mm:.2g}, p99 {report.p99_mm:.2g}, max {report.max_mm:.2g} mm")
    if report.lost or report.added:
        return False
    if report.same_graph and report.same_engine:
        out.warn("the same graph on the same engine: the poses should be the same, bit for bit")
        return False
    if model.manifest.preset != recorded_preset:
        out.print(f"another model than {recorded_preset}: nothing is expected of the difference")
        return True
    if model.certificate is None:
        out.warn(f"there is no certificate to judge it by: {command_line('verify', model.path.parent)}")
        return False
    apart = {"mean_mm": report.mean_mm, "p99_mm": report.p99_mm, "max_mm": report.max_mm}
    over = exceeded(apart, model.certificate.budget, times=2)  # each run may be as far from the reference as the budget says
    if over:
        out.warn(f"more than the certificate allows both runs: {', '.join(over)}")
    else:
        out.print("  within what the certificate allows both runs")
    return not over
