"""2D detectors: a picture to people with keypoints in pixels."""

from __future__ import annotations

from collections.abc import Callable

from ..registry import Registry
from .base import Detection, Detector, RegionDetector
from .region import Box, Region
from .two_stage import TwoStageDetector

__all__ = ["DEFAULT_DETECTOR", "DETECTORS", "Box", "Detection", "Detector", "Region", "RegionDetector", "open_detector"]

DEFAULT_DETECTOR = "blazepose"
"""Finds the people of a source of pictures if no other detector is named."""

DETECTORS: Registry[Callable[[str], Detector]] = Registry(
    "detector",
    group="posemoe_edge.detectors",
    builtin={
        "blazepose": "posemoe_edge.runtime.detectors.blazepose:BlazePose",
        "movenet": "posemoe_edge.runtime.detectors.movenet:open_movenet",
        "onnx": "posemoe_edge.runtime.detectors.top_down:open_described",
        "rtmpose": "posemoe_edge.runtime.detectors.rtmpose:open_rtmpose",
    },
    forms={"movenet": "movenet:FILE", "onnx": "onnx:FILE.onnx", "rtmpose": "rtmpose:FILE.onnx"},
)
"""Name -> factory that takes what stands behind ``NAME:``."""


def open_detector(spec: str) -> Detector:
    """The detector that ``spec`` names: ``blazepose``, ``blazepose:heavy``, ``movenet:lightning.tflite``.

    ``rtmpose:FILE.onnx?find=blazepose`` looks for people by another detector first: by its search, or by the boxes of its
    detections.
    """
    spec, _, finder = spec.partition("?find=")
    factory, location = DETECTORS.resolve(spec)
    detector = factory(location)
    return TwoStageDetector(open_detector(finder), detector) if finder else detector
