"""INT8 graphs before TensorRT for RTX: its real parser reads them, its real compiler makes plans of them, without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.calib.calibrate import calibrate
from posemoe_edge.edge.data.motion import walker_motion
from posemoe_edge.runtime.engines.builder import build
from posemoe_edge.runtime.engines.layers import by_kind, layers_of
from posemoe_edge.runtime.engines.library import library
from posemoe_edge.runtime.manifest import Precision, read_manifest


@pytest.fixture(scope="module")
def trt() -> Any:
    pytest.importorskip("tensorrt_rtx", reason="it exists for x86-64 alone")
    return library("tensorrt-rtx")


@pytest.fixture(scope="module")
def folder(artefact_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import shutil

    made = Path(shutil.copytree(artefact_of("retention"), tmp_path_factory.mktemp("int8") / "tiny"))
    calibrate(made, *walker_motion(frames=100, streams=1), precisions=("int8", "int8w"))
    return made


@pytest.mark.parametrize(("precision", "coded"), [("int8", True), ("int8w", False)])
def test_the_parser_sees_codes_where_they_were_put_and_nowhere_else(
    precision: Precision, coded: bool, folder: Path, trt: Any
) -> None:
    kinds = by_kind(layers_of(trt, folder / read_manifest(folder).graph(precision).file))
    assert set(kinds.get("quantize", {})) == ({"int8"} if coded else set())
    assert set(kinds["dequantize"]) == {"fp16" if coded else "fp32"}
    assert set(kinds["normalization"]) == {"fp32"} and set(kinds["softmax"]) == {"fp32"}


def test_the_compiler_makes_a_plan_of_it(folder: Path, trt: Any) -> None:
    graph = read_manifest(folder).graph("int8")
    assert len(build(trt, folder / graph.file, graph, streams=(1, 1, 8), targets=("sm86",))) > 100_000
