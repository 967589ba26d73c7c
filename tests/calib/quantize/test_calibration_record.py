"""The record of a calibration: written, read back, and read from schema 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.calib.quantize.calibration import (
    CALIBRATION,
    CALIBRATION_SCHEMA,
    CalibratedLayer,
    Calibration,
    parse_calibration,
    read_calibration,
)
from posemoe_edge.runtime import ArtefactError
from posemoe_edge.runtime.artefact.certificate import Budget, MotionSource, StreamInfo
from posemoe_edge.runtime.artefact.manifest import read_manifest

MOTION = MotionSource(
    kind="procedural walkers",
    source="synthetic://walk",
    sha256="0" * 64,
    frames=100,
    streams=(StreamInfo(fps=50, lost=0.2, clips=()),),
    noisy=True,
    seed=0,
)
RECORD = Calibration(
    schema_version=CALIBRATION_SCHEMA,
    graph_sha256="1" * 64,
    method="minmax",
    motion=MOTION,
    check_motion=MOTION.model_copy(update={"seed": 1}),
    budget=Budget(mean_mm=1.5, p99_mm=7.5, max_mm=30, slope_mm_per_1000=0.1),
    int8_macs_fraction=0.89,
    layers=(
        CalibratedLayer(name="up", amax=2.5, alpha=0.5, sensitivity_mm=0.25, mixed_precision="int8"),
        CalibratedLayer(name="down", amax=4.0, alpha=None, sensitivity_mm=None, mixed_precision=None),
    ),
)


def parse(record: dict[str, Any]) -> Calibration:
    return parse_calibration(json.dumps(record), place="there/calibration.json", run="posemoe-edge calibrate there")


def in_schema_1(record: Calibration) -> dict[str, Any]:
    """The JSON that the first version wrote of the same calibration."""
    json_1 = record.model_dump(mode="json") | {"schema_version": 1}
    json_1["checked"], json_1["products"] = json_1.pop("check_motion"), json_1.pop("int8_macs_fraction")
    old_names = {"amax": "limit", "alpha": "share", "sensitivity_mm": "alone_mm", "mixed_precision": "mixed"}
    json_1["layers"] = [{old_names.get(name, name): value for name, value in layer.items()} for layer in json_1["layers"]]
    return json_1


def test_a_record_is_read_as_it_was_written() -> None:
    assert parse(json.loads(RECORD.model_dump_json())) == RECORD


def test_a_file_of_schema_1_is_read_with_the_new_names() -> None:
    assert parse(in_schema_1(RECORD)) == RECORD
    without_budget = RECORD.model_copy(update={"check_motion": None, "budget": None, "int8_macs_fraction": None})
    assert parse(in_schema_1(without_budget)) == without_budget


def test_a_broken_file_of_schema_1_is_an_error_that_names_the_file() -> None:
    with pytest.raises(ArtefactError, match=r"there/calibration.json is not a calibration") as caught:
        parse({"schema_version": 1})
    assert caught.value.run == "posemoe-edge calibrate there"


@pytest.mark.parametrize("schema", [0, 3, "2"])
def test_an_unknown_schema_is_refused(schema: object) -> None:
    with pytest.raises(ArtefactError, match=f"has schema_version {schema}; expected 1 or 2"):
        parse(RECORD.model_dump(mode="json") | {"schema_version": schema})


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(ArtefactError, match=r"field layers\.0\.limit"):
        parse(RECORD.model_dump(mode="json") | {"layers": [RECORD.layers[0].model_dump() | {"limit": 1.0}]})


def test_an_artefact_has_a_calibration_or_none(calibrated_artefact: Path, retention_artefact: Path) -> None:
    calibration = read_calibration(calibrated_artefact, read_manifest(calibrated_artefact))
    assert calibration is not None and calibration.schema_version == CALIBRATION_SCHEMA
    assert calibration == Calibration.model_validate_json((calibrated_artefact / CALIBRATION).read_bytes())
    assert read_calibration(retention_artefact, read_manifest(retention_artefact)) is None


def test_a_calibration_that_was_changed_is_refused(copied_artefact: Path, calibrated_artefact: Path) -> None:
    (copied_artefact / CALIBRATION).write_text("{}")
    manifest = read_manifest(calibrated_artefact)
    with pytest.raises(ArtefactError, match=r"calibration\.json"):
        read_calibration(copied_artefact, manifest)
