"""posemoe-edge: a 3D human pose model, trained in PyTorch, becomes a certified, stateful, real-time component of a robot.

    from posemoe_edge import load

    model = load()
    stream = model.stream()
    pose = stream.step(keypoints, t=frame_time_s)

These names are the public interface of the runtime. Each is imported when it is first used, so that ``import posemoe_edge``
costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runtime.errors import (
        ArtefactError,
        CheckFailedError,
        FrameError,
        MissingError,
        PoseEdgeError,
        SourceError,
        UsageError,
    )
    from .runtime.events import Event, FrameRefused, PoseFrame, SourceBack, SourceLost, TrackLost, TrackStarted
    from .runtime.gaps import GapPolicy
    from .runtime.model import Model, load
    from .runtime.pipeline import Pipeline
    from .runtime.pose.keypoints import ImageSize, Keypoints
    from .runtime.pose.types import Pose
    from .runtime.run_stats import RunStats
    from .runtime.shadow import Shadow, ShadowReport
    from .runtime.stream import Snapshot, Stream

__version__ = "0.1.0"

# Module, relative to this package -> the public names in it.
_MODULES = {
    ".runtime.errors": (
        "ArtefactError",
        "CheckFailedError",
        "FrameError",
        "MissingError",
        "PoseEdgeError",
        "SourceError",
        "UsageError",
    ),
    ".runtime.events": ("Event", "FrameRefused", "PoseFrame", "SourceBack", "SourceLost", "TrackLost", "TrackStarted"),
    ".runtime.gaps": ("GapPolicy",),
    ".runtime.model": ("Model", "load"),
    ".runtime.pipeline": ("Pipeline",),
    ".runtime.pose.keypoints": ("ImageSize", "Keypoints"),
    ".runtime.pose.types": ("Pose",),
    ".runtime.run_stats": ("RunStats",),
    ".runtime.shadow": ("Shadow", "ShadowReport"),
    ".runtime.stream": ("Snapshot", "Stream"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ArtefactError",
    "CheckFailedError",
    "Event",
    "FrameError",
    "FrameRefused",
    "GapPolicy",
    "ImageSize",
    "Keypoints",
    "MissingError",
    "Model",
    "Pipeline",
    "Pose",
    "PoseEdgeError",
    "PoseFrame",
    "RunStats",
    "Shadow",
    "ShadowReport",
    "Snapshot",
    "SourceBack",
    "SourceError",
    "SourceLost",
    "Stream",
    "TrackLost",
    "TrackStarted",
    "UsageError",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
