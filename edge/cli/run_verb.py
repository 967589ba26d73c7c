"""posemoe-edge run"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np

from ...runtime.artefact.precision import PRECISIONS
from ...runtime.detectors import open_detector
from ...runtime.errors import CheckFailedError, UsageError, missing_extra
from ...runtime.model import Model, load
from ...runtime.pipeline import FrameRefused, Pipeline, PoseFrame, TrackLost, TrackStarted
from ...runtime.pose.metrics import mpjpe
from ...runtime.shadow import Policy, Shadow, ShadowReport
from ...runtime.sinks import Sink, open_sink
from ...runtime.sources import Source, open_source
from .output import INTERRUPTED, Output, Result, megabytes, verb


@click.command("run")
@click.argument("source")
@click.option("--model", help="An artefact's folder, or a shipped one's name; default: posemoe-retention-s.")
@click.option(
    "--precision",
    type=click.Choice(list(PRECISIONS)),
    help="Default: what the artefact prefers, else fp32.",
)
@click.option("--engine", help="Default: the best one here.")
@click.option("--detector", help="For video and cameras: movenet:FILE.tflite.")
@click.option("--sink", multiple=True, help="jsonl:FILE, jsonl:- or png:FILE; may be given more than once.")
@click.option("--frames", type=click.IntRange(min=1), help="Stop after that many.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Processor threads of a launch.")
@click.option("--allow-failed", is_flag=True, help="Run an artefact whose drift certificate failed.")
@click.option(
    "--shadow",
    type=click.FloatRange(min=0, max=1, min_open=True),
    help="Share of the frames that PyTorch lifts too, beside the run.",
)
@click.option("--shadow-policy", type=click.Choice(get_args(Policy)), help="What drift past the budget does.  [default: warn]")
@click.pass_obj
@verb
def command(
    out: Output,
    cameras: dict[str, str],
    source: str,
    model: str | None,
    precision: Any,
    engine: str | None,
    detector: str | None,
    sink: tuple[str, ...],
    frames: int | None,
    threads: int,
    allow_failed: bool,
    shadow: float | None,
    shadow_policy: Policy | None,
) -> Result:
    """Lift the people in SOURCE: synthetic://walk?people=2, kpts:FILE.npz, a video file, camera0."""
    if out.as_json and "jsonl:-" in sink:
        raise UsageError("--json and --sink jsonl:- both want stdout", expected="one of them")
    if shadow_policy and not shadow:
        raise UsageError("--shadow-policy without a shadow", expected="--shadow SHARE with it")
    uri = cameras.get(source, source)
    with ExitStack() as stack:
        beside = stack.enter_context(_shadow(out, model, shadow, shadow_policy or "warn")) if shadow else None
        lifter = load(model, precision=precision, engine=engine, threads=threads, allow_failed=allow_failed, shadow=beside)
        found = open_detector(detector) if detector else None
        opened = stack.enter_context(open_source(uri, detector=found, frames=frames, recipe=lifter.manifest.keypoint_recipe))
        outlets = [stack.enter_context(open_sink(spec)) for spec in sink]
        out.print(f"{lifter} on {lifter.engine}, {_verdict(lifter)}")
        if not lifter.manifest.metric:
            out.warn(f"poses are in {lifter.manifest.units}: what is called metres or mm below is a thousandth of that")
        summary = run(out, lifter, opened, outlets, beside)
    data = {
        "source": source,
        "model": lifter.manifest.preset,
        "precision": lifter.graph.precision,
        "mode": lifter.graph.mode,
        "engine": lifter.engine,
        "certificate": None if lifter.certificate is None else _certified(lifter),
        "latency_frames": lifter.latency_frames,
        "state_bytes": lifter.state_bytes,
        **summary,
        "sinks": list(sink),
    }
    out.print(
        f"{summary['frames']} frames, {summary['poses']} poses of {summary['people']} people in {summary['seconds']:.2f} s"
        + (f", {summary['refused']} frames refused" if summary["refused"] else "")
    )
    if summary["step_ms"]:
        step = summary["step_ms"]
        state = megabytes(lifter.state_bytes)
        out.print(f"a step took {step['p50']:.2f} ms (median), {step['p99']:.2f} ms (p99); state {state} a person")
    if summary["mpjpe_mm"] is not None:
        out.print(f"MPJPE against the source's ground truth: {summary['mpjpe_mm']:.1f} mm")
    report = beside.report() if beside else None
    if report:
        _tell(out, report)
    for spec in sink:
        out.print(f"wrote {spec.partition(':')[2]}")
    if report and report.failed:
        return Result(data, exit_code=1, next_command=f"posemoe-edge verify {lifter.path.parent}")
    code = INTERRUPTED if summary["interrupted"] else 0
    lone = model is not None and Path(model).is_file()  # there is nothing beside it to inspect
    return Result(data, exit_code=code, next_command=None if lone else f"posemoe-edge inspect {model or ''}".rstrip())


def run(out: Output, model: Model, source: Source, sinks: Sequence[Sink], shadow: Shadow | None = None) -> dict[str, Any]:
    """Play a source through a model into sinks; what happened, in numbers.

    An interrupt ends it in good order, and so does the model's shadow, which is closed.
    """
    frames = poses = refused = 0
    people: set[int] = set()
    errors_m: list[float] = []
    steps_ms: list[float] = []
    started = time.perf_counter()
    interrupted = False
    pipeline = Pipeline(source, model)
    with out.progress("lifting", total=source.frames) as tick:
        try:
            for event in pipeline:
                if isinstance(event, PoseFrame):
                    frames += 1
                    poses += len(event.poses)
                    if event.poses:
                        steps_ms.append(1000 * pipeline.step_s)
                    for sink in sinks:
                        sink.write(event.frame, event.poses)
                    for person, truth in (event.frame.truth_m or {}).items():
                        if person in event.poses and model.latency_frames == 0:
                            errors_m.append(mpjpe(event.poses[person].xyz_m[None], truth[None], root="align"))
                    tick(1)
                elif isinstance(event, TrackStarted):
                    people.add(event.person)
                elif isinstance(event, FrameRefused):
                    refused += 1
                    out.warn(f"person {event.person} at {event.t_s:.3f} s: frame refused, {event.error}")
                elif isinstance(event, TrackLost):
                    out.print(f"  person {event.person} lost at {event.t_s:.2f} s")
        except KeyboardInterrupt:  # a camera has no other end: what was seen so far is kept
            interrupted = True
        except CheckFailedError as error:  # the shadow's policy
            out.warn(f"the run ends here: {error.what}")
    seconds = time.perf_counter() - started
    if shadow:
        shadow.close()
    steps = np.array(steps_ms[1:] or steps_ms)  # the first launch binds memory
    return {
        "frames": frames,
        "people": len(people),
        "poses": poses,
        "refused": refused,
        "interrupted": interrupted,
        "seconds": round(seconds, 3),
        "step_ms": {f"p{q}": round(float(np.percentile(steps, q)), 3) for q in (50, 90, 99, 100)} if len(steps) else None,
        "mpjpe_mm": round(1000 * float(np.mean(errors_m)), 2) if errors_m else None,
        "shadow": json.loads(shadow.report().model_dump_json()) if shadow else None,
    }


def _shadow(out: Output, model: str | None, share: float, policy: Policy) -> Shadow:
    """A shadow by the artefact's own PyTorch weights."""
    try:
        from ..torch_backend.shadow import shadow_of
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export", "a shadow by PyTorch") from None
    return shadow_of(model, share=share, policy=policy, on_report=out.warn)


def _tell(out: Output, report: ShadowReport) -> None:
    """What a shadow found, for people."""
    dropped = f", {report.dropped_spans} dropped since PyTorch was behind" if report.dropped_spans else ""
    out.print(f"shadow: PyTorch lifted {report.frames} of {report.fed_frames} frames too, in {report.spans} spans{dropped}")
    if report.drift_mm:
        of = report.drift_mm.model_dump().items()
        out.print(f"  drift {', '.join(f'{name} {mm:.2g}' for name, mm in of)} mm")
    allowed = f"mean {report.budget.mean_mm:g}, p99 {report.budget.p99_mm:g}, max {report.budget.max_mm:g} mm"
    if report.over_budget:
        forgot = f", {report.resets} resets" if report.policy == "reset" else ""
        out.warn(f"{report.over_budget} of {report.spans} spans were past the budget ({allowed}){forgot}")
    elif report.spans:
        out.print(f"  every span within the budget ({allowed})")
    if report.error:
        out.warn(f"the shadow ended before the run: {report.error}")


def _certified(model: Model) -> dict[str, Any]:
    assert model.certificate is not None
    drift = model.drift
    return {
        "engine": None if drift is None else drift.engine,
        "passed": None if drift is None else drift.passed,
        "mean_mm": None if drift is None else drift.measured.mean_mm,
        "max_mm": None if drift is None else drift.measured.max_mm,
        "motion": model.certificate.motion.kind,
    }


def _verdict(model: Model) -> str:
    drift = model.drift
    if drift is None:
        return f"not certified (posemoe-edge verify {model.path.parent})"
    passed = f"{'passed' if drift.passed else 'FAILED'}{'' if drift.engine == model.engine else f' on {drift.engine}'}"
    return f"drift certificate {passed}: {drift.measured.mean_mm:.2g} mm from PyTorch on average"
