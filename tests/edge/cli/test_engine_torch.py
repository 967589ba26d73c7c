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


def test_a_run_on_pytorch_is_one_on_onnx_runtime(run_cli: Call, retention_artefact: Path) -> None:
    given = ("run", "synthetic://walk?people=2", "--frames", 15, "--model", retention_artefact, "--json")
    ours, theirs = (run_cli(*given, "--engine", name) for name in ("torch", "onnxruntime"))
    assert (ours.code, theirs.code) == (0, 0)
    assert (ours.json["engine"], theirs.json["engine"]) == ("torch-cpu", "onnxruntime-cpu")
    assert ours.json["mpjpe_mm"] == pytest.approx(theirs.json["mpjpe_mm"], abs=0.02)
    assert "fp32 step on torch-cpu" in ours.err


def test_a_certificate_of_another_engine_is_called_that(run_cli: Call, certified_artefact: Path) -> None:
    given = ("run", "synthetic://walk", "--frames", 3, "--model", certified_artefact, "--precision", "fp32", "--json")
    ours, theirs = (run_cli(*given, "--engine", name) for name in ("torch", "onnxruntime"))
    assert ours.json["certificate"]["engine"] == theirs.json["certificate"]["engine"] == "onnxruntime-cpu"
    assert "drift certificate passed on onnxruntime-cpu: " in ours.err and "drift certificate passed: " in theirs.err


def test_what_is_verified_on_it_stands_beside_what_was_before(run_cli: Call, certified_artefact: Path) -> None:
    wide = ("--mean-mm", 10, "--p99-mm", 50, "--max-mm", 100, "--slope-mm", 100, "--mpjpe-mm", 100)
    said = run_cli(
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
        *wide,
        "--json",
    )
    made = Certificate.model_validate(said.json)
    assert said.code == 0
    assert [(drift.precision, drift.engine) for drift in made.drifts if drift.engine.startswith("torch")] == [
        ("fp32", "torch-cpu")
    ]
    assert [drift.engine for drift in made.drifts if drift.precision == "fp16"] == ["onnxruntime-cpu"]
    ours = next(drift for drift in made.drifts if drift.engine == "torch-cpu")
    assert ours.arithmetic == "fp32, as torch-cpu computes it" and ours.measured.max_mm < 0.01
    assert "fp32 on torch-cpu" in said.err


def test_a_graph_that_pytorch_has_not_is_usage(run_cli: Call, copied_artefact: Path) -> None:
    manifest = read_manifest(copied_artefact)
    graphs = (manifest.graphs[0].model_copy(update={"precision": "mixed"}), *manifest.graphs[1:])
    write_manifest(copied_artefact, manifest.model_copy(update={"graphs": graphs, "preferred": "mixed"}))
    said = run_cli("run", "synthetic://walk", "--frames", 3, "--model", copied_artefact, "--engine", "torch", "--json")
    assert said.code == 2 and said.json["what"] == "PyTorch has no mixed graph"


def test_without_torch_it_says_what_to_install(
    run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(self: EntryPoint) -> Any:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(EntryPoint, "load", absent)
    said = run_cli("run", "synthetic://walk", "--frames", 3, "--model", retention_artefact, "--engine", "torch", "--json")
    assert said.code == 3 and said.json["run"] == 'pip install "posemoe-edge[export]"'
