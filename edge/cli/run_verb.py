"""posemoe-edge run"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, get_args

import click

from ...runtime.address import Address
from ...runtime.artefact.precision import Precision
from ...runtime.command_line import command_line
from ...runtime.detectors import DEFAULT_DETECTOR
from ...runtime.errors import UsageError, missing_extra
from ...runtime.live_status import LiveStatus
from ...runtime.metrics_server import FORM, MetricsServer
from ...runtime.model import Model, load
from ...runtime.pipeline import Pipeline
from ...runtime.pose.smoothing import Smooth
from ...runtime.run_stats import MOST_REFUSED_PER_POSE
from ...runtime.serving.remote import RemoteModel
from ...runtime.shadow import Policy, Shadow
from ...runtime.sinks import BaseSink, Sink, check_sinks, open_sinks
from ...runtime.sources import RotatedSource, open_source
from ...runtime.sources.redaction import redacted
from ...runtime.tracking import DEFAULT_TRACKER
from .camera_options import camera_options, known_camera
from .ending import ended_by_signals
from .lifting_options import model_options, person_options, trust_options
from .output import INTERRUPTED, Output, Result, verb
from .run_pipeline import run_pipeline
from .run_report import camera_line, certificate_summary, print_shadow, print_stats, verdict
from .systemd import ServiceManager

_WITHOUT_POSITION = (
    "fewer than six joints seen, joints that fit no body, keypoints that are normalised already, or poses not in metres"
)

SERVER_PATIENCE_S = 30.0
"""How long the frames of a source that is not live wait for a server that was lost."""

_STDOUT_CLOSED = "stdout was closed, and got no further poses"


@click.command("run")
@click.argument("source")
@click.option("--server", metavar="URL", help="Lift on a Triton and not here: grpc://HOST:PORT (see the verb serve).")
@model_options
@click.option(
    "--detector", help="For pictures: blazepose:heavy, movenet:FILE, rtmpose:FILE.onnx, onnx:FILE.onnx.  [default: blazepose]"
)
@click.option("--tracker", default=DEFAULT_TRACKER, show_default=True, help="Gives people ids: oks, or order.")
@person_options
@click.option(
    "--sink",
    multiple=True,
    help="jsonl:FILE, jsonl:-, png:FILE, video:FILE.mp4, mcap:FILE.mcap, ros2://NAME, rerun, foxglove, udp://HOST:PORT or "
    "window; may be given more than once.",
)
@click.option("--frames", type=click.IntRange(min=1), help="Stop after N frames.")
@click.option("--rotate", type=click.Choice(["90", "180", "270"]), help="Turn each picture clockwise by so many degrees.")
@camera_options
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Processor threads of a launch.")
@trust_options
@click.option(
    "--shadow",
    type=click.FloatRange(min=0, max=1, min_open=True),
    help="Share of the frames that PyTorch lifts too, to report how far the poses are apart.",
)
@click.option(
    "--shadow-policy",
    type=click.Choice(get_args(Policy)),
    help="What happens when the drift is over the budget.  [default: warn]",
)
@click.option("--metrics", help="Serve metrics for Prometheus at HOST:PORT; port 0 takes a free one.")
@click.pass_obj
@verb
def command(
    out: Output,
    cameras: dict[str, str],
    source: str,
    server: str | None,
    model: str | None,
    precision: Precision | None,
    engine: str | None,
    detector: str | None,
    tracker: str,
    smooth: Smooth,
    hold: float,
    flip: bool,
    sink: tuple[str, ...],
    frames: int | None,
    rotate: str | None,
    camera: str | None,
    fov: float | None,
    gravity: str | None,
    camera_height: float | None,
    stature: float | None,
    view: Literal["auto", "off"],
    threads: int,
    require_signature: Path | None,
    allow_failed: bool,
    shadow: float | None,
    shadow_policy: Policy | None,
    metrics: str | None,
) -> Result:
    """Lift the people in SOURCE: synthetic://walk?people=2, kpts:FILE.npz|.json, a video, pictures, camera0, rtsp://HOST/PATH."""
    if out.as_json and "jsonl:-" in sink:
        raise UsageError("--json and --sink jsonl:- both write to stdout", expected="one of the two")
    if shadow_policy and not shadow:
        raise UsageError("--shadow-policy without a shadow", expected="--shadow SHARE with it")
    if server is not None:
        chosen_by_server = {
            "--model": model,
            "--precision": precision,
            "--engine": engine,
            "--threads": threads != 1,
            "--require-signature": require_signature,
            "--allow-failed": allow_failed,
            "--shadow": shadow,
        }
        if given := [option for option, value in chosen_by_server.items() if value]:
            raise UsageError(f"--server with {', '.join(given)}", expected="what the server was started with")
    listen_at = Address.parse(f"//{metrics}", form=FORM) if metrics is not None else None
    seen_by = known_camera(camera, fov=fov, gravity=gravity, camera_height=camera_height)
    with ExitStack() as stack:
        systemd = stack.enter_context(ServiceManager())
        ending = stack.enter_context(ended_by_signals(systemd.stopping))
        shadow_run = stack.enter_context(_open_shadow(out, model, shadow, shadow_policy or "warn")) if shadow else None
        lifter: Model | RemoteModel
        if server is not None:
            lifter = RemoteModel.connect(server, on_notice=out.warn)
            stack.callback(lifter.close)
        else:
            lifter = load(
                model,
                precision=precision,
                engine=engine,
                threads=threads,
                allow_failed=allow_failed,
                shadow=shadow_run,
                require_signature=require_signature,
            )
        opened = stack.enter_context(open_source(cameras.get(source, source), frames=frames))
        if isinstance(lifter, RemoteModel):  # a live source must not wait: its frames are refused until the server is back
            lifter.patience_s = 0.0 if opened.info.live else SERVER_PATIENCE_S
        if rotate:
            opened = RotatedSource(opened, int(rotate))
            seen_by = None if seen_by is None else seen_by.turned(int(rotate) // 90)
        pipeline = Pipeline(
            opened,
            lifter,
            detector=detector,
            tracker=tracker,
            camera=seen_by,
            view=view,
            stature_m=stature,
            smooth=smooth,
            hold_s=hold,
            flip=flip,
        )
        total = opened.info.frames
        sinks = [stack.enter_context(opened_sink) for opened_sink in open_sinks(sink)]
        check_sinks(sinks, opened)
        out.print(f"{lifter} on {server or lifter.engine}, {verdict(lifter)}")
        for url in filter(None, (getattr(viewer, "url", None) for viewer in sinks)):
            out.print(f"watch it at {url}")
        if opened.pictures:
            out.print(f"{detector or DEFAULT_DETECTOR} finds the people in {opened.info.name}, {tracker} gives them ids")
        if not lifter.manifest.metric:
            out.warn(f"poses are in {lifter.manifest.units}: what is called metres or mm below is a thousandth of that")
        run_info = pipeline.run_info(opened.info)
        camera_known = seen_by is not None or opened.info.camera is not None
        if stature and not camera_known:
            raise UsageError("--stature without a camera", expected="--camera FILE or --fov DEGREES with it")
        out.print(camera_line(run_info, known=camera_known))
        measured = shadow_run.report if shadow_run else None
        status = LiveStatus(opened.info.fps, dropped=lambda: pipeline.dropped, shadow=measured)
        if listen_at:
            metrics_server = stack.enter_context(MetricsServer(status, run_info, listen_at))
            out.print(f"metrics at {metrics_server.url}")
        try:
            stats = run_pipeline(out, pipeline, sinks, total=total, status=status, watch=[systemd.watch(status)])
        except Exception as failure:
            if isinstance(failure, BrokenPipeError):
                out.warn(_STDOUT_CLOSED)
            for path in _written(sinks):
                out.print(f"kept in {path}: what was lifted before the error")
            raise
        report = None
        if shadow_run:
            shadow_run.close()
            report = shadow_run.report()
    data = {
        "source": redacted(source),
        "model": lifter.manifest.preset,
        "precision": lifter.graph.precision,
        "mode": lifter.graph.mode,
        "engine": lifter.engine,
        "server": server,
        "resumed": lifter.resumed if isinstance(lifter, RemoteModel) else None,
        "certificate": certificate_summary(lifter),
        "latency_frames": lifter.latency_frames,
        "state_bytes": lifter.state_bytes,
        "view_from": run_info.view_from,
        **stats.to_json(),
        "shadow": json.loads(report.model_dump_json()) if report else None,
        "metrics": metrics_server.url if listen_at else None,
        "signal": ending.by.name if ending.by else None,
        "sinks": list(sink),
        "written": [str(path) for path in _written(sinks)],
    }
    print_stats(out, stats, lifter)
    for error in stats.sink_failures:
        gone = isinstance(error, BrokenPipeError)
        out.warn(_STDOUT_CLOSED if gone else f"a sink failed, and got nothing after that: {error}")
    if camera_known and stats.located < stats.poses:
        out.warn(f"{stats.poses - stats.located} of {stats.poses} poses have no position: {_WITHOUT_POSITION}")
    if report:
        print_shadow(out, report)
    for path in _written(sinks):
        out.print(f"wrote {path}")
    if report and report.failed and isinstance(lifter, Model):
        return Result(data, exit_code=1, next_command=command_line("verify", lifter.path.parent))
    if any(not isinstance(error, BrokenPipeError) for error in stats.sink_failures):
        return Result(data, exit_code=1)
    if stats.refused > MOST_REFUSED_PER_POSE * stats.poses:
        out.warn("hardly anything was lifted" if stats.poses else "nothing was lifted: every frame was refused")
        return Result(data, exit_code=1)
    code = INTERRUPTED if stats.interrupted and not ending.terminated else 0
    if opened.pictures and not sink:  # nobody has seen anything yet
        own_tracker = None if tracker == DEFAULT_TRACKER else tracker
        chosen = {"--server": server, "--detector": detector, "--tracker": own_tracker, "--model": model, "--rotate": rotate}
        return Result(data, code, _command_that_draws(source, chosen))
    return Result(data, code, None if server is not None else _command_that_inspects(model))


def _command_that_draws(source: str, chosen: Mapping[str, str | None]) -> str:
    """The same run into a video, with those of the options that were chosen."""
    options = [word for option, value in chosen.items() if value for word in (option, value)]
    return command_line("run", redacted(source), *options, "--sink", "video:run.mp4")


def _command_that_inspects(model: str | None) -> str | None:
    """None for a standalone graph: without a folder there is nothing to inspect."""
    if model is None:
        return command_line("inspect")
    return None if Path(model).is_file() else command_line("inspect", Path(model))


def _written(sinks: Sequence[Sink]) -> list[Path]:
    """The files that sinks kept and that are there: a sink that got nothing to draw keeps none."""
    written = [sink.written for sink in sinks if isinstance(sink, BaseSink) and sink.written is not None]
    return [path for path in written if path.exists()]


def _open_shadow(out: Output, model: str | None, share: float, policy: Policy) -> Shadow:
    """A shadow by the artefact's own PyTorch weights."""
    try:
        from ..torch_backend.shadow import shadow_of
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export", "a shadow by PyTorch") from None
    return shadow_of(model, share=share, policy=policy, on_report=out.warn)
