"""The certificate: bound to the graphs and weights that it certifies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.runtime import ArtefactError, CheckFailedError, load
from posemoe_edge.runtime.artefact.certificate import CERTIFICATE, Certificate, read_certificate
from posemoe_edge.runtime.artefact.files import record_file
from posemoe_edge.runtime.artefact.manifest import read_manifest, write_manifest


def record_hashes(folder: Path, *names: str) -> None:
    """Write the hashes of files as they are now into the manifest."""
    manifest = read_manifest(folder)
    files = manifest.files | {name: record_file(folder / name) for name in names}
    write_manifest(folder, manifest.model_copy(update={"files": files}))


def edit_certificate(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((folder / CERTIFICATE).read_text())
    change(data)
    (folder / CERTIFICATE).write_text(json.dumps(data))


def fail_fp32(data: dict[str, Any]) -> None:
    drift = next(d for d in data["drifts"] if d["precision"] == "fp32")
    drift.update(passed=False, exceeded=["max_mm 30 > 20"])


def test_an_artefact_that_was_never_verified_has_none(retention_artefact: Path) -> None:
    assert read_certificate(retention_artefact, read_manifest(retention_artefact)) is None
    assert load(retention_artefact).certificate is None


def test_a_certificate_is_read_with_the_model(certified_artefact: Path) -> None:
    certificate = load(certified_artefact).certificate
    assert certificate is not None and certificate.passed and certificate.motion.frames == 60
    assert {drift.precision for drift in certificate.drifts} == {"fp32", "fp16"}
    assert certificate.drift("int8") is None


def test_a_certificate_comes_back_as_it_was_written(certified_artefact: Path) -> None:
    certificate = read_certificate(certified_artefact, read_manifest(certified_artefact))
    assert certificate is not None
    assert Certificate.model_validate_json(certificate.model_dump_json()) == certificate


def test_an_edited_certificate_is_refused(certified_artefact: Path) -> None:
    edit_certificate(certified_artefact, lambda data: data["drifts"][0].update(passed=True))
    with pytest.raises(ArtefactError, match=r"certificate.json (was changed|has \d+ bytes)"):
        load(certified_artefact)


def test_a_certificate_that_is_missing_is_an_error(certified_artefact: Path) -> None:
    (certified_artefact / CERTIFICATE).unlink()
    with pytest.raises(ArtefactError, match=r"certificate.json is missing"):
        load(certified_artefact)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_certificate_of_another_graph_is_refused(certified_artefact: Path, precision: str) -> None:
    name = f"step.{precision}.onnx"
    graph = certified_artefact / name
    graph.write_bytes(graph.read_bytes() + b"\x72\x00")  # an empty metadata entry: the same graph in another file
    record_hashes(certified_artefact, name)
    with pytest.raises(ArtefactError, match=rf"certifies another {name}.*run: posemoe-edge verify"):
        load(certified_artefact)


def test_a_graph_that_failed_is_not_run_unless_it_is_allowed(certified_artefact: Path) -> None:
    edit_certificate(certified_artefact, fail_fp32)
    record_hashes(certified_artefact, CERTIFICATE)
    with pytest.raises(CheckFailedError, match=r"max_mm 30 > 20.*--allow-failed") as caught:
        load(certified_artefact)
    assert caught.value.exit_code == 1
    assert load(certified_artefact, allow_failed=True).certificate is not None
    load(certified_artefact, precision="fp16")  # has a verdict of its own


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.pop("budget"),
        lambda data: data.update(surprise=1),
        lambda data: data["drifts"][0]["measured"].update(mean_mm=None),
        lambda data: data.update(drifts="none"),
    ],
)
def test_a_record_that_is_no_certificate_is_refused(
    certified_artefact: Path, damage: Callable[[dict[str, Any]], object]
) -> None:
    edit_certificate(certified_artefact, damage)
    record_hashes(certified_artefact, CERTIFICATE)
    with pytest.raises(ArtefactError, match=r"(?s)is not a certificate.*run: posemoe-edge verify"):
        load(certified_artefact)


@pytest.mark.parametrize("schema", [1, 99])
def test_a_certificate_of_another_schema_is_refused(certified_artefact: Path, schema: int) -> None:
    def older(data: dict[str, Any]) -> None:
        data.update(schema_version=schema)
        del data["reference_accuracy"], data["motion"]["streams"]  # which older schemas did not have

    edit_certificate(certified_artefact, older)
    record_hashes(certified_artefact, CERTIFICATE)
    with pytest.raises(ArtefactError, match=rf"has schema_version {schema}; expected 2 or 3 or 4; run: posemoe-edge verify"):
        load(certified_artefact)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema_version": 2}', '{"schema_version": 3}', '{"schema_version": 4}', "\xff"]
)
def test_a_text_that_is_not_json_is_refused_with_the_same_words(certified_artefact: Path, text: str) -> None:
    (certified_artefact / CERTIFICATE).write_text(text, encoding="latin-1")
    record_hashes(certified_artefact, CERTIFICATE)
    with pytest.raises(ArtefactError, match=r"(?s)is not a certificate.*run: posemoe-edge verify"):
        load(certified_artefact)


def test_a_drift_is_of_a_precision_on_an_engine(certified_artefact: Path) -> None:
    certificate = load(certified_artefact).certificate
    assert certificate is not None
    on_tensorrt = [drift.model_copy(update={"engine": "tensorrt 11.4 sm87"}) for drift in certificate.drifts]
    both = certificate.model_copy(update={"drifts": (*certificate.drifts, *on_tensorrt)})
    assert both.drift("fp16") == both.drift("fp16", "onnxruntime-cpu") == certificate.drift("fp16")
    assert both.drift("fp16", "tensorrt 11.4 sm87") in on_tensorrt and both.drift("fp16", "onnxruntime-cuda") is None
    assert both.drift_for("fp16", "tensorrt 11.4 sm87") in on_tensorrt and both.drift_for("int8", "tensorrt 11.4 sm87") is None
    assert both.drift_for("fp16", "tensorrt") == certificate.drift("fp16")  # another engine, although its name begins alike
    failed = both.model_copy(
        update={"drifts": (*certificate.drifts, *(d.model_copy(update={"passed": False}) for d in on_tensorrt))}
    )
    assert failed.drift_for("fp16", "tensorrt-rtx") == failed.drift("fp16", "tensorrt 11.4 sm87")  # a failed drift comes first
    assert failed.drift_for("fp16", "onnxruntime-cpu") == certificate.drift("fp16")
    assert list(certificate.by_name) == ["fp32", "fp16"]
    assert list(both.by_name)[1:3] == ["fp16 onnxruntime-cpu", "fp32 tensorrt 11.4 sm87"]


def test_the_drift_of_every_engine_must_be_of_the_present_graph(certified_artefact: Path) -> None:
    def add(data: dict[str, Any]) -> None:
        other = json.loads(json.dumps(data["drifts"][0]))
        data["drifts"].append(other | {"engine": "tensorrt 11.4 sm87", "graph_sha256": "0" * 64})

    edit_certificate(certified_artefact, add)
    record_hashes(certified_artefact, CERTIFICATE)
    with pytest.raises(ArtefactError, match=r"certifies another step.fp32.onnx"):
        load(certified_artefact)


def test_a_certificate_of_other_weights_is_refused(certified_artefact: Path, dssm_artefact: Path) -> None:
    shutil.copy(dssm_artefact / "reference.safetensors", certified_artefact)
    record_hashes(certified_artefact, "reference.safetensors")
    with pytest.raises(ArtefactError, match=r"certifies another reference"):
        load(certified_artefact)
