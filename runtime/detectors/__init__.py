"""2D detectors: an image to people's COCO-17 keypoints."""

from __future__ import annotations

from ..errors import UsageError
from ..registry import suggest
from .base import Detector

__all__ = ["FORMS", "Detector", "open_detector"]

FORMS: dict[str, str] = {"movenet": "movenet:FILE"}
"""Name of each detector -> how a user spells it."""


def open_detector(spec: str) -> Detector:
    """The detector that ``spec`` names, e.g. ``movenet:lightning.tflite``."""
    name, _, rest = spec.partition(":")
    forms = ", ".join(FORMS.values())
    if name not in FORMS:
        raise UsageError(f"no detector {spec!r}{suggest(name, FORMS, forms=FORMS)}", expected=f"one of {forms}")
    if not rest:
        raise UsageError(f"the detector {name} needs a file", expected=FORMS[name])
    from .movenet import MoveNet

    return MoveNet(rest)
