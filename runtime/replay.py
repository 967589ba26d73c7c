"""Lift a recorded run again, and compare the poses with the recorded ones, bit for bit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .arrays import F32
from .command_line import command_line
from .errors import SourceError, UsageError
from .events import Event, PoseFrame
from .model import Model
from .pipeline import Pipeline
from .ros.recorded_run import recorded_hold_s, recorded_view
from .sinks.base import Sink
from .sources.base import BaseSource, People, SourceInfo
from .sources.mcap import KEYPOINTS_TOPIC, McapSource


@dataclass(frozen=True)
class Difference:
    """Where a replayed pose differs from the recorded one: the joint that is farthest off, of one person in one frame."""

    t_s: float
    person: int
    joint: int
    mm: float


@dataclass(frozen=True)
class ReplayReport:
    """A replayed run beside the recorded one.

    Args:
        frames: of the recording.
        poses: that both runs have; ``equal`` of them are the same to the last bit.
        lost, added: poses that the recorded run alone has, and the replayed one alone.
        first: the first pose that differs; None if none does.
        mean_mm, p99_mm, max_mm: distance of the joints, over all poses that both have; None without one.
        same_graph, same_engine: whether the model is that of the recording.
    """

    frames: int
    poses: int
    equal: int
    lost: int
    added: int
    first: Difference | None
    mean_mm: float | None
    p99_mm: float | None
    max_mm: float | None
    same_graph: bool
    same_engine: bool

    @property
    def identical(self) -> bool:
        """Whether both runs have the same poses, bit for bit."""
        return self.equal == self.poses and not self.lost and not self.added

    def to_json(self) -> dict[str, Any]:
        """The numbers."""
        first = self.first
        return {
            "frames": self.frames,
            "poses": self.poses,
            "equal": self.equal,
            "lost": self.lost,
            "added": self.added,
            "identical": self.identical,
            "first_difference": None if first is None else vars(first),
            "mean_mm": self.mean_mm,
            "p99_mm": self.p99_mm,
            "max_mm": self.max_mm,
            "same_graph": self.same_graph,
            "same_engine": self.same_engine,
        }


def open_recording(location: str, *, frames: int | None = None) -> McapSource:
    """The keypoints of a run that the sink ``mcap`` recorded: a file, or the folder of a bag.

    Raises:
        SourceError: no such file, a recording without keypoints, or one that does not say what lifted them and how.
        UsageError: a run with smoothing, whose filters come before and after what was recorded.
        MissingError: mcap, zstandard or rosbags is not installed.
    """
    source = McapSource(f"{location}#{KEYPOINTS_TOPIC}", frames=frames)
    if "graph" not in source.run:
        raise SourceError(f"{location} does not say which model lifted it", expected="a recording by the sink mcap:FILE.mcap")
    if source.run["smooth"] != "off":
        raise UsageError(
            f"{location} was recorded with --smooth {source.run['smooth']}, and cannot be compared",
            expected="a recording without smoothing",
            run=command_line("run", f"mcap:{location}#{KEYPOINTS_TOPIC}"),
        )
    recorded_hold_s(source.run, source.path)  # what is wrong is said before a model is loaded
    return source


def replay(
    recording: McapSource, model: Model, *, sinks: Sequence[Sink] = (), on_event: Callable[[Event], None] | None = None
) -> ReplayReport:
    """Lift a recording's keypoints with a model, under the camera and the options of the recorded run.

    Args:
        recording: of ``open_recording``.
        sinks, on_event: as of ``Pipeline.run``.
    """
    run, source = recording.run, _ExpectingSource(recording)
    comparison = _Comparison(source.expected)

    def see(event: Event) -> None:
        if isinstance(event, PoseFrame):
            comparison.add(event)
        if on_event is not None:
            on_event(event)

    pipeline = Pipeline(
        source,
        model,
        camera=recorded_view(run),
        view="auto" if run.get("view_from") != "none" else "off",
        hold_s=recorded_hold_s(run, recording.path),
        flip=run.get("flip") == "True",
    )
    pipeline.run(sinks, on_event=see)
    return comparison.report(same_graph=run["graph"] == model.identity, same_engine=run["engine"] == model.engine)


class _ExpectingSource(BaseSource):
    """A recording whose poses wait in ``expected`` until those of the replay are there."""

    def __init__(self, recording: McapSource) -> None:
        self._recording = recording
        self.expected: deque[dict[int, F32]] = deque()

    @property
    def info(self) -> SourceInfo:
        return self._recording.info

    def __iter__(self) -> Iterator[People]:
        limit = self._recording.info.frames
        for count, (people, poses) in enumerate(self._recording.recorded(), start=1):
            self.expected.append(poses)
            yield people
            if count == limit:
                return


@dataclass
class _Comparison:
    """Compares frame by frame: a pipeline answers every frame of a source with one ``PoseFrame``."""

    expected: deque[dict[int, F32]]
    frames: int = 0
    equal: int = 0
    lost: int = 0
    added: int = 0
    first: Difference | None = None
    distances_mm: list[F32] = field(default_factory=list)  # (17,) each

    def add(self, frame: PoseFrame) -> None:
        recorded: Mapping[int, F32] = self.expected.popleft()
        self.frames += 1
        self.lost += len(recorded.keys() - frame.poses.keys())
        self.added += len(frame.poses.keys() - recorded.keys())
        for person in sorted(recorded.keys() & frame.poses.keys()):
            xyz_m = frame.poses[person].xyz_m
            distance_mm = (1000 * np.linalg.norm(xyz_m - recorded[person], axis=-1)).astype(np.float32)  # (17,)
            self.distances_mm.append(distance_mm)
            if xyz_m.tobytes() == recorded[person].tobytes():
                self.equal += 1
            elif self.first is None:
                joint = int(distance_mm.argmax())
                self.first = Difference(frame.t_s, person, joint, float(distance_mm[joint]))

    def report(self, *, same_graph: bool, same_engine: bool) -> ReplayReport:
        all_mm = np.concatenate(self.distances_mm) if self.distances_mm else None
        return ReplayReport(
            frames=self.frames,
            poses=len(self.distances_mm),
            equal=self.equal,
            lost=self.lost,
            added=self.added,
            first=self.first,
            mean_mm=None if all_mm is None else float(all_mm.mean()),
            p99_mm=None if all_mm is None else float(np.percentile(all_mm, 99)),
            max_mm=None if all_mm is None else float(all_mm.max()),
            same_graph=same_graph,
            same_engine=same_engine,
        )
