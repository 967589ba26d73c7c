"""The record of a calibration: what it was made from, and how each layer was quantised."""

from __future__ import annotations

from pathlib import Path

from ...runtime.artefact.certificate import Budget, MotionSource
from ...runtime.artefact.manifest import Manifest, read_file
from ...runtime.artefact.migrations import rename
from ...runtime.artefact.record import Json, Record, read_record
from ...runtime.command_line import command_line

CALIBRATION = "calibration.json"
CALIBRATION_PLOT = "calibration.png"
CALIBRATION_SCHEMA = 2


class CalibratedLayer(Record):
    """One layer.

    Args:
        name: the layer's name in the graph.
        amax: the |x| of its smoothed activations that becomes 127.
        alpha: SmoothQuant's; None without smoothing.
        sensitivity_mm: mean drift that it causes alone in INT8, closed loop; None if it was not measured.
        mixed_precision: ``int8`` or ``fp16``, what it is in the mixed graph; None if there is no such graph.
    """

    name: str
    amax: float
    alpha: float | None
    sensitivity_mm: float | None
    mixed_precision: str | None


class Calibration(Record):
    """A calibration, bound by its hash to the graph that was observed.

    Args:
        schema_version: of this record.
        graph_sha256: of the FP32 graph.
        method: how the ranges were found.
        motion: what was observed, and by which seed; its ``streams`` name the clips.
        check_motion: other motion, on which the sensitivities and the mixed graph were measured.
        budget: that the mixed graph keeps.
        int8_macs_fraction: of the multiply-accumulates with weights, the part that is INT8 in the mixed graph.
        layers: the quantised layers, in the graph's order.
    """

    schema_version: int
    graph_sha256: str
    method: str
    motion: MotionSource
    check_motion: MotionSource | None
    budget: Budget | None
    int8_macs_fraction: float | None
    layers: tuple[CalibratedLayer, ...]


def read_calibration(folder: Path, manifest: Manifest) -> Calibration | None:
    """The artefact's calibration; None if the manifest names none.

    Raises:
        ArtefactError: the file is not what the manifest says, or no calibration.
    """
    if CALIBRATION not in manifest.files:
        return None
    text = read_file(folder, manifest, CALIBRATION)
    return parse_calibration(text, place=str(folder / CALIBRATION), run=command_line("calibrate", folder))


def parse_calibration(text: str | bytes, *, place: str, run: str) -> Calibration:
    """A calibration from its JSON, of this schema or an older one.

    Args:
        place: the file, as error messages name it.
        run: the command that writes the file anew.
    """
    return read_record(
        Calibration,
        text,
        place=place,
        noun="a calibration",
        version=CALIBRATION_SCHEMA,
        migrations={1: calibration_from_1},
        run=run,
    )


def calibration_from_1(calibration: Json) -> Json:
    """Schema 1 to 2: ``checked`` is now ``check_motion``, ``products`` is ``int8_macs_fraction``.

    In a layer, ``limit`` is now ``amax``, ``share`` is ``alpha``, ``alone_mm`` is ``sensitivity_mm`` and ``mixed`` is
    ``mixed_precision``.
    """
    rename(calibration, "checked", "check_motion")
    rename(calibration, "products", "int8_macs_fraction")
    for layer in calibration["layers"]:
        rename(layer, "limit", "amax")
        rename(layer, "share", "alpha")
        rename(layer, "alone_mm", "sensitivity_mm")
        rename(layer, "mixed", "mixed_precision")
    return {**calibration, "schema_version": 2}
