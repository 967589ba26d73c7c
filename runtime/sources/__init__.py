"""Sources of frames: synthetic people, keypoint files, videos, cameras."""

from __future__ import annotations

from .base import Source
from .uri import open_source
from .video import list_cameras

__all__ = ["Source", "list_cameras", "open_source"]
