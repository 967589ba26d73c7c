"""Trackers: detections of one frame after the other to people with ids."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UsageError
from ..registry import Registry
from .base import Tracker

__all__ = ["DEFAULT_TRACKER", "TRACKERS", "Tracker", "open_tracker"]

DEFAULT_TRACKER = "oks"
_SWAPPED = "swapped"

TRACKERS: Registry[Callable[[str], Tracker]] = Registry(
    "tracker",
    group="posemoe_edge.trackers",
    builtin={
        "oks": "posemoe_edge.runtime.tracking:_open_oks",
        "order": "posemoe_edge.runtime.tracking:_open_detection_order",
    },
)
"""Name -> factory that takes what stands behind ``NAME:``, or "" for a bare NAME."""


def open_tracker(spec: str = DEFAULT_TRACKER) -> Tracker:
    """The tracker that ``spec`` names: ``oks`` follows people, ``order`` numbers them in the detector's order.

    ``oks:swapped`` leaves left and right as the detector gives them.
    """
    factory, location = TRACKERS.resolve(spec)
    return factory(location)


def _open_oks(location: str) -> Tracker:
    from .oks import OksRules, OksTracker

    if location not in ("", _SWAPPED):
        raise UsageError(f"no kind {location!r} of the tracker oks", expected=f"oks or oks:{_SWAPPED}")
    return OksTracker(OksRules(undo_swaps=location != _SWAPPED))


def _open_detection_order(location: str) -> Tracker:
    from .detection_order import DetectionOrderTracker

    return DetectionOrderTracker()
