"""posemoe-edge build: which plans are made, what replaces one that does not compile, and what is reported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from posemoe_edge.edge.cli import build_verb
from posemoe_edge.runtime import MissingError
from posemoe_edge.runtime.artefact.files import record_file
from posemoe_edge.runtime.artefact.manifest import Graph, Manifest, read_manifest, write_manifest
from posemoe_edge.runtime.engines.tensorrt import builder
from posemoe_edge.runtime.engines.tensorrt.builder import BuildError
from posemoe_edge.runtime.platform.nvidia import Gpu

Call = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("xdg_cache")


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the compiled graphs without compiling. Quantised ones fail, as some do on Orin."""
    calls: list[str] = []

    def compile_(trt: Any, path: Path, graph: Graph, *, on_progress: Callable[..., None], **options: Any) -> bytes:
        calls.append(graph.file)
        on_progress([("Building engine", 1, 6), ("Timing", 2, 3)])
        if graph.precision not in ("fp32", "fp16"):
            raise BuildError(f"TensorRT did not compile {graph.file}: Myelin gave up", expected="a plan")
        return f"plan of {graph.file}".encode()

    monkeypatch.setattr(builder, "build", compile_)
    return calls


@pytest.fixture
def quantised(copied_artefact: Path) -> Path:
    """An artefact whose manifest also has an int8 graph; the file is a copy of the fp32 graph."""
    manifest = read_manifest(copied_artefact)
    shutil.copy(copied_artefact / "step.fp32.onnx", copied_artefact / "step.int8.onnx")
    graph = manifest.graph("fp32").model_copy(update={"precision": "int8", "file": "step.int8.onnx"})
    files = manifest.files | {graph.file: record_file(copied_artefact / graph.file)}
    changed = {"graphs": (*manifest.graphs, graph), "files": files}
    write_manifest(copied_artefact, Manifest.model_validate(manifest.model_copy(update=changed).model_dump()))
    return copied_artefact


def rtx(*arguments: object) -> tuple[object, ...]:
    return ("build", *arguments, "--target", "sm86", "--json")


def test_fp16_is_the_default(run_cli: Call, compiled: list[str], copied_artefact: Path) -> None:
    result = run_cli(*rtx(copied_artefact))
    assert result.code == 0 and compiled == ["step.fp16.onnx"]
    (plan,) = result.json["plans"]
    assert Path(plan["plan"]).read_bytes() == b"plan of step.fp16.onnx" and plan["key"]["capabilities"] == ["sm86"]
    assert "Building tiny-retention with tensorrt-rtx" in result.err and "step.fp16.onnx" in result.err


def test_an_artefact_without_fp16_is_built_in_fp32(
    run_cli: Call, compiled: list[str], copy_artefact: Callable[[str], Path]
) -> None:
    folder = copy_artefact("retention")
    manifest = read_manifest(folder)
    write_manifest(folder, manifest.model_copy(update={"graphs": (manifest.graph("fp32"),)}))
    assert run_cli(*rtx(folder)).code == 0 and compiled == ["step.fp32.onnx"]


def test_each_requested_precision_is_built_once(run_cli: Call, compiled: list[str], copied_artefact: Path) -> None:
    arguments = rtx(copied_artefact, "--precision", "fp32", "--precision", "fp16", "--precision", "fp32")
    assert [plan["precision"] for plan in run_cli(*arguments).json["plans"]] == ["fp32", "fp16"]
    assert compiled == ["step.fp32.onnx", "step.fp16.onnx"]


def test_an_existing_plan_is_kept_and_reported(run_cli: Call, compiled: list[str], copied_artefact: Path) -> None:
    run_cli(*rtx(copied_artefact))
    again = run_cli(*rtx(copied_artefact))
    assert again.json["plans"][0]["seconds"] is None and "exists" in again.err and len(compiled) == 1
    assert run_cli(*rtx(copied_artefact, "--force")).json["plans"][0]["seconds"] is not None and len(compiled) == 2


def test_a_quantised_graph_that_does_not_compile_is_reported_and_replaced(
    run_cli: Call, compiled: list[str], quantised: Path
) -> None:
    result = run_cli(*rtx(quantised, "--precision", "int8"))
    assert result.code == 1
    assert "Warning: TensorRT did not compile step.int8.onnx: Myelin gave up: built fp16 in place of int8" in result.err
    assert [plan["precision"] for plan in result.json["plans"]] == ["fp16"]
    assert result.json["fell_back"][0]["precision"] == "int8" and result.json["fell_back"][0]["instead"] == "fp16"
    assert "--precision fp16" in result.err.splitlines()[-1]


def test_the_fallback_is_not_built_twice(run_cli: Call, compiled: list[str], quantised: Path) -> None:
    result = run_cli(*rtx(quantised, "--precision", "fp16", "--precision", "int8"))
    assert result.code == 1 and compiled == ["step.fp16.onnx", "step.int8.onnx"]
    assert [plan["precision"] for plan in result.json["plans"]] == ["fp16"]


def test_an_fp16_graph_that_does_not_compile_is_an_error(
    run_cli: Call, copied_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> bytes:
        raise BuildError("TensorRT did not compile step.fp16.onnx: out of memory", expected="a plan")

    monkeypatch.setattr(builder, "build", fail)
    result = run_cli(*rtx(copied_artefact))
    assert result.code == 4 and "out of memory" in result.err and not (copied_artefact / "engines").exists()


def test_plans_of_the_shipped_artefact_go_into_the_cache(
    run_cli: Call, compiled: list[str], zoo: Path, xdg_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posemoe_edge.runtime.engines.tensorrt.plan.ZOO", zoo)
    result = run_cli("build", "--target", "sm86", "--json")
    assert result.code == 0 and Path(result.json["plans"][0]["plan"]).is_relative_to(xdg_cache)


@pytest.mark.parametrize(("option", "streams"), [("1,8,32", [1, 8, 32]), ("4", [4, 4, 4])])
def test_streams_are_least_usual_and_most(
    option: str, streams: list[int], run_cli: Call, compiled: list[str], copied_artefact: Path
) -> None:
    result = run_cli(*rtx(copied_artefact, "--streams", option))
    assert result.json["streams"] == streams == result.json["plans"][0]["key"]["streams"]


def test_rtx_plans_are_for_three_generations_by_default(run_cli: Call, compiled: list[str], copied_artefact: Path) -> None:
    result = run_cli("build", copied_artefact, "--engine", "tensorrt-rtx", "--json")
    assert result.json["capabilities"] == ["sm86", "sm89", "sm120"]


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> Callable[[Gpu | None], None]:
    """tensorrt(gpu): standard TensorRT is installed on a machine with that GPU, or with none."""

    def install(gpu: Gpu | None) -> None:
        def find_gpu() -> Gpu:
            if gpu is None:
                raise MissingError("no NVIDIA driver is installed")
            return gpu

        monkeypatch.setattr(build_verb, "import_tensorrt", lambda engine: SimpleNamespace(__version__="10.3.0"))
        monkeypatch.setattr(build_verb, "find_gpu", find_gpu)

    return install


ORIN = Gpu(name="Orin", capability="sm87", cuda="12.6", memory_bytes=8 << 30, integrated=True)


def test_tensorrt_builds_for_this_machines_gpu(
    run_cli: Call, compiled: list[str], copied_artefact: Path, tensorrt: Call
) -> None:
    tensorrt(ORIN)
    result = run_cli("build", copied_artefact, "--engine", "tensorrt", "--json")
    assert result.code == 0 and result.json["plans"][0]["plan"].endswith("step.fp16.b1-1-8.trt10.3.sm87.engine")
    other = run_cli("build", copied_artefact, "--engine", "tensorrt", "--target", "sm89", "--json")
    assert other.code == 2 and "compiles for the GPU of this machine: sm87" in other.err


def test_without_a_gpu_tensorrt_suggests_the_engine_that_needs_none(
    run_cli: Call, copied_artefact: Path, tensorrt: Call
) -> None:
    tensorrt(None)
    result = run_cli("build", copied_artefact, "--engine", "tensorrt", "--json")
    assert result.code == 3 and "no NVIDIA driver" in result.err
    assert result.json["run"] == "posemoe-edge build --engine tensorrt-rtx --target sm86,sm89,sm120"


@pytest.mark.parametrize(
    ("installed", "target", "engine"),
    [
        ({"tensorrt", "tensorrt_rtx"}, None, "tensorrt"),
        ({"tensorrt", "tensorrt_rtx"}, "sm86", "tensorrt-rtx"),
        ({"tensorrt_rtx"}, None, "tensorrt-rtx"),
        (set(), None, "tensorrt"),  # importing it then says how to install it
    ],
)
def test_the_default_engine_is_the_installed_one(
    installed: set[str], target: str | None, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in installed else None)
    assert build_verb._default_engine(target) == engine
