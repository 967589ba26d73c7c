"""What happened in a run, in numbers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from .errors import CheckFailedError
from .events import Event, FrameRefused, PoseFrame, TrackStarted
from .pose.metrics import mpjpe
from .pose.types import Doubt

PERCENTILES = (50, 90, 99, 100)


@dataclass(frozen=True)
class RunStats:
    """The result of ``Pipeline.run``.

    Args:
        frames: frames of the source.
        people: how many different person ids were seen.
        poses: poses of all people.
        refused: frames of one person that were refused.
        interrupted: the run was ended by an interrupt from the keyboard.
        seconds: duration of the run.
        stages_ms: stage -> "mean" milliseconds over all frames of the run, which add up to a frame's, and "p50", "p90", "p99",
            "p100" of the frames in which it ran; without the first time, which binds memory.
        mpjpe_mm: mean per-joint position error against the source's truth, hips aligned; None without a truth, and for
            models with a latency.
        located: poses with a position in metres.
        root_mm: mean distance of the hip's position from the source's truth; None without one of the two, and for models with
            a latency.
        doubts: reason -> poses that may be nobody's for it.
        failed_check: the check that ended the run, such as that of a shadow; None if the source ended.
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
        }


@dataclass
class RunCounter:
    """Counts the events of a run.

    Args:
        latency_frames: of the model: with a latency a pose is not compared with the truth of the frame that it comes with.
    """

    latency_frames: int
    started_s: float = field(default_factory=time.perf_counter)
    frames: int = 0
    poses: int = 0
    refused: int = 0
    people: set[int] = field(default_factory=set)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    errors_m: list[float] = field(default_factory=list)
    located: int = 0
    root_errors_m: list[float] = field(default_factory=list)
    doubts: Counter[Doubt] = field(default_factory=Counter)

    def add(self, event: Event) -> None:
        """Count one event."""
        if isinstance(event, TrackStarted):
            self.people.add(event.person)
        elif isinstance(event, FrameRefused):
            self.refused += 1
        elif isinstance(event, PoseFrame):
            self.frames += 1
            self.poses += len(event.poses)
            self.located += sum(pose.root is not None for pose in event.poses.values())
            self.doubts.update(doubt for pose in event.poses.values() for doubt in pose.doubts)
            for stage, stage_s in event.stages_s.items():
                if stage != "lift" or event.poses:  # a frame of nobody lifts nobody
                    self.stages_ms.setdefault(stage, []).append(1000 * stage_s)
            for person, truth_m in (event.truth_m or {}).items():
                if person in event.poses and self.latency_frames == 0:
                    self.errors_m.append(mpjpe(event.poses[person].xyz_m[None], truth_m[None], root="align"))
            for person, truth_m in (event.truth_root_m or {}).items():
                root = event.poses[person].root if person in event.poses else None
                if root is not None and self.latency_frames == 0:
                    self.root_errors_m.append(float(np.linalg.norm(root.xyz_m - truth_m)))

    def result(self, *, interrupted: bool, failed_check: CheckFailedError | None) -> RunStats:
        """The statistics, at the end of the run."""
        seconds = time.perf_counter() - self.started_s
        stages_ms = {stage: _summary(of_frames, self.frames) for stage, of_frames in self.stages_ms.items()}
        return RunStats(
            frames=self.frames,
            people=len(self.people),
            poses=self.poses,
            refused=self.refused,
            interrupted=interrupted,
            seconds=seconds,
            mpjpe_mm=1000 * float(np.mean(self.errors_m)) if self.errors_m else None,
            located=self.located,
            root_mm=1000 * float(np.mean(self.root_errors_m)) if self.root_errors_m else None,
            doubts={reason: self.doubts[reason] for reason in get_args(Doubt)},
            failed_check=failed_check,
            stages_ms=stages_ms,
        )


def _summary(of_frames_ms: Sequence[float], frames: int) -> dict[str, float]:
    """Mean over all frames, and percentiles of those in which the stage ran, without its first time."""
    usual_ms = np.array(of_frames_ms[1:] or of_frames_ms)
    share = len(of_frames_ms) / frames
    return {"mean": share * float(usual_ms.mean())} | {f"p{q}": float(np.percentile(usual_ms, q)) for q in PERCENTILES}
