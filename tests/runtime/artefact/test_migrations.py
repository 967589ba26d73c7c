"""Records of older schemas are read as if they had been written today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.runtime import load
from posemoe_edge.runtime.artefact.certificate import CERTIFICATE_SCHEMA, Certificate, parse_certificate, rejudged
from posemoe_edge.runtime.artefact.certificate import read_certificate as read_shipped_certificate
from posemoe_edge.runtime.artefact.locate import ZOO
from posemoe_edge.runtime.artefact.manifest import MANIFEST, MANIFEST_SCHEMA, parse_manifest, read_manifest
from posemoe_edge.runtime.artefact.migrations import CERTIFICATE_MIGRATIONS, MANIFEST_MIGRATIONS
from posemoe_edge.runtime.errors import ArtefactError

SHIPPED = sorted(path.parent for path in ZOO.glob(f"*/{MANIFEST}"))

SHAPES: dict[str, Any] = {"keypoints": ["B", 9, 17, 2], "pose": ["B", 9, 17, 3]}

MANIFEST_1: dict[str, Any] = {
    "schema_version": 1,
    "preset": "mixste-tiny",
    "mixer": "attention",
    "mode": "window",
    "config": {"topology": "alternating", "mixer": "attention", "dim": 16, "window": 9, "channels": 2},
    "parameters": 1000,
    "skeleton": "h36m17",
    "keypoint_recipe": "coco_eyes",
    "channels": 2,
    "normalisation": "per frame",
    "units": "metres from the hip, seconds",
    "axes": "camera: x right, y down, z forward",
    "fps": 50.0,
    "latency_frames": 4,
    "graphs": [
        {
            "file": "window9.fp16.onnx",
            "mode": "window",
            "precision": "fp16",
            "opset": 20,
            "frames": 9,
            "inputs": [{"name": "keypoints", "dtype": "float32", "shape": SHAPES["keypoints"], "axes": [], "meaning": "x, y"}],
            "outputs": [{"name": "pose", "dtype": "float32", "shape": SHAPES["pose"], "axes": [], "meaning": "metres"}],
            "states": [],
            "fp32_islands": "all but the products",
        }
    ],
    "files": {},
    "versions": {},
    "training": {"untrained": True},
}

BUDGET: dict[str, Any] = {"mean_mm": 1.0, "p99_mm": 5.0, "max_mm": 20.0, "slope_mm_per_1000": 0.1, "mpjpe_loss_mm": None}

RECOVERY_2: dict[str, Any] = {
    "event": "outlier",
    "peak_mm": 472.7,
    "forgotten_after": 77,
    "frames": 497,
    "drift_mean_mm": None,
    "drift_max_mm": None,
    "distance_mm": [473.0, 30.1],
}

CERTIFICATE_2: dict[str, Any] = {
    "schema_version": 2,
    "preset": "posemoe-retention-s",
    "passed": True,
    "budget": BUDGET,
    "motion": {
        "kind": "walkers",
        "source": "synthetic",
        "sha256": "0" * 64,
        "frames": 60,
        "streams": [{"fps": 50.0, "lost": 0.0, "clips": ["walk-0"]}],
        "noisy": True,
        "seed": 0,
    },
    "reference": "PyTorch, float32, CPU",
    "reference_sha256": "1" * 64,
    "reference_accuracy": None,
    "reference_recoveries": [RECOVERY_2],
    "drifts": [
        {
            "precision": "fp32",
            "engine": "onnxruntime-cpu",
            "graph_sha256": "2" * 64,
            "arithmetic": "FP32",
            "frames": 60,
            "measured": BUDGET,
            "slope": None,
            "per_joint_mean_mm": {"hip": 0.1},
            "per_joint_max_mm": {"hip": 0.2},
            "accuracy": None,
            "recoveries": [{**RECOVERY_2, "forgotten_after": None, "drift_mean_mm": 0.1, "drift_max_mm": 0.2}],
            "course_mm": [0.1, 0.2],
            "passed": True,
            "exceeded": [],
            "smallest_budget": BUDGET,
        }
    ],
}


def read_certificate(data: dict[str, Any]) -> Certificate:
    return parse_certificate(json.dumps(data).encode(), "certificate.json", "posemoe-edge verify")


def test_a_manifest_of_schema_1_is_read() -> None:
    manifest = parse_manifest(json.dumps(MANIFEST_1), "manifest.json")
    assert manifest.schema_version == MANIFEST_SCHEMA
    assert manifest.graphs[0].fp32_nodes == "all but the products" and manifest.graphs[0].passes == ()
    assert parse_manifest(manifest.model_dump_json(), "manifest.json") == manifest


def test_a_certificate_of_schema_2_is_read() -> None:
    certificate = read_certificate(CERTIFICATE_2)
    reference, graph = certificate.reference_recoveries[0], certificate.drifts[0].recoveries[0]
    assert (reference.disturbance, reference.recovery_frames) == ("outlier", 77)
    assert (graph.disturbance, graph.recovery_frames) == ("outlier", None)
    assert certificate.drifts[0].drift_curve_mm == (0.1, 0.2)
    assert read_certificate(certificate.model_dump(mode="json")) == certificate


def test_a_certificate_of_schema_3_says_nothing_of_batches() -> None:
    drift = {**read_certificate(CERTIFICATE_2).model_dump(mode="json")["drifts"][0]}
    del drift["batch_difference"]
    recoveries = [{**drift["recoveries"][0], "drift_mean_mm": None, "drift_max_mm": None}]
    old = CERTIFICATE_2 | {"schema_version": 3, "drifts": [drift], "reference_recoveries": recoveries}
    certificate = read_certificate(old)
    assert certificate.schema_version == CERTIFICATE_SCHEMA and certificate.drifts[0].batch_difference is None
    assert rejudged(certificate).passed


@pytest.mark.parametrize("spoil", [{"graphs": None}, {"graphs": [3]}, {"graphs": ["step.fp32.onnx"]}])
def test_an_old_manifest_that_cannot_be_migrated_is_no_manifest(spoil: dict[str, Any]) -> None:
    with pytest.raises(ArtefactError, match=r"manifest.json is not a manifest.*expected schema 1"):
        parse_manifest(json.dumps(MANIFEST_1 | spoil), "manifest.json")


def test_an_old_certificate_without_a_field_that_is_renamed_is_no_certificate() -> None:
    drift = {name: value for name, value in CERTIFICATE_2["drifts"][0].items() if name != "course_mm"}
    with pytest.raises(ArtefactError, match=r"is not a certificate: field drifts.0.drift_curve_mm"):
        read_certificate(CERTIFICATE_2 | {"drifts": [drift]})


@pytest.mark.parametrize("migrations", [MANIFEST_MIGRATIONS, CERTIFICATE_MIGRATIONS])
def test_migrations_leave_no_version_out(migrations: dict[int, Any]) -> None:
    assert list(migrations) == list(range(min(migrations), max(migrations) + 1))


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_artefact_is_read(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest.schema_version == MANIFEST_SCHEMA
    certificate = read_shipped_certificate(folder, manifest)
    assert certificate is not None and certificate.schema_version == CERTIFICATE_SCHEMA


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_graph_is_read_on_its_own(folder: Path) -> None:
    for graph in read_manifest(folder).graphs:
        assert load(folder / graph.file).manifest.schema_version == MANIFEST_SCHEMA
