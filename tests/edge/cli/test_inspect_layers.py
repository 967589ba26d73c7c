"""posemoe-edge inspect --layers: the precision of each layer, and what read it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


def test_layers_are_read_by_tensorrts_parser(run_cli: Call, retention_artefact: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="it exists for x86-64 alone")
    result = run_cli("inspect", retention_artefact, "--layers", "--json")
    half, full = result.json["layers"]["step.fp16.onnx"], result.json["layers"]["step.fp32.onnx"]
    assert half["by"].startswith("tensorrt-rtx ")
    assert half["kinds"]["matrix_multiply"]["fp16"] > half["kinds"]["matrix_multiply"].get("fp32", 0)
    assert set(half["kinds"]["softmax"]) == set(half["kinds"]["normalization"]) == {"fp32"}
    assert {kind for kinds in full["kinds"].values() for kind in kinds} == {"fp32"}
    assert sum(half["kinds"]["softmax"].values()) == sum(layer["kind"] == "softmax" for layer in half["each"])
    assert "softmax" in result.err and "as tensorrt-rtx" in result.err


def test_without_tensorrt_onnx_reads_the_layers_and_the_report_says_so(
    run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)
    result = run_cli("inspect", retention_artefact, "--layers", "--json")
    half = result.json["layers"]["step.fp16.onnx"]
    assert result.code == 0 and "without TensorRT" in half["by"] and "without TensorRT" in result.err
    assert half["kinds"]["matmul"]["fp16"] > half["kinds"]["matmul"].get("fp32", 0)
    assert set(half["kinds"]["softmax"]) == set(half["kinds"]["layernormalization"]) == {"fp32"}
    assert "" not in {kind for kinds in half["kinds"].values() for kind in kinds}, "a type that ONNX could not infer"


def test_without_tensorrt_and_onnx_the_extra_is_named(
    run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "posemoe_edge.export.layers", raising=False)
    for module in ("tensorrt", "tensorrt_rtx", "onnx"):
        monkeypatch.setitem(sys.modules, module, None)
    result = run_cli("inspect", retention_artefact, "--layers", "--json")
    assert result.code == 3 and result.json["run"] == 'pip install "posemoe-edge[tensorrt-rtx]"'


def test_without_the_option_no_layer_is_read(run_cli: Call, retention_artefact: Path) -> None:
    assert "layers" not in run_cli("inspect", retention_artefact, "--json").json
