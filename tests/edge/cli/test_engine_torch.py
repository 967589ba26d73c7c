"""--engine torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
from posemoe_edge.runtime.artefact.certificate import Certificate
from posemoe_edge.runtime.artefact.manifest import read_manifest, write_manifest

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def _on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_pytorch_and_onnx_runtime_agree(run_cli: Call, retention_artefact: Path) -> None:
    arguments = ("run", "synthetic://walk?people=2", "--frames", 15, "--model", retention_artefact, "--json")
    on_torch, on_onnxruntime = (run_cli(*arguments, "--engine", name) for name in ("torch", "onnxruntime"))
    assert (on_torch.code, on_onnxruntime.code) == (0, 0)
    assert (on_torch.json["engine"], on_onnxruntime.json["engine"]) == ("torch-cpu", "onnxruntime-cpu")
    assert on_torch.json["mpjpe_mm"] == pytest.approx(on_onnxruntime.json["mpjpe_mm"], abs=0.02)
    assert "fp32 step on torch-cpu" in on_torch.err


def test_a_certificate_of_another_engine_is_reported_as_such(run_cli: Call, certified_artefact: Path) -> None:
    arguments = ("run", "synthetic://walk", "--frames", 3, "--model", certified_artefact, "--precision", "fp32", "--json")
    on_torch, on_onnxruntime = (run_cli(*arguments, "--engine", name) for name in ("torch", "onnxruntime"))
    assert on_torch.json["certificate"]["engine"] == on_onnxruntime.json["certificate"]["engine"] == "onnxruntime-cpu"
    assert (
        "drift certificate passed on onnxruntime-cpu: " in on_torch.err and "drift certificate passed: " in on_onnxruntime.err
    )


def test_a_drift_on_pytorch_is_added_to_the_certificate(run_cli: Call, certified_artefact: Path) -> None:
    lenient = ("--mean-mm", 10, "--p99-mm", 50, "--max-mm", 100, "--slope-mm", 100, "--mpjpe-mm", 100)
    result = run_cli(
        "verify",
        certified_artefact,
        "--engine",
        "torch",
        "--precision",
        "fp32",
        "--frames",
        60,
        "--streams",
        2,
        *lenient,
        "--json",
    )
    certificate = Certificate.model_validate(result.json)
    assert result.code == 0
    assert [(drift.precision, drift.engine) for drift in certificate.drifts if drift.engine.startswith("torch")] == [
        ("fp32", "torch-cpu")
    ]
    assert [drift.engine for drift in certificate.drifts if drift.precision == "fp16"] == ["onnxruntime-cpu"]
    on_torch = next(drift for drift in certificate.drifts if drift.engine == "torch-cpu")
    assert on_torch.arithmetic == "fp32, as torch-cpu computes it" and on_torch.measured.max_mm < 0.01
    assert "fp32 on torch-cpu" in result.err


def test_a_quantised_graph_is_a_usage_error(run_cli: Call, copied_artefact: Path) -> None:
    manifest = read_manifest(copied_artefact)
    graphs = (manifest.graphs[0].model_copy(update={"precision": "mixed"}), *manifest.graphs[1:])
    write_manifest(copied_artefact, manifest.model_copy(update={"graphs": graphs, "preferred": "mixed"}))
    result = run_cli("run", "synthetic://walk", "--frames", 3, "--model", copied_artefact, "--engine", "torch", "--json")
    assert result.code == 2 and result.json["what"] == "PyTorch has no mixed graph"


def test_without_torch_the_error_names_the_extra(
    run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(self: EntryPoint) -> Any:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(EntryPoint, "load", absent)
    result = run_cli("run", "synthetic://walk", "--frames", 3, "--model", retention_artefact, "--engine", "torch", "--json")
    assert result.code == 3 and result.json["run"] == 'pip install "posemoe-edge[export]"'
