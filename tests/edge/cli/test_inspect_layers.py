"""posemoe-edge inspect --layers: which layer computes in which precision, and who says so."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


def test_layers_are_listed_by_a_real_parser(run_cli: Call, retention_artefact: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="it exists for x86-64 alone")
    said = run_cli("inspect", retention_artefact, "--layers", "--json")
    half, wide = said.json["layers"]["step.fp16.onnx"], said.json["layers"]["step.fp32.onnx"]
    assert half["by"].startswith("tensorrt-rtx ")
    assert half["kinds"]["matrix_multiply"]["fp16"] > half["kinds"]["matrix_multiply"].get("fp32", 0)
    assert set(half["kinds"]["softmax"]) == set(half["kinds"]["normalization"]) == {"fp32"}
    assert {kind for kinds in wide["kinds"].values() for kind in kinds} == {"fp32"}
    assert sum(half["kinds"]["softmax"].values()) == sum(layer["kind"] == "softmax" for layer in half["each"])
    assert "softmax" in said.err and "as tensorrt-rtx" in said.err


def test_without_tensorrt_onnx_reads_them_and_that_is_said(
    run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)
    said = run_cli("inspect", retention_artefact, "--layers", "--json")
    half = said.json["layers"]["step.fp16.onnx"]
    assert said.code == 0 and "without TensorRT" in half["by"] and "without TensorRT" in said.err
    assert half["kinds"]["matmul"]["fp16"] > half["kinds"]["matmul"].get("fp32", 0)
    assert set(half["kinds"]["softmax"]) == set(half["kinds"]["layernormalization"]) == {"fp32"}
    assert "" not in {kind for kinds in half["kinds"].values() for kind in kinds}, "a type that ONNX could not infer"


def test_with_neither_the_extra_is_named(run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "posemoe_edge.export.layers", raising=False)
    for module in ("tensorrt", "tensorrt_rtx", "onnx"):
        monkeypatch.setitem(sys.modules, module, None)
    said = run_cli("inspect", retention_artefact, "--layers", "--json")
    assert said.code == 3 and said.json["run"] == 'pip install "posemoe-edge[tensorrt-rtx]"'


def test_without_the_option_nothing_is_read(run_cli: Call, retention_artefact: Path) -> None:
    assert "layers" not in run_cli("inspect", retention_artefact, "--json").json
