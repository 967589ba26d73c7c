"""Run an artefact and keep its state. Needs numpy and pydantic, and one engine; never torch or onnx.

model = load("frame-retention-s")
stream = model.stream()
pose = stream.step(keypoints, t=frame_time_s)
"""

from __future__ import annotations

from .errors import ArtefactError, CheckFailedError, FrameError, MissingError, PoseEdgeError, SourceError, UsageError
from .events import (
    ClockReset,
    Event,
    FrameRefused,
    ModelSwapped,
    PoseFrame,
    SourceBack,
    SourceChanged,
    SourceLost,
    TrackLost,
    TrackStarted,
)
from .gaps import GapPolicy
from .model import Model, load
from .pipeline import Pipeline
from .pose.camera import Intrinsics
from .pose.camera_file import read_camera
from .pose.camera_model import Camera, FieldOfView
from .pose.keypoints import ImageSize, Keypoints
from .pose.types import Pose, Root
from .run_stats import RunStats
from .serving.remote import RemoteModel
from .shadow import Shadow, ShadowReport
from .snapshot import Snapshot
from .stream import Stream

__all__ = [
    "ArtefactError",
    "Camera",
    "CheckFailedError",
    "ClockReset",
    "Event",
    "FieldOfView",
    "FrameError",
    "FrameRefused",
    "GapPolicy",
    "ImageSize",
    "Intrinsics",
    "Keypoints",
    "MissingError",
    "Model",
    "ModelSwapped",
    "Pipeline",
    "Pose",
    "PoseEdgeError",
    "PoseFrame",
    "RemoteModel",
    "Root",
    "RunStats",
    "Shadow",
    "ShadowReport",
    "Snapshot",
    "SourceBack",
    "SourceChanged",
    "SourceError",
    "SourceLost",
    "Stream",
    "TrackLost",
    "TrackStarted",
    "UsageError",
    "load",
    "read_camera",
]
