"""A pipeline: people come and go in a source, each gets a stream of the model, and events come out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import FrameError
from .model import Model
from .pose.types import Frame, Pose
from .sources import Source
from .stream import Stream


@dataclass(frozen=True)
class TrackStarted:
    """Somebody new is seen."""

    person: int
    t_s: float


@dataclass(frozen=True)
class TrackLost:
    """Somebody was not seen for longer than the gap policy remembers; what was known of them is forgotten."""

    person: int
    t_s: float


@dataclass(frozen=True)
class FrameRefused:
    """A frame of somebody was refused; their stream is as it was."""

    person: int
    t_s: float
    error: FrameError


@dataclass(frozen=True, eq=False)
class PoseFrame:
    """Everybody's pose at one instant, person id -> pose."""

    frame: Frame
    poses: dict[int, Pose]


Event = TrackStarted | TrackLost | FrameRefused | PoseFrame


class Pipeline:
    """Iterate over it for the events of a source, frame by frame.

    Args:
        source: an open source; it stays the caller's to close.
        model: what lifts.

    ``step_s`` is how long the model took for the last frame.
    """

    def __init__(self, source: Source, model: Model) -> None:
        self.source, self.model = source, model
        self._streams: dict[int, Stream] = {}
        self._seen_s: dict[int, float] = {}
        self.step_s = 0.0

    def __iter__(self) -> Iterator[Event]:
        try:
            for frame in self.source:
                yield from self._lost(frame.t_s)
                yield from self._frame(frame)
        finally:
            for stream in self._streams.values():
                stream.close()
            self._streams.clear()
            self._seen_s.clear()

    def _frame(self, frame: Frame) -> Iterator[Event]:
        for person in frame.people:
            if person not in self._streams:
                self._streams[person] = self.model.stream()
                yield TrackStarted(person, frame.t_s)
            self._seen_s[person] = frame.t_s
        streams = {person: self._streams[person] for person in frame.people}
        poses: dict[int, Pose] = {}
        started = time.perf_counter()
        try:
            made = self.model.step_batch({streams[p]: keypoints for p, keypoints in frame.people.items()}, t=frame.t_s)
            poses = {person: made[stream] for person, stream in streams.items()}
        except FrameError:  # one by one, so that a bad frame of one person costs the others nothing
            for person, keypoints in frame.people.items():
                try:
                    poses[person] = streams[person].step(keypoints, t=frame.t_s)
                except FrameError as error:
                    yield FrameRefused(person, frame.t_s, error)
        self.step_s = time.perf_counter() - started
        yield PoseFrame(frame, {person: pose.of(person) for person, pose in poses.items()})

    def _lost(self, t_s: float) -> Iterator[Event]:
        for person in [p for p, seen in self._seen_s.items() if t_s - seen >= self.model.gaps.reset_after_s]:
            self._streams.pop(person).close()
            del self._seen_s[person]
            yield TrackLost(person, t_s)
