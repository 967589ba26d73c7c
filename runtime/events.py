"""What a pipeline reports: people come and go, frames are refused, poses are computed, a source is lost and comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .arrays import F32, ImageBgr
from .errors import FrameError
from .pose.keypoints import Keypoints
from .pose.types import Pose

EVENT_VERSION = 1
"""Of the JSON form of all events: it grows when a field is renamed or removed."""


@dataclass(frozen=True)
class SourceLost:
    """A source stopped delivering and will be opened again; no frames come until ``SourceBack``."""

    t_s: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        return _record("source_lost", self.t_s, reason=self.reason)


@dataclass(frozen=True)
class SourceBack:
    """A lost source delivers again."""

    t_s: float

    def to_json(self) -> dict[str, Any]:
        return _record("source_back", self.t_s)


@dataclass(frozen=True)
class SourceChanged:
    """The pictures of a source have another size than before."""

    t_s: float
    width: int
    height: int

    def to_json(self) -> dict[str, Any]:
        return _record("source_changed", self.t_s, width=self.width, height=self.height)


@dataclass(frozen=True)
class ClockReset:
    """The source's clock jumped back: all streams start again, at ``t_s``.

    Args:
        t_s: the first time after the jump.
        before_s: the last time before it.
    """

    t_s: float
    before_s: float

    def to_json(self) -> dict[str, Any]:
        return _record("clock_reset", self.t_s, before_s=round(float(self.before_s), 6))


@dataclass(frozen=True)
class ModelSwapped:
    """Another model lifts from here on.

    Args:
        kept_state: whether everybody's state went over to it; otherwise their streams started again.
    """

    t_s: float
    preset: str
    precision: str
    engine: str
    kept_state: bool

    def to_json(self) -> dict[str, Any]:
        model = {"preset": self.preset, "precision": self.precision, "engine": self.engine}
        return _record("model_swapped", self.t_s, **model, kept_state=self.kept_state)


@dataclass(frozen=True)
class TrackStarted:
    """A person is seen for the first time, or again after ``TrackLost``."""

    person: int
    t_s: float

    def to_json(self) -> dict[str, Any]:
        return _record("track_started", self.t_s, person=self.person)


@dataclass(frozen=True)
class TrackLost:
    """A person was not seen for as long as the gap policy remembers; their stream is closed."""

    person: int
    t_s: float

    def to_json(self) -> dict[str, Any]:
        return _record("track_lost", self.t_s, person=self.person)


@dataclass(frozen=True)
class FrameRefused:
    """One person's keypoints in one frame were refused; their stream's state is unchanged."""

    person: int
    t_s: float
    error: FrameError

    def to_json(self) -> dict[str, Any]:
        return _record("frame_refused", self.t_s, person=self.person, error=str(self.error))


@dataclass(frozen=True, eq=False)
class PoseFrame:
    """The poses of one frame, and what they were computed from.

    Args:
        t_s: capture time of the frame in seconds.
        poses: person id -> pose; with a latency it belongs to an earlier frame, see ``Pose.t_s``.
        keypoints: person id -> keypoints in this frame, also of those whose frame was refused.
        truth_m: person id -> (17, 3) metres relative to the hip in camera axes, where the source knows it.
        truth_root_m: person id -> (3,) metres, the hip in camera axes, where the source knows it.
        image_bgr: (H, W, 3) the frame's picture, where the source has pictures.
        stages_s: how long each stage took for this frame, in seconds, in order: find, detect and track of pictures, lift.
        lag_s: seconds from the frame's arrival in this process until its poses were there; None from a file.
    """

    t_s: float
    poses: Mapping[int, Pose]
    keypoints: Mapping[int, Keypoints] = field(default_factory=dict)
    truth_m: Mapping[int, F32] | None = None
    truth_root_m: Mapping[int, F32] | None = None
    image_bgr: ImageBgr | None = None
    stages_s: Mapping[str, float] = field(default_factory=dict)
    lag_s: float | None = None

    @property
    def step_s(self) -> float:
        """How long the model took, in seconds."""
        return self.stages_s.get("lift", 0.0)

    def to_json(self) -> dict[str, Any]:
        """The poses, without the picture and the keypoints."""
        return _record("pose_frame", self.t_s, poses=[self.poses[person].to_json() for person in sorted(self.poses)])


Event = (
    SourceLost | SourceBack | SourceChanged | ClockReset | ModelSwapped | TrackStarted | TrackLost | FrameRefused | PoseFrame
)
"""What a pipeline yields."""


def _record(event: str, t_s: float, **fields: Any) -> dict[str, Any]:
    return {"event": event, "version": EVENT_VERSION, "t_s": round(float(t_s), 6), **fields}
