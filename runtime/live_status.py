"""How a run without end is going: the numbers of its last seconds, and counts since it began."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .events import ClockReset, Event, FrameRefused, PoseFrame, SourceBack, SourceLost, TrackLost, TrackStarted
from .pose.types import GapAction
from .shadow import ShadowReport

RECENT_S = 5.0
RECENT_FRAMES = 512
"""At most so many frames are remembered. At more than 102 frames a second they are less than ``RECENT_S``."""


@dataclass(frozen=True)
class Status:
    """The numbers at one instant. "Recent" is the last ``RECENT_S``.

    Args:
        frames, poses, refused: since the run began: frames of the source, poses of all people, frames of one person refused.
        people_started: how often somebody came into view.
        people: in view in the newest frame: those with a pose that is not the last one repeated because nobody is seen.
        fps: frames a second, recently; it falls when frames stop.
        stages_s: stage -> mean seconds a frame, recently.
        stage_totals_s: stage -> (frames in which it ran, seconds in all) since the run began.
        lag_s: median and largest seconds from a frame's arrival until its poses, recently; None if the source is not live.
        deadline_misses: frames whose stages together took longer than 1/fps of the source; None if that is not known.
        gaps: what streams did about the time between two frames, as often as they did it, see ``Pose.gap``; the reset of
            somebody's first pose is none.
        source_up: False from ``SourceLost`` to ``SourceBack``.
        losses, returns, clock_resets: of the source.
        dropped: frames that sinks were too slow for.
        frame_age_s: seconds since the newest frame; None before the first.
        shadow: what the run's shadow has measured since the run began; None without one.
    """

    frames: int
    poses: int
    refused: int
    people_started: int
    people: int
    fps: float
    stages_s: Mapping[str, float]
    stage_totals_s: Mapping[str, tuple[int, float]]
    lag_s: tuple[float, float] | None
    deadline_misses: int | None
    gaps: Mapping[GapAction, int]
    source_up: bool
    losses: int
    returns: int
    clock_resets: int
    frame_age_s: float | None
    dropped: int = 0
    shadow: ShadowReport | None = None

    def __str__(self) -> str:
        """One line for a terminal."""
        people = "1 person" if self.people == 1 else f"{self.people} people"
        lag = "" if self.lag_s is None else f", lag {1000 * self.lag_s[0]:.0f} ms (at most {1000 * self.lag_s[1]:.0f})"
        state = f"{self.fps:.1f} fps, {people}{lag}" if self.source_up else "the source is lost"
        return f"{state}, 1 frame" if self.frames == 1 else f"{state}, {self.frames} frames"


@dataclass(frozen=True)
class _Recent:
    """What is remembered of a frame."""

    at_s: float
    stages_s: Mapping[str, float]
    lag_s: float | None


@dataclass(eq=False)
class LiveStatus:
    """Takes the events of a run, and says how it is going at any time, in memory that does not grow.

    ``add`` and ``now`` may be called from different threads.

    Args:
        fps: nominal rate of the source, None if unknown.
        clock: seconds that do not jump.
        dropped: how many frames sinks were too slow for, so far; ``Pipeline.dropped``.
        shadow: ``Shadow.report`` of the run's shadow, if it has one.
    """

    fps: float | None = None
    clock: Callable[[], float] = time.monotonic
    dropped: Callable[[], int] = lambda: 0
    shadow: Callable[[], ShadowReport] | None = None
    _counts: Counter[str] = field(default_factory=Counter)
    _gaps: Counter[GapAction] = field(default_factory=Counter)
    _stage_totals_s: dict[str, tuple[int, float]] = field(default_factory=dict)
    _recent: deque[_Recent] = field(default_factory=lambda: deque(maxlen=RECENT_FRAMES))
    _starting: set[int] = field(default_factory=set)  # people without a pose so far
    _newest_s: float | None = None
    _people: int = 0
    _source_up: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, event: Event) -> None:
        """Take one event."""
        with self._lock:
            if isinstance(event, PoseFrame):
                self._add_frame(event)
            elif isinstance(event, FrameRefused):
                self._counts["refused"] += 1
            elif isinstance(event, TrackStarted):
                self._counts["people_started"] += 1
                self._starting.add(event.person)
            elif isinstance(event, TrackLost):
                self._starting.discard(event.person)
            elif isinstance(event, ClockReset):
                self._counts["clock_resets"] += 1
            elif isinstance(event, SourceLost):
                self._counts["losses"] += 1
                self._source_up, self._people = False, 0
            elif isinstance(event, SourceBack):
                self._counts["returns"] += 1
                self._source_up = True

    def now(self) -> Status:
        """The numbers at this instant."""
        with self._lock:
            now_s, counts = self.clock(), self._counts
            recent = [frame for frame in self._recent if now_s - frame.at_s <= RECENT_S]
            lags_s = [frame.lag_s for frame in recent if frame.lag_s is not None]
            passed_s = now_s - recent[0].at_s if recent else 0.0
            return Status(
                frames=counts["frames"],
                poses=counts["poses"],
                refused=counts["refused"],
                people_started=counts["people_started"],
                people=self._people,
                fps=(len(recent) - 1) / passed_s if passed_s > 0 else 0.0,
                stages_s={
                    stage: sum(frame.stages_s.get(stage, 0.0) for frame in recent) / len(recent)
                    for stage in self._stage_totals_s
                    if recent
                },
                stage_totals_s=dict(self._stage_totals_s),
                lag_s=(float(np.median(lags_s)), max(lags_s)) if lags_s else None,
                deadline_misses=None if self.fps is None else counts["deadline_misses"],
                gaps=dict(self._gaps),
                source_up=self._source_up,
                losses=counts["losses"],
                returns=counts["returns"],
                clock_resets=counts["clock_resets"],
                frame_age_s=None if self._newest_s is None else now_s - self._newest_s,
                dropped=self.dropped(),
                shadow=None if self.shadow is None else self.shadow(),
            )

    def _add_frame(self, frame: PoseFrame) -> None:
        self._newest_s = self.clock()
        self._recent.append(_Recent(self._newest_s, dict(frame.stages_s), frame.lag_s))
        self._counts["frames"] += 1
        self._counts["poses"] += len(frame.poses)
        for person, pose in frame.poses.items():
            if pose.gap != "none" and not (pose.gap == "reset" and person in self._starting):
                self._gaps[pose.gap] += 1
        self._starting -= frame.poses.keys()
        for stage, stage_s in frame.stages_s.items():
            frames, total_s = self._stage_totals_s.get(stage, (0, 0.0))
            self._stage_totals_s[stage] = (frames + 1, total_s + stage_s)
        if frame.stages_s:  # else it was refused as a whole, and says nothing of who is there
            self._people = sum(pose.gap != "hold" for pose in frame.poses.values())
        if self.fps is not None and sum(frame.stages_s.values()) > 1 / self.fps:
            self._counts["deadline_misses"] += 1
