"""2D detectors: a picture to people with keypoints in pixels."""

from __future__ import annotations

from collections.abc import Callable

from ..registry import Registry
from .base import Detection, Detector, RegionDetector
from .region import Box, Region

__all__ = ["DEFAULT_DETECTOR", "DETECTORS", "Box", "Detection", "Detector", "Region", "RegionDetector", "open_detector"]

DEFAULT_DETECTOR = "blazepose"
"""Finds the people of a source of pictures if no other detector is named."""

DETECTORS: Registry[Callable[[str], Detector]] = Registry(
    "detector",
    group="posemoe_edge.detectors",
    builtin={
        "blazepose": "posemoe_edge.runtime.detectors.blazepose:BlazePose",
        "movenet": "posemoe_edge.runtime.detectors.movenet:open_movenet",
    },
    forms={"movenet": "movenet:FILE"},
)
"""Name -> factory that takes what stands behind ``NAME:``."""


def open_detector(spec: str) -> Detector:
    """The detector that ``spec`` names: ``blazepose``, ``blazepose:heavy``, ``movenet:lightning.tflite``."""
    factory, location = DETECTORS.resolve(spec)
    return factory(location)
