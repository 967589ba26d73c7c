"""posemoe-edge: a 3D human pose model, trained in PyTorch, becomes a certified, stateful, real-time component of a robot.

    from posemoe_edge import load

    model = load()
    stream = model.stream()
    pose = stream.step(keypoints, t=frame_time_s)

These are the public names of ``posemoe_edge.runtime``, which is imported when the first of them is used, so that
``import posemoe_edge`` costs next to nothing; and ``posemoe_edge.plotting``, which shows poses in a notebook.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import plotting
    from .runtime import *  # noqa: F403

__version__ = "0.1.0"

__all__ = [  # noqa: F405
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
    "__version__",
    "load",
    "plotting",
    "read_camera",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "plotting":
        return import_module(".plotting", __name__)
    value = globals()[name] = getattr(import_module(".runtime", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
