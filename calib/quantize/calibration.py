"""The record of a calibration: what it was made from, and what came of each layer."""

from __future__ import annotations

from ...runtime.artefact.certificate import Budget, MotionSource
from ...runtime.artefact.record import Record

CALIBRATION = "calibration.json"
CALIBRATION_PLOT = "calibration.png"
CALIBRATION_SCHEMA = 1


class CalibratedLayer(Record):
    """One layer.

    Args:
        limit: the |x| of its activations, levelled, that becomes 127.
        share: of the difference between its channels that went from activations to weights; None left both as they were.
        alone_mm: mean drift that it causes by itself, closed loop; None if it was not asked for.
        mixed: what it is in the mixed graph; None if there is none.
    """

    name: str
    limit: float
    share: float | None
    alone_mm: float | None
    mixed: str | None


class Calibration(Record):
    """A calibration, bound to the graph that it observed by its hash.

    Args:
        motion: what was observed, and by which seed; its ``streams`` name the clips.
        checked: what the layers' harm and the mix were measured on: other motion.
        budget: that the mixed graph was made for.
        products: share of the multiplications in weighted products that are INT8 in the mixed graph.
    """

    schema_version: int
    graph_sha256: str
    method: str
    motion: MotionSource
    checked: MotionSource | None
    budget: Budget | None
    products: float | None
    layers: tuple[CalibratedLayer, ...]
