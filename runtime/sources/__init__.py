"""Sources of pictures and of keypoints: synthetic people, keypoint files, videos, pictures, cameras near and far."""

from __future__ import annotations

from .base import BaseSource, CameraFrame, People, Source, SourceInfo
from .camera import list_cameras
from .iterable import IterableSource
from .latest import LatestSource
from .reconnecting import ReconnectingSource
from .rotated import RotatedSource
from .synthetic import SyntheticSource
from .uri import SOURCES, open_source

__all__ = [
    "SOURCES",
    "BaseSource",
    "CameraFrame",
    "IterableSource",
    "LatestSource",
    "People",
    "ReconnectingSource",
    "RotatedSource",
    "Source",
    "SourceInfo",
    "SyntheticSource",
    "list_cameras",
    "open_source",
]
