"""What happened in a run, in numbers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from .errors import CheckFailedError
from .events import Event, FrameRefused, PoseFrame, TrackStarted
from .pose.metrics import mpjpe
from .pose.types import Doubt
from .time_histogram import TimeHistogram

PERCENTILES = (50, 90, 99, 100)

MOST_REFUSED_PER_POSE = 9
"""How many frames of a person may be refused for each pose. With more, a run has failed although it has poses: the first frame
of a person may be accepted where all that follow are refused, as for their times."""

REMEMBERED_PEOPLE = 65_536
"""Ids of an endless run: somebody who comes back after as many others have come counts once more."""


@dataclass(frozen=True)
class RunStats:
    """The result of ``Pipeline.run``.

    Args:
        frames: frames of the source.
        people: how many different person ids were seen; one that comes back after 65,536 others counts once more.
        poses: poses of all people.
        refused: frames of one person that were refused.
        interrupted: the run was ended by an interrupt from the keyboard.
        seconds: duration of the run.
        stages_ms: stage -> "mean" milliseconds over all frames of the run, which add up to a frame's, and "p50", "p90", "p99",
            "p100" of the frames in which it ran; without the first time, which binds memory. Percentiles are within half a
            percent, see ``TimeHistogram``.
        mpjpe_mm: mean per-joint position error against the source's truth, hips aligned; None without a truth, and for
            models with a latency.
        located: poses with a position in metres.
        root_mm: mean distance of the hip's position from the source's truth; None without one of the two, and for models with
            a latency.
        doubts: reason -> how many poses it makes doubtful.
        failed_check: the check that ended the run, such as that of a shadow; None if the source ended.
        dropped: frames of a live source that were dropped because a sink was too slow.
        sink_failures: errors of sinks, which got no further events.
    """

    frames: int
    people: int
    poses: int
    refused: int
    interrupted: bool
    seconds: float
    mpjpe_mm: float | None
    located: int = 0
    root_mm: float | None = None
    doubts: Mapping[Doubt, int] = field(default_factory=dict)
    failed_check: CheckFailedError | None = None
    stages_ms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    dropped: int = 0
    sink_failures: tuple[Exception, ...] = ()

    @property
    def step_ms(self) -> Mapping[str, float] | None:
        """The times of the model, ``lift``; None without poses."""
        return self.stages_ms.get("lift")

    @property
    def fps(self) -> float | None:
        """Frames a second of the whole run, with reading, drawing and writing; None without frames."""
        return self.frames / self.seconds if self.frames and self.seconds > 0 else None

    def to_json(self) -> dict[str, Any]:
        """The numbers, rounded."""
        stages_ms = {stage: {name: round(ms, 3) for name, ms in of.items()} for stage, of in self.stages_ms.items()}
        return {
            "frames": self.frames,
            "people": self.people,
            "poses": self.poses,
            "refused": self.refused,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "fps": None if self.fps is None else round(self.fps, 2),
            "stages_ms": stages_ms,
            "step_ms": stages_ms.get("lift"),
            "mpjpe_mm": None if self.mpjpe_mm is None else round(self.mpjpe_mm, 2),
            "located": self.located,
            "root_mm": None if self.root_mm is None else round(self.root_mm, 1),
            "doubts": dict(self.doubts),
            "dropped": self.dropped,
            "sink_failures": [str(error) for error in self.sink_failures],
        }


@dataclass
class Mean:
    """The mean of numbers that are not kept; None without one."""

    total: float = 0.0
    count: int = 0

    def add(self, number: float) -> None:
        self.total += number
        self.count += 1

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None


class StageSummary:
    """The times of a stage, in the frames in which it ran. The first counts only if it is the only one: it binds memory."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._later = TimeHistogram()

    def add(self, stage_s: float) -> None:
        if self._first_s is None:
            self._first_s = stage_s
        else:
            self._later.add(stage_s)

    def to_ms(self, frames: int) -> dict[str, float]:
        """Mean over all ``frames`` of the run, and percentiles of those in which the stage ran."""
        assert self._first_s is not None, "a stage is known by its first time"
        share = (1 + self._later.count) / frames
        if not self._later.count:
            return {"mean": 1000 * share * self._first_s} | {f"p{q}": 1000 * self._first_s for q in PERCENTILES}
        percentiles_ms = {f"p{q}": 1000 * self._later.percentile_s(q) for q in PERCENTILES}
        return {"mean": 1000 * share * self._later.mean_s} | percentiles_ms


@dataclass
class RunCounter:
    """Counts the events of a run, in memory that does not grow with it.

    Args:
        latency_frames: of the model: with a latency a pose is not compared with the truth of the frame that it comes with.
    """

    latency_frames: int
    started_s: float = field(default_factory=time.perf_counter)
    frames: int = 0
    poses: int = 0
    refused: int = 0
    people: int = 0
    located: int = 0
    stages: dict[str, StageSummary] = field(default_factory=dict)
    errors_m: Mean = field(default_factory=Mean)
    root_errors_m: Mean = field(default_factory=Mean)
    doubts: Counter[Doubt] = field(default_factory=Counter)
    _known_people: dict[int, None] = field(default_factory=dict)  # the newest last

    def add(self, event: Event) -> None:
        """Count one event."""
        if isinstance(event, TrackStarted):
            self._count_person(event.person)
        elif isinstance(event, FrameRefused):
            self.refused += 1
        elif isinstance(event, PoseFrame):
            self.frames += 1
            self.poses += len(event.poses)
            self.located += sum(pose.root is not None for pose in event.poses.values())
            self.doubts.update(doubt for pose in event.poses.values() for doubt in pose.doubts)
            for stage, stage_s in event.stages_s.items():
                if stage != "lift" or event.poses:  # a frame of nobody lifts nobody
                    self.stages.setdefault(stage, StageSummary()).add(stage_s)
            for person, truth_m in (event.truth_m or {}).items():
                if person in event.poses and self.latency_frames == 0:
                    self.errors_m.add(mpjpe(event.poses[person].xyz_m[None], truth_m[None], root="align"))
            for person, truth_m in (event.truth_root_m or {}).items():
                root = event.poses[person].root if person in event.poses else None
                if root is not None and self.latency_frames == 0:
                    self.root_errors_m.add(float(np.linalg.norm(root.xyz_m - truth_m)))

    def result(self, *, interrupted: bool, failed_check: CheckFailedError | None) -> RunStats:
        """The statistics, at the end of the run."""
        seconds = time.perf_counter() - self.started_s
        stages_ms = {stage: summary.to_ms(self.frames) for stage, summary in self.stages.items()}
        return RunStats(
            frames=self.frames,
            people=self.people,
            poses=self.poses,
            refused=self.refused,
            interrupted=interrupted,
            seconds=seconds,
            mpjpe_mm=None if self.errors_m.mean is None else 1000 * self.errors_m.mean,
            located=self.located,
            root_mm=None if self.root_errors_m.mean is None else 1000 * self.root_errors_m.mean,
            doubts={reason: self.doubts[reason] for reason in get_args(Doubt)},
            failed_check=failed_check,
            stages_ms=stages_ms,
        )

    def _count_person(self, person: int) -> None:
        if person in self._known_people:
            del self._known_people[person]
        else:
            self.people += 1
        self._known_people[person] = None
        if len(self._known_people) > REMEMBERED_PEOPLE:
            del self._known_people[next(iter(self._known_people))]
