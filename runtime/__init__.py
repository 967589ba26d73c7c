"""Run an artefact and keep its state. Needs numpy and pydantic, and one engine; never torch or onnx.

model = load("posemoe-retention-s")
stream = model.stream()
pose = stream.step(keypoints, t=frame_time_s)
"""

from __future__ import annotations

from .errors import ArtefactError, CheckFailedError, FrameError, MissingError, PoseEdgeError, SourceError, UsageError
from .gaps import GapPolicy
from .model import Model, load
from .pipeline import FrameRefused, Pipeline, PoseFrame, TrackLost, TrackStarted
from .pose.types import Frame, Pose
from .shadow import Shadow, ShadowReport
from .stream import Snapshot, Stream

__all__ = [
    "ArtefactError",
    "CheckFailedError",
    "Frame",
    "FrameError",
    "FrameRefused",
    "GapPolicy",
    "MissingError",
    "Model",
    "Pipeline",
    "Pose",
    "PoseEdgeError",
    "PoseFrame",
    "Shadow",
    "ShadowReport",
    "Snapshot",
    "SourceError",
    "Stream",
    "TrackLost",
    "TrackStarted",
    "UsageError",
    "load",
]
