"""posemoe-edge lift"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import click

from ...runtime.archive.clip_lifter import ClipLifter, LiftOptions, Outcome, absolute
from ...runtime.archive.clip_record import MadeBy
from ...runtime.archive.clip_search import find_clips
from ...runtime.archive.pending import Pending, find_pending
from ...runtime.archive.pose_file import Format
from ...runtime.archive.ray_workers import RayCluster
from ...runtime.archive.workers import lift_here, lift_in_processes
from ...runtime.artefact.precision import Precision
from ...runtime.artefact.room import check_room
from ...runtime.bounds import most_bytes
from ...runtime.command_line import command_line
from ...runtime.detectors import DEFAULT_DETECTOR
from ...runtime.errors import UsageError
from ...runtime.platform.cores import available_cores
from ...runtime.pose.smoothing import Smooth
from ...runtime.sources.redaction import redacted
from ...runtime.tracking import DEFAULT_TRACKER
from .camera_options import camera_options, known_camera
from .ending import ended_by_signals
from .lifting_options import model_options, person_options, trust_options
from .output import INTERRUPTED, Output, Result, counted, verb

_MOST_LINES = 20  # of failures, and of warnings, that are printed; the others are counted
_CLIP_BYTES = 1_000_000  # of poses of a clip of some minutes: an estimate of the room that is needed


@click.command("lift")
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the poses, one file for each clip; made if absent."
)
@click.option("--format", type=click.Choice(get_args(Format)), default="npz", show_default=True, help="Of the files of poses.")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes, with one thread each.  [default: one for each core; 1 on a GPU]"
)
@click.option(
    "--ray", metavar="ADDRESS", help="Lift on a Ray cluster: auto, or HOST:PORT of its head; --workers are its actors."
)
@model_options
@click.option(
    "--detector",
    default=DEFAULT_DETECTOR,
    show_default=True,
    help="For pictures: blazepose:heavy, movenet:FILE, rtmpose:FILE.onnx, onnx:FILE.onnx.",
)
@click.option("--tracker", default=DEFAULT_TRACKER, show_default=True, help="Gives people in pictures ids: oks, or order.")
@person_options
@click.option("--frames", type=click.IntRange(min=1), help="At most N frames of each clip.")
@click.option("--rotate", type=click.Choice(["90", "180", "270"]), help="Turn each picture clockwise by so many degrees.")
@camera_options
@trust_options
@verb
def command(
    output: Output,
    inputs: tuple[str, ...],
    out: Path,
    format: Format,
    workers: int | None,
    ray: str | None,
    model: str | None,
    precision: Precision | None,
    engine: str | None,
    detector: str,
    tracker: str,
    smooth: Smooth,
    hold: float,
    flip: bool,
    frames: int | None,
    rotate: str | None,
    camera: str | None,
    fov: float | None,
    gravity: str | None,
    camera_height: float | None,
    stature: float | None,
    view: Literal["auto", "off"],
    require_signature: Path | None,
    allow_failed: bool,
) -> Result:
    """Lift every clip of INPUTS: files of keypoints, videos, folders of them, or quoted patterns such as "clips/*/*.mp4".

    The same call goes on where an earlier one ended: clips whose poses are there are left alone.
    """
    seen_by = known_camera(camera, fov=fov, gravity=gravity, camera_height=camera_height)
    if stature and seen_by is None:
        raise UsageError("--stature without a camera", expected="--camera FILE or --fov DEGREES with it")
    options = absolute(
        LiftOptions(
            model=model,
            precision=precision,
            engine=engine,
            allow_failed=allow_failed,
            require_signature=None if require_signature is None else str(require_signature),
            detector=detector,
            tracker=tracker,
            smooth=smooth,
            hold_s=hold,
            flip=flip,
            rotate=int(rotate or 0),
            frames=frames,
            camera=seen_by,
            view=view,
            stature_m=stature,
            form=format,
            max_input_mb=most_bytes() >> 20,
        )
    )
    with ended_by_signals() as ending:
        clips = find_clips(inputs)
        pictures = any(clip.may_have_pictures for clip in clips)
        if rotate and not pictures:
            raise UsageError("keypoints cannot be turned", expected="--rotate for videos and pictures")
        check_room(out, _CLIP_BYTES)
        lifter = ClipLifter(options)

        @cache
        def made_by(may_have_pictures: bool) -> tuple[MadeBy, ...]:
            return tuple(lifter.made_by(pictures=which) for which in {may_have_pictures, False})

        todo = find_pending(clips, out, form=format, made_by=made_by)
        options = lifter.pinned()
        if any(job.may_have_pictures and not job.source.startswith("mcap:") for job in todo.jobs):
            _ = lifter.detector  # what is missing is one error before the work
        with ExitStack() as stack:
            cluster = stack.enter_context(RayCluster(ray)) if ray and todo.jobs else None
            on_gpu = "cpu" not in lifter.model.engine
            most = cluster.slots(gpu=on_gpu) if cluster else 1 if on_gpu else available_cores()
            processes = min(workers or most, max(len(todo.jobs), 1))
            where = f" on {counted(cluster.machines, 'machine')}" if cluster else ""
            output.print(f"{lifter.model} on {lifter.model.engine}, {counted(processes, 'process', 'processes')}{where}")
            _print_pending(output, todo, len(clips))
            out.mkdir(parents=True, exist_ok=True)
            tally, interrupted = _Tally(output), False
            stack.callback(lifter.close)
            try:
                with output.progress("lifting", total=len(todo.jobs), unit="clips", rate=tally.rate) as advance:
                    tally.advance = advance
                    if cluster:
                        cluster.lift(todo.jobs, options, out, workers=processes, gpu=on_gpu, on_outcome=tally.add)
                    elif processes == 1:
                        lift_here(todo.jobs, lifter, on_outcome=tally.add)
                    else:
                        lift_in_processes(todo.jobs, options, workers=processes, on_outcome=tally.add)
            except KeyboardInterrupt:
                interrupted = True
    tally.print_summary(out)
    data = {
        "out": str(out),
        "format": format,
        "model": lifter.model.manifest.preset,
        "precision": lifter.model.graph.precision,
        "engine": lifter.model.engine,
        "workers": processes,
        "ray": ray,
        "clips": len(clips),
        "finished_before": todo.finished,
        "outdated": todo.outdated,
        **tally.to_json(),
        "interrupted": interrupted,
        "signal": ending.by.name if ending.by else None,
    }
    if interrupted:
        left = len(todo.jobs) - tally.lifted - len(tally.failures)
        output.warn(f"interrupted: {counted(left, 'clip')} left, and what is finished is kept in {out}")
        return Result(data, 0 if ending.terminated else INTERRUPTED, command_line(*sys.argv[1:]))
    if tally.failures:
        return Result(data, 1, command_line("run", _relative(tally.failures[0].source), *_model_options(model)))
    return Result(data, 0, command_line("run", _relative(clips[0].source), *_model_options(model), "--sink", "video:look.mp4"))


def _print_pending(output: Output, todo: Pending, clips: int) -> None:
    finished = f", {todo.finished} finished before" if todo.finished else ""
    again = f" ({todo.outdated} again: changed since, or by another model or other options)" if todo.outdated else ""
    output.print(f"{counted(clips, 'clip')}{finished}, {len(todo.jobs)} to lift{again}")


def _model_options(model: str | None) -> list[str]:
    return [] if model is None else ["--model", model]


def _relative(source: str) -> str:
    """A clip's URI with its path as short as it can be from here."""
    scheme, colon, path = source.rpartition(":")
    try:
        return f"{scheme}{colon}{Path(path).relative_to(Path.cwd())}"
    except ValueError:
        return source


@dataclass
class _Tally:
    """What came of the clips so far, and what is printed of it."""

    output: Output
    lifted: int = 0
    failures: list[Outcome] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)
    warned: int = 0
    began_s: float = field(default_factory=time.monotonic)
    advance: Callable[[int], None] = lambda clips: None  # of the progress bar, while there is one

    def add(self, outcome: Outcome) -> None:
        """Count a clip, and print what was wrong or odd about it."""
        self.advance(1)
        for warning in outcome.warnings if outcome.failure is None else ():
            self._warn(f"{_relative(outcome.source)}: {warning}")
        if outcome.failure is not None:
            self.failures.append(outcome)
            if len(self.failures) <= _MOST_LINES:
                expected = f"; expected {outcome.failure['expected']}" if outcome.failure["expected"] else ""
                self.output.failed(f"failed: {_relative(redacted(outcome.source))}: {outcome.failure['what']}{expected}")
            return
        self.lifted += 1
        for name in ("frames", "poses", "refused", "located"):
            self.sums[name] += getattr(outcome, name)

    def rate(self) -> str:
        """How fast it goes; empty before the first clip."""
        seconds = time.monotonic() - self.began_s
        return f"{self.sums['frames'] / seconds:.0f} frames/s" if self.lifted and seconds > 0 else ""

    def print_summary(self, out: Path) -> None:
        seconds = time.monotonic() - self.began_s
        if self.warned > _MOST_LINES:
            self.output.warn(f"{self.warned} warnings in all; each is in the file of its clip")
        if self.lifted:
            counts = f"{counted(self.lifted, 'clip')}, {self.sums['frames']} frames, {counted(self.sums['poses'], 'pose')}"
            self.output.print(f"{counts} in {seconds:.1f} s: {self.sums['frames'] / seconds:.0f} frames/s; to {out}")
        if self.failures:
            self.output.failed(f"{counted(len(self.failures), 'clip')} failed")

    def to_json(self) -> dict[str, Any]:
        seconds = time.monotonic() - self.began_s
        return {
            "lifted": self.lifted,
            "failed": [{"source": redacted(outcome.source), **(outcome.failure or {})} for outcome in self._sorted_failures],
            **{name: self.sums[name] for name in ("frames", "poses", "refused", "located")},
            "warnings": self.warned,
            "seconds": round(seconds, 3),
            "frames_per_second": round(self.sums["frames"] / seconds, 1) if seconds > 0 else None,
        }

    @property
    def _sorted_failures(self) -> list[Outcome]:
        return sorted(self.failures, key=lambda outcome: outcome.source)

    def _warn(self, text: str) -> None:
        self.warned += 1
        if self.warned <= _MOST_LINES:
            self.output.warn(text)
