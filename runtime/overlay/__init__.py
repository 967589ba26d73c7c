"""Pictures of a run, drawn with OpenCV and fast enough to watch it live: skeletons over the picture, and people in 3D."""

from __future__ import annotations

from .view import RunView

__all__ = ["RunView"]
