"""Run an artefact and keep its state. Needs numpy and pydantic, and one engine; never torch or onnx.

    model = load("posemoe-retention-s")
    stream = model.stream()
    pose = stream.step(keypoints, t=frame_time_s)
"""

from __future__ import annotations

from .errors import ArtefactError, CheckFailedError, FrameError, MissingError, PoseEdgeError, SourceError, UsageError
from .gaps import GapPolicy
from .model import Model, load
from .pose import Frame, Pose
from .stream import Snapshot, Stream

__all__ = [
    "ArtefactError",
    "CheckFailedError",
    "Frame",
    "FrameError",
    "GapPolicy",
    "MissingError",
    "Model",
    "Pose",
    "PoseEdgeError",
    "Snapshot",
    "SourceError",
    "Stream",
    "UsageError",
    "load",
]
