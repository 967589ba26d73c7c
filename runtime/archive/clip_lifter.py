"""One clip to one file of poses, by a model that is opened once for many clips."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ... import __version__
from ..artefact.precision import Precision
from ..bounds import DEFAULT_MB, allow_megabytes
from ..destination import LEAST_FREE_BYTES, check_free
from ..detectors import DEFAULT_DETECTOR, DETECTORS, Detector, join_stages, open_detector, split_stages
from ..engines import ENGINES
from ..errors import FrameError, PoseEdgeError, SourceError
from ..events import FrameRefused, PoseFrame
from ..model import Model, load
from ..pipeline import Pipeline
from ..pose.camera_model import Camera, FieldOfView
from ..pose.joint_memory import HOLD_S
from ..pose.skeleton import H36M17
from ..pose.smoothing import Smooth
from ..run_stats import MOST_REFUSED_PER_POSE
from ..sources import RotatedSource, Source, open_source
from ..tracking import DEFAULT_TRACKER, TRACKERS
from .clip_record import SCHEMA_VERSION, ClipRecord, MadeBy, fingerprint, plain
from .pose_file import Format, write_poses
from .pose_parquet import import_pyarrow
from .pose_table import PoseTable

_MOST_WARNINGS = 10  # of a clip, in its record

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiftOptions:
    """How clips are lifted: the options of ``load`` and of ``Pipeline``, in a form that another process can be given.

    Args:
        model: as ``load`` takes it, with an absolute path.
        rotate: degrees by which pictures are turned clockwise: 0, 90, 180 or 270.
        frames: at most so many of each clip.
        form: of the files.
        max_input_mb: what the content of an input file may take in memory.
    """

    model: str | None = None
    precision: Precision | None = None
    engine: str | None = None
    allow_failed: bool = False
    require_signature: str | None = None
    detector: str = DEFAULT_DETECTOR
    tracker: str = DEFAULT_TRACKER
    smooth: Smooth = "off"
    hold_s: float = HOLD_S
    flip: bool = False
    rotate: int = 0
    frames: int | None = None
    camera: Camera | FieldOfView | None = None
    view: Literal["auto", "off"] = "auto"
    stature_m: float | None = None
    form: Format = "npz"
    max_input_mb: int = DEFAULT_MB


@dataclass(frozen=True)
class Job:
    """A clip to lift: its URI, what holds it, and where its poses go; all paths are absolute."""

    source: str
    path: Path
    target: Path
    may_have_pictures: bool


@dataclass(frozen=True)
class Outcome:
    """What came of a clip.

    Args:
        failure: what went wrong, then there is no file: ``what`` and, where they are known, ``expected`` and ``run``.
        seconds: from opening the clip to its complete file.
        warnings: what was odd about it.
    """

    source: str
    target: Path
    seconds: float
    frames: int = 0
    people: int = 0
    poses: int = 0
    refused: int = 0
    located: int = 0
    warnings: tuple[str, ...] = ()
    failure: dict[str, str | None] | None = None


class StoppedError(Exception):
    """The work was ended from outside, in the middle of a clip."""


class ClipLifter:
    """Lifts clips with one model, one after the other. A clip's poses do not depend on the clips before it.

    Args:
        options: the model, and how to lift.
        threads: processor threads of a launch: one, so that several processes do not compete.

    Raises:
        PoseEdgeError: the model cannot be opened, see ``load``; no such detector or tracker; or no pyarrow, for Parquet.
    """

    def __init__(self, options: LiftOptions, *, threads: int = 1) -> None:
        allow_megabytes(options.max_input_mb)
        self.options = options
        for detector in split_stages(options.detector):
            DETECTORS.resolve(detector)
        TRACKERS.resolve(options.tracker)
        if options.form == "parquet":
            import_pyarrow()
        self.model: Model = load(
            options.model,
            precision=options.precision,
            engine=options.engine,
            threads=threads,
            allow_failed=options.allow_failed,
            require_signature=options.require_signature,
        )
        self._detector: Detector | None = None

    @property
    def detector(self) -> Detector:
        """The detector, opened at its first use: keypoints need none."""
        self._detector = self._detector or open_detector(self.options.detector)
        return self._detector

    def pinned(self) -> LiftOptions:
        """The same options with the engine and the precision that were chosen here, so that every process uses the same."""
        opened = self.model.engine  # such as onnxruntime-cpu, of the engine onnxruntime
        names = [name for name in ENGINES if opened == name or opened.startswith(f"{name}-")]
        engine = self.options.engine or max(names, key=len, default=None)
        return replace(self.options, engine=engine, precision=self.model.graph.precision)

    def made_by(self, *, pictures: bool) -> MadeBy:
        """What makes the poses of a clip of pictures, or of keypoints, what they are."""
        options, model = self.options, self.model
        return MadeBy(
            version=__version__,
            preset=model.manifest.preset,
            precision=model.graph.precision,
            mode=model.graph.mode,
            engine=model.engine,
            graph=model.identity,
            detector=options.detector if pictures else None,
            detector_file=_detector_file(options.detector) if pictures else None,
            tracker=options.tracker if pictures else None,
            smooth=options.smooth,
            hold_s=options.hold_s,
            flip=options.flip,
            rotate=options.rotate,
            frames=options.frames,
            view=options.view,
            stature_m=options.stature_m,
            camera=plain(options.camera),
        )

    def lift(self, job: Job, *, stop: Callable[[], bool] = lambda: False) -> Outcome:
        """Lift a clip and write its file. What goes wrong is in the outcome.

        Args:
            stop: asked after each frame; where it is true the clip is given up.

        Raises:
            StoppedError: the clip was given up.
        """
        began_s = time.monotonic()
        with collected_warnings() as warnings:
            try:
                table, record = self._lifted(job, warnings, stop)
                write_poses(job.target, table, record, form=self.options.form)
            except StoppedError:
                raise
            except PoseEdgeError as error:
                failure = {"what": error.what, "expected": error.expected, "run": error.run}
            except Exception as error:  # of one clip, such as a full disk or an error in a decoder: the others go on
                log.debug("%s", job.source, exc_info=True)
                failure = {"what": f"{type(error).__name__}: {error}", "expected": None, "run": None}
            else:
                counts = {name: getattr(record, name) for name in ("frames", "people", "poses", "refused", "located")}
                return Outcome(job.source, job.target, time.monotonic() - began_s, warnings=record.warnings, **counts)
        return Outcome(job.source, job.target, time.monotonic() - began_s, warnings=tuple(warnings), failure=failure)

    def close(self) -> None:
        self.model.close()

    def _lifted(self, job: Job, warnings: list[str], stop: Callable[[], bool]) -> tuple[PoseTable, ClipRecord]:
        """The poses of a clip, and their record.

        Raises:
            SourceError: it cannot be read, or has no frames.
            FrameError: hardly a frame was accepted.
            MissingError: the disk is full already.
        """
        job.target.parent.mkdir(parents=True, exist_ok=True)
        check_free(job.target.parent, LEAST_FREE_BYTES, what=job.target.name)
        size, changed_ns = fingerprint(job.path)  # before it is read: a change while it is read is one
        table, refusals = PoseTable(), list[FrameError]()
        with self._opened(job) as (source, camera):
            pipeline = self._pipeline(source, camera)
            for event in pipeline:
                if isinstance(event, PoseFrame):
                    table.add(event)
                elif isinstance(event, FrameRefused):
                    refusals.append(event.error)
                if stop():
                    raise StoppedError
            made_by = self.made_by(pictures=source.pictures)
        if not table.frames:
            raise SourceError(f"{job.source} has no frames", expected="a clip with at least one")
        if len(refusals) > MOST_REFUSED_PER_POSE * table.poses:
            raise FrameError(
                f"{len(refusals)} of {len(refusals) + table.poses} frames of a person were refused, the first one: "
                f"{refusals[0].what}",
                expected=refusals[0].expected,
            )
        if refusals:
            warnings.append(f"{len(refusals)} frames of a person were refused, the first one: {refusals[0]}")
        if not table.poses:
            warnings.append("nobody was seen")
        if len(warnings) > _MOST_WARNINGS:
            warnings[_MOST_WARNINGS:] = [f"{len(warnings) - _MOST_WARNINGS} more warnings"]
        return table, ClipRecord(
            schema_version=SCHEMA_VERSION,
            source=job.source,
            source_bytes=size,
            source_mtime_ns=changed_ns,
            made_by=made_by,
            frames=table.frames,
            people=table.people,
            poses=table.poses,
            refused=len(refusals),
            located=table.located,
            units=self.model.manifest.units,
            joints=H36M17.joints,
            warnings=tuple(warnings),
        )

    @contextmanager
    def _opened(self, job: Job) -> Iterator[tuple[Source, Camera | FieldOfView | None]]:
        """A clip's source, turned if that was asked for, and what is known of its camera."""
        with open_source(job.source, frames=self.options.frames) as source:
            quarters = self.options.rotate // 90 if source.pictures else 0
            camera = self.options.camera
            if quarters:
                source = RotatedSource(source, 90 * quarters)
                camera = None if camera is None else camera.turned(quarters)
            yield source, camera

    def _pipeline(self, source: Source, camera: Camera | FieldOfView | None) -> Pipeline:
        options = self.options
        return Pipeline(
            source,
            self.model,
            detector=self.detector if source.pictures else None,
            tracker=options.tracker,
            camera=camera,
            view=options.view,
            stature_m=options.stature_m,
            smooth=options.smooth,
            hold_s=options.hold_s,
            flip=options.flip,
        )


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """The texts of what this package warns of inside, which is printed nowhere else: many clips say the same."""
    texts: list[str] = []
    handler = _ListHandler(texts)
    logger = logging.getLogger(__name__.partition(".")[0])
    propagated = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield texts
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated


class _ListHandler(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(record.getMessage())


def absolute(options: LiftOptions) -> LiftOptions:
    """The same options with the paths of model, detector and key made absolute, for processes in another folder."""
    changes: dict[str, Any] = {}
    if options.model is not None and Path(options.model).exists():
        changes["model"] = str(Path(options.model).absolute())
    if options.require_signature is not None:
        changes["require_signature"] = str(Path(options.require_signature).absolute())
    changes["detector"] = join_stages(map(_with_absolute_file, split_stages(options.detector)))
    return replace(options, **changes)


def _with_absolute_file(detector: str) -> str:
    name, colon, file = detector.partition(":")
    return f"{name}:{Path(file).absolute()}" if colon and Path(file).exists() else detector


def _detector_file(detector: str) -> str | None:
    """Size and time of each file that a detector is named by, as text; None for one that is named alone."""
    files = [Path(stage.partition(":")[2]) for stage in split_stages(detector)]
    prints = [fingerprint(file) for file in files if file.is_file()]
    return "; ".join(f"{size} bytes, {changed_ns} ns" for size, changed_ns in prints) or None
