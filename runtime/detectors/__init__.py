"""2D detectors: a picture to people with keypoints in pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..registry import Registry
from .base import Detection, Detector, RegionDetector
from .region import Box, Region
from .two_stage import TwoStageDetector

__all__ = [
    "DEFAULT_DETECTOR",
    "DETECTORS",
    "Box",
    "Detection",
    "Detector",
    "Region",
    "RegionDetector",
    "join_stages",
    "open_detector",
    "split_stages",
]

_FIND = "?find="

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
    first, *finders = split_stages(spec)
    factory, location = DETECTORS.resolve(first)
    detector = factory(location)
    return TwoStageDetector(open_detector(join_stages(finders)), detector) if finders else detector


def split_stages(spec: str) -> list[str]:
    """``rtmpose:FILE.onnx`` and ``blazepose`` of ``rtmpose:FILE.onnx?find=blazepose``; the spec alone without a ``?find=``."""
    return spec.split(_FIND)


def join_stages(specs: Iterable[str]) -> str:
    """The spec of which ``split_stages`` gives these."""
    return _FIND.join(specs)
