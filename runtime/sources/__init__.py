"""Sources of pictures and of keypoints: synthetic people, keypoint files, videos, pictures, cameras."""

from __future__ import annotations

from .base import BaseSource, CameraFrame, People, Source, SourceInfo
from .camera import list_cameras
from .rotated import RotatedSource
from .synthetic import SyntheticSource
from .uri import SOURCES, open_source

__all__ = [
    "SOURCES",
    "BaseSource",
    "CameraFrame",
    "People",
    "RotatedSource",
    "Source",
    "SourceInfo",
    "SyntheticSource",
    "list_cameras",
    "open_source",
]
