"""What happened in a run, in numbers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import CheckFailedError
from .events import Event, FrameRefused, PoseFrame, TrackStarted
from .pose.metrics import mpjpe

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
        step_ms: "p50", "p90", "p99", "p100" -> milliseconds that the model took for a frame, without the first one, which
            binds memory; None without poses.
        mpjpe_mm: mean per-joint position error against the source's truth, hips aligned; None without a truth, and for
            models with a latency.
        failed_check: the check that ended the run, such as that of a shadow; None if the source ended.
    """

    frames: int
    people: int
    poses: int
    refused: int
    interrupted: bool
    seconds: float
    step_ms: dict[str, float] | None
    mpjpe_mm: float | None
    failed_check: CheckFailedError | None = None

    def to_json(self) -> dict[str, Any]:
        """The numbers, rounded."""
        return {
            "frames": self.frames,
            "people": self.people,
            "poses": self.poses,
            "refused": self.refused,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "step_ms": None if self.step_ms is None else {name: round(ms, 3) for name, ms in self.step_ms.items()},
            "mpjpe_mm": None if self.mpjpe_mm is None else round(self.mpjpe_mm, 2),
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
    steps_ms: list[float] = field(default_factory=list)
    errors_m: list[float] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Count one event."""
        if isinstance(event, TrackStarted):
            self.people.add(event.person)
        elif isinstance(event, FrameRefused):
            self.refused += 1
        elif isinstance(event, PoseFrame):
            self.frames += 1
            self.poses += len(event.poses)
            if event.poses:
                self.steps_ms.append(1000 * event.step_s)
            for person, truth_m in (event.truth_m or {}).items():
                if person in event.poses and self.latency_frames == 0:
                    self.errors_m.append(mpjpe(event.poses[person].xyz_m[None], truth_m[None], root="align"))

    def result(self, *, interrupted: bool, failed_check: CheckFailedError | None) -> RunStats:
        """The statistics, at the end of the run."""
        seconds = time.perf_counter() - self.started_s
        steps_ms = np.array(self.steps_ms[1:] or self.steps_ms)  # the first launch binds memory
        return RunStats(
            frames=self.frames,
            people=len(self.people),
            poses=self.poses,
            refused=self.refused,
            interrupted=interrupted,
            seconds=seconds,
            step_ms={f"p{q}": float(np.percentile(steps_ms, q)) for q in PERCENTILES} if len(steps_ms) else None,
            mpjpe_mm=1000 * float(np.mean(self.errors_m)) if self.errors_m else None,
            failed_check=failed_check,
        )
