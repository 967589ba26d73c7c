"""The builder, with NVIDIA's real parser and compiler: those of TensorRT for RTX need no GPU.

A graph that becomes a plan here is read and compiled by this generation of TensorRT. That says nothing about the kernels of
TensorRT 10.3, nor about speed.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from posemoe_edge.runtime import ArtefactError, MissingError, UsageError
from posemoe_edge.runtime.artefact.locate import find_artefact
from posemoe_edge.runtime.artefact.manifest import Graph, read_manifest
from posemoe_edge.runtime.artefact.precision import Precision
from posemoe_edge.runtime.cuda.gc_pause import gc_paused
from posemoe_edge.runtime.engines.tensorrt import builder
from posemoe_edge.runtime.engines.tensorrt.builder import BuildError, build, make_plan, open_builder, read_network
from posemoe_edge.runtime.engines.tensorrt.library import import_tensorrt
from posemoe_edge.runtime.engines.tensorrt.network_layers import NetworkLayer, count_by_kind, read_layers
from posemoe_edge.runtime.engines.tensorrt.plan import EngineName, Plan
from posemoe_edge.runtime.engines.tensorrt.progress import progress_monitor
from posemoe_edge.runtime.engines.tensorrt.timing_cache import load_timing_cache, save_timing_cache

GraphOf = Callable[[str, Precision], tuple[Path, Graph]]

# Every mixer in both precisions, INT8, chunks and windows, each with a free number of streams. A further precision is one more
# line: ``graph_of`` takes the graph from the artefact if it has one.
GRAPHS: tuple[tuple[str, Precision], ...] = (
    ("retention", "fp32"),
    ("retention", "fp16"),
    ("retention", "int8"),
    ("dssm", "fp32"),
    ("dssm", "fp16"),
    ("attention", "fp32"),
    ("attention", "fp16"),
    ("gated", "fp32"),
    ("retention-chunk", "fp32"),
    ("lookahead-chunk", "fp16"),
    ("centre", "fp32"),
)
# Compiling these would test nothing further.
READ_ONLY: tuple[tuple[str, Precision], ...] = (("gated-chunk", "fp32"), ("retention", "int8w"))
COMPUTED = {
    "fp32": "fp32",
    "fp16": "fp16",
    "int8": "fp16",
    "int8w": "fp32",
}  # the type that quantised values are dequantised to
STREAMS = (1, 2, 4)
TARGETS = ("sm86", "sm89", "sm120")
each_graph = pytest.mark.parametrize(("kind", "precision"), (*GRAPHS, *READ_ONLY))

pytestmark = pytest.mark.usefixtures("xdg_cache")


@pytest.fixture(scope="session")
def trt() -> Any:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX exists for x86-64 only")
    return import_tensorrt("tensorrt-rtx")


@pytest.fixture(scope="session")
def graph_of(
    artefact_of: Callable[[str], Path],
    calibrated_artefact: Path,
    build_once: Callable[[str, Callable[[Path], object]], Path],
    tiny_lifter: Callable[[str], Any],
) -> Callable[[str, Precision], tuple[Path, Graph]]:
    """graph_of("dssm", "fp16"): a tiny graph's file and record, of a shared artefact or else exported once."""

    def find_or_export(kind: str, precision: Precision) -> tuple[Path, Graph]:
        from posemoe_edge.export.passes import export_passes, run_passes
        from posemoe_edge.export.precision import to_fp16
        from posemoe_edge.export.trace import trace

        folder = calibrated_artefact if kind == "retention" else artefact_of(kind)
        manifest = read_manifest(folder)
        graph = next((graph for graph in manifest.graphs if graph.precision == precision), None)
        if graph:
            return folder / graph.file, graph
        assert precision == "fp16", "the only other precision that export writes without calibration"
        single = manifest.graph("fp32")
        graph = single.model_copy(update={"precision": precision, "file": single.file.replace("fp32", precision)})
        chunk = graph.frames if graph.mode == "chunk" else None
        name = f"{kind}.{graph.file}"

        def export_half(path: Path) -> None:
            model, _ = run_passes(trace(to_fp16(tiny_lifter(kind)), chunk), export_passes())
            onnx.save(model, path)

        return build_once(name, export_half), graph

    return find_or_export


# --- graphs that must be read and compiled -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "precision"), GRAPHS)
def test_every_graph_is_compiled_to_a_plan(kind: str, precision: Precision, trt: Any, graph_of: GraphOf) -> None:
    path, graph = graph_of(kind, precision)
    plan = build(trt, path, graph, streams=STREAMS, targets=TARGETS)
    weights = sum(numpy_helper.to_array(weight).nbytes for weight in onnx.load(path).graph.initializer)
    assert len(plan) > weights  # the plan holds the weights and the kernels


def test_the_shipped_graph_is_compiled_to_a_plan(trt: Any) -> None:
    folder = find_artefact()
    graph = read_manifest(folder).graph("fp16")
    plan = build(trt, folder / graph.file, graph, streams=(1, 1, 8), targets=TARGETS)
    assert len(plan) > (folder / graph.file).stat().st_size / 2


@each_graph
def test_reductions_are_fp32_and_linear_layers_have_the_graphs_precision(
    kind: str, precision: Precision, trt: Any, graph_of: GraphOf, tiny_lifter: Callable[[str], Any]
) -> None:
    """Norms, softmax, sums and decay are fp32 in every precision. Linear layers are so only in modules with ``keep_fp32``."""
    from torch import nn

    path, _ = graph_of(kind, precision)
    layers = read_layers(trt, path)
    accumulating = [layer for layer in layers if layer.kind in ("normalization", "softmax", "reduce", "select", "unary")]
    assert {kind for layer in accumulating for kind in {"fp32", "fp16"} & {*layer.reads, *layer.writes}} == {"fp32"}
    assert {"normalization", "softmax"} <= {layer.kind for layer in accumulating}

    modules = dict(tiny_lifter(kind).named_modules())
    fp32_modules = [name for name, module in modules.items() if getattr(module, "keep_fp32", False)]
    linear_types: dict[str, set[str]] = {}
    for layer in layers:
        scope = layer.name.rpartition("/")[0]  # nodes are named after their module
        if layer.kind == "matrix_multiply" and isinstance(modules.get(scope), nn.Linear):
            linear_types.setdefault(scope, set()).update(layer.reads, layer.writes)
    assert len(linear_types) > 4
    for name, types in linear_types.items():
        keep_fp32 = any(f"{name}.".startswith(f"{module}.") for module in fp32_modules)
        assert types == {"fp32" if keep_fp32 else COMPUTED[precision]}, name


@each_graph
def test_only_calibrated_graphs_quantise(kind: str, precision: Precision, trt: Any, graph_of: GraphOf) -> None:
    path, _ = graph_of(kind, precision)
    kinds = count_by_kind(read_layers(trt, path))
    assert set(kinds.get("quantize", {})) == ({"int8"} if precision == "int8" else set())
    assert set(kinds.get("dequantize", {})) == ({COMPUTED[precision]} if precision in ("int8", "int8w") else set())


@pytest.mark.parametrize(
    ("kind", "precision"), [graph for graph in (*GRAPHS, *READ_ONLY) if graph[0] not in ("attention", "centre")]
)
def test_the_state_is_carried_without_rounding(kind: str, precision: Precision, trt: Any, graph_of: GraphOf) -> None:
    """A path without casts leads from each new state back to the old one, and to the decay by ``dt``; its products are FP32."""
    path, graph = graph_of(kind, precision)
    trt_builder, logger = open_builder(trt)
    network, parser = read_network(trt, trt_builder, logger, path)
    producers = {}
    for layer in map(network.get_layer, range(network.num_layers)):
        for tensor in map(layer.get_output, range(layer.num_outputs)):
            producers[tensor.name] = layer
    outputs = {tensor.name: tensor for tensor in map(network.get_output, range(network.num_outputs))}
    for state in graph.states:
        visited, pending = set(), [outputs[state.output]]
        while pending:
            tensor = pending.pop()
            layer = producers.get(tensor.name)
            if tensor.name in visited or (layer and layer.type.name in ("CAST", "SHAPE")):
                continue
            visited.add(tensor.name)
            assert tensor.dtype.name != "HALF", tensor.name
            if layer:
                pending += [x for x in map(layer.get_input, range(layer.num_inputs)) if x is not None]
        assert {state.input, "dt"} <= visited
    del parser  # it owns memory of the network, so it must outlive it


def test_layers_are_counted_by_kind_and_output_type() -> None:
    layers = [
        NetworkLayer("a", "cast", ("fp32",), ("fp16",)),
        NetworkLayer("b", "cast", ("fp16",), ("fp32",)),
        NetworkLayer("c", "topk", (), ()),
    ]
    layers += [NetworkLayer("d", "cast", ("fp32",), ("fp16",)), NetworkLayer("e", "split", ("fp32",), ("fp32", "fp32"))]
    assert count_by_kind(layers) == {"cast": {"fp16": 2, "fp32": 1}, "topk": {"": 1}, "split": {"fp32": 1}}


# --- graphs that must be refused ---------------------------------------------------------------------------------------------

VALUE, F32, F16 = helper.make_tensor_value_info, TensorProto.FLOAT, TensorProto.FLOAT16
X, Y, Z = VALUE("x", F32, [1, 4]), VALUE("y", F32, [1, 8]), VALUE("y", F32, [1, 4])
WEIGHT = ("w", np.ones((8, 4), np.float32))


def node(op: str, reads: str, writes: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node by its operator and space-separated names of inputs and outputs."""
    return helper.make_node(op, reads.split(), writes.split(), name=f"the_{op}", **attributes)


def quantised_product(zero_point: np.generic) -> list[onnx.NodeProto]:
    return [node("QuantizeLinear", "x s z", "xq"), node("DequantizeLinear", "xq s z", "xd"), node("Gemm", "xd w", transB=1)]


REFUSED: dict[str, tuple[list[onnx.NodeProto], list[Any], list[Any], list[tuple[str, Any]], str]] = {
    "a zero point": (
        quantised_product(np.int8(3)),
        [X],
        [Y],
        [("s", np.float32(0.02)), ("z", np.int8(3)), WEIGHT],
        r"QuantizeLinear.*zero point",
    ),
    "unsigned activations": (
        quantised_product(np.uint8(128)),
        [X],
        [Y],
        [("s", np.float32(0.02)), ("z", np.uint8(128)), WEIGHT],
        r"QuantizeLinear.*zero point",
    ),
    "a quantised bias": (
        [node("DequantizeLinear", "b s", "bd"), node("Gemm", "x w bd", transB=1)],
        [X],
        [Y],
        [("b", np.zeros(8, np.int32)), ("s", np.float32(0.02)), WEIGHT],
        r"DequantizeLinear.*Int32",
    ),
    "two types in one sum": (
        [node("Add", "x h")],
        [X, VALUE("h", F16, [1, 4])],
        [Z],
        [],
        r"the_Add.*same input types",
    ),
    "bits": (
        [node("BitwiseAnd", "a b")],
        [VALUE("a", TensorProto.INT32, [4]), VALUE("b", TensorProto.INT32, [4])],
        [VALUE("y", TensorProto.INT32, [4])],
        [],
        r"the_BitwiseAnd \(BitwiseAnd\)",
    ),
    "a Fourier transform": (
        [node("Unsqueeze", "x a", "xu"), node("DFT", "xu ax")],
        [X],
        [VALUE("y", F32, [1, 4, 2])],
        [("a", np.array([2], np.int64)), ("ax", np.array(1, np.int64))],
        "DFT",
    ),
    "another vendor's operation": (
        [helper.make_node("QuickGelu", ["x"], ["y"], name="the_QuickGelu", domain="com.microsoft")],
        [X],
        [Z],
        [],
        r"the_QuickGelu \(QuickGelu\)",
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_a_graph_that_tensorrt_cannot_read_is_an_error_with_node_and_reason(case: str, trt: Any, tmp_path: Path) -> None:
    nodes, inputs, outputs, weights, message = REFUSED[case]
    initializers = [numpy_helper.from_array(np.asarray(w), name) for name, w in weights]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    path = tmp_path / "bad.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    trt_builder, logger = open_builder(trt)
    with pytest.raises(BuildError, match=rf"(?s)cannot read bad\.onnx: node .*{message}") as error:
        read_network(trt, trt_builder, logger, path)
    assert error.value.exit_code == 4 and error.value.run == "posemoe-edge export"


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "the inputs of .* are {}"), (b"no graph", "cannot read")], ids=["empty", "text"]
)
def test_a_file_that_is_no_graph_is_an_error(
    data: bytes, message: str, trt: Any, retention_artefact: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.onnx").write_bytes(data)
    with pytest.raises(ArtefactError, match=message):  # the parser reads an empty file as an empty graph
        build(trt, tmp_path / "bad.onnx", read_manifest(retention_artefact).graph(), streams=STREAMS, targets=TARGETS)


def test_a_graph_with_another_interface_than_its_record_is_refused(trt: Any, retention_artefact: Path) -> None:
    graph = read_manifest(retention_artefact).graph("fp32")
    other = graph.model_copy(update={"outputs": graph.outputs[:1]})
    with pytest.raises(ArtefactError, match=r"the outputs of step\.fp32\.onnx are .*next_state.*as the manifest says"):
        build(trt, retention_artefact / graph.file, other, streams=STREAMS, targets=TARGETS)


def test_a_graph_that_does_not_compile_is_an_error_with_the_compilers_message(trt: Any, tmp_path: Path) -> None:
    """TensorRT for RTX has no FP32 products for SM75: it reads the graph and returns no plan."""
    graph = helper.make_graph([node("Gemm", "x w", transB=1)], "g", [X], [Y], [numpy_helper.from_array(WEIGHT[1], "w")])
    path = tmp_path / "product.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    with pytest.raises(BuildError, match=r"did not compile product\.onnx: \S+"):
        build(trt, path, record_of(path), streams=(1, 1, 1), targets=("sm75",))


def record_of(path: Path) -> Graph:
    """The manifest's record of a float32 graph, with the fields that the builder reads."""
    from posemoe_edge.runtime.artefact.graph_parts import Tensor

    def tensors(values: Any) -> tuple[Tensor, ...]:
        shapes = {value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim) for value in values}
        return tuple(
            Tensor(name=name, dtype="float32", shape=("B", *shape[1:]), axes=(), meaning="") for name, shape in shapes.items()
        )

    proto = onnx.load(path).graph
    return Graph.model_construct(file=path.name, precision="fp32", inputs=tensors(proto.input), outputs=tensors(proto.output))


# --- arguments and progress --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [(0, 1, 1), (2, 1, 4), (1, 4, 2), (-1, -1, -1)])
def test_streams_that_are_not_min_opt_max_are_refused(streams: Any, trt: Any, retention_artefact: Path) -> None:
    graph = read_manifest(retention_artefact).graph("fp32")
    with pytest.raises(UsageError, match="min <= opt <= max"):
        build(trt, retention_artefact / graph.file, graph, streams=streams, targets=TARGETS)


def test_an_unknown_gpu_is_an_error_that_lists_the_known_ones(trt: Any, retention_artefact: Path) -> None:
    graph = read_manifest(retention_artefact).graph("fp32")
    with pytest.raises(UsageError, match=r"does not build for 'sm87'; expected some of .*sm86, sm89, sm120.*Jetson"):
        build(trt, retention_artefact / graph.file, graph, streams=STREAMS, targets=("sm86", "sm87"))


def test_progress_is_reported_and_the_librarys_log_is_forwarded(
    trt: Any, graph_of: GraphOf, caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[list[tuple[str, int, int]]] = []
    path, graph = graph_of("retention", "fp32")
    with caplog.at_level(logging.DEBUG, "posemoe_edge.runtime.engines.tensorrt.library"):
        build(trt, path, graph, streams=(1, 1, 1), targets=("sm86",), on_progress=lambda phases: reports.append(list(phases)))
    assert caplog.records
    steps = [phase for phases in reports for phase in phases]
    assert len({name for name, _, _ in steps}) > 2 and all(0 <= done <= total for _, done, total in steps)
    outermost = reports[0][0][0]
    completed = [done for name, done, _ in steps if name == outermost]
    assert completed == sorted(completed) and len(set(completed)) > 2, "the outermost phase advances"


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """interrupt(): sends Ctrl-C to the main thread while the library works in another."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore the signal
    main = threading.main_thread().ident
    assert main is not None
    yield lambda: signal.pthread_kill(main, signal.SIGINT)
    signal.signal(signal.SIGINT, previous)


def test_an_interrupted_build_leaves_nothing(
    trt: Any, copied_artefact: Path, xdg_cache: Path, interrupt: Callable[[], None]
) -> None:
    reports: list[Any] = []

    def on_progress(phases: Any) -> None:
        reports.append(phases)
        if len(reports) == 1:
            interrupt()

    manifest = read_manifest(copied_artefact)
    with pytest.raises(KeyboardInterrupt):
        make_rtx_plan(copied_artefact, trt, on_progress=on_progress, precision="fp32")
    assert reports and not (copied_artefact / "engines").exists() and not (xdg_cache / "posemoe-edge").exists()
    assert read_manifest(copied_artefact) == manifest


def test_a_second_interrupt_destroys_nothing_that_the_builder_uses(
    trt: Any, retention_artefact: Path, interrupt: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first interrupt cancels the build. Until the builder has stopped, the network and the parser must stay alive."""
    monitors, in_use, alive = list[Any](), list[Any](), list[bool]()

    def recorded_monitor(*args: Any) -> Any:
        monitors.append(progress_monitor(*args))
        return monitors[-1]

    def recorded_network(*args: Any, **options: Any) -> Any:
        network_and_parser = read_network(*args, **options)
        in_use.extend(map(weakref.ref, network_and_parser))
        return network_and_parser

    def on_progress(phases: Any) -> None:
        if alive:
            return
        interrupt()
        while not monitors[0].stop:
            time.sleep(0.01)
        interrupt()
        time.sleep(0.3)  # time for the main thread to leave, if it did not wait
        alive.append(all(reference() is not None for reference in in_use))

    monkeypatch.setattr(builder, "progress_monitor", recorded_monitor)
    monkeypatch.setattr(builder, "read_network", recorded_network)
    graph = read_manifest(retention_artefact).graph("fp32")
    with pytest.raises(KeyboardInterrupt):
        build(trt, retention_artefact / graph.file, graph, streams=(1, 1, 1), targets=("sm86",), on_progress=on_progress)
    assert alive == [True] and len(in_use) == 2


def test_garbage_collection_is_off_while_the_library_may_call_back(trt: Any, retention_artefact: Path) -> None:
    gc_enabled: list[bool] = []
    graph = read_manifest(retention_artefact).graph("fp32")

    def record_and_stop(phases: Any) -> None:
        gc_enabled.append(gc.isenabled())
        raise BrokenPipeError  # ends the build early

    assert gc.isenabled()
    with pytest.raises(BrokenPipeError):
        build(trt, retention_artefact / graph.file, graph, streams=(1, 1, 1), targets=("sm86",), on_progress=record_and_stop)
    assert gc_enabled and not any(gc_enabled) and gc.isenabled()


def test_garbage_collection_stays_off_until_the_last_pause_ends() -> None:
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(gc_paused())
        second.enter_context(gc_paused())
        first.close()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_of_the_progress_callback_is_raised_unchanged(trt: Any, retention_artefact: Path) -> None:
    def fail(phases: Any) -> None:
        raise BrokenPipeError("nobody reads")

    graph = read_manifest(retention_artefact).graph("fp32")
    with pytest.raises(BrokenPipeError, match="nobody reads"):
        build(trt, retention_artefact / graph.file, graph, streams=(1, 1, 1), targets=("sm86",), on_progress=fail)


def make_rtx_plan(folder: Path, trt: Any, *, precision: Precision = "fp16", **options: Any) -> tuple[Plan, float | None]:
    """``make_plan`` with TensorRT for RTX, unless the options say otherwise."""
    manifest = read_manifest(folder)
    arguments: dict[str, Any] = {"engine": "tensorrt-rtx", "capabilities": ("sm86",), "streams": (1, 1, 1)} | options
    return make_plan(folder, manifest, manifest.graph(precision), trt, **arguments)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of each compilation. The compiler is replaced: each call returns other bytes at once."""
    calls: list[dict[str, Any]] = []

    def compile_(trt: Any, path: Path, graph: Graph, **options: Any) -> bytes:
        calls.append(options | {"graph": graph.file})
        return f"plan {len(calls)}".encode()

    monkeypatch.setattr(builder, "build", compile_)
    return calls


def test_an_existing_plan_is_not_built_again(trt: Any, copied_artefact: Path, compiled: list[dict[str, Any]]) -> None:
    first, seconds = make_rtx_plan(copied_artefact, trt)
    assert seconds is not None and first.read() == b"plan 1"
    second, seconds = make_rtx_plan(copied_artefact, trt)
    assert seconds is None and second == first and len(compiled) == 1
    forced, _ = make_rtx_plan(copied_artefact, trt, force=True)
    assert forced.read() == b"plan 2" and forced.path == first.path


@pytest.mark.parametrize(
    "changes",
    [{"streams": (1, 1, 2)}, {"capabilities": ("sm89",)}, {"workspace_mb": 64}, {"precision": "fp32"}],
    ids=["streams", "GPU", "workspace", "graph"],
)
def test_another_key_builds_another_plan(
    changes: dict[str, Any], trt: Any, copied_artefact: Path, compiled: list[dict[str, Any]]
) -> None:
    make_rtx_plan(copied_artefact, trt)
    plan, seconds = make_rtx_plan(copied_artefact, trt, **changes)
    assert seconds is not None and plan.read() == b"plan 2"


def test_a_broken_plan_is_built_again(trt: Any, copied_artefact: Path, compiled: list[dict[str, Any]]) -> None:
    broken, _ = make_rtx_plan(copied_artefact, trt)
    broken.path.write_bytes(b"plan")
    rebuilt, seconds = make_rtx_plan(copied_artefact, trt)
    assert seconds is not None and rebuilt.read() == b"plan 2"
    rebuilt.path.with_suffix(".json").write_text("{")
    assert make_rtx_plan(copied_artefact, trt)[0].read() == b"plan 3"


def test_a_changed_graph_is_not_built(trt: Any, copied_artefact: Path, compiled: list[dict[str, Any]]) -> None:
    with (copied_artefact / "step.fp16.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtefactError, match="bytes; expected"):
        make_rtx_plan(copied_artefact, trt)
    assert not compiled


def test_only_standard_tensorrt_has_a_timing_cache(
    trt: Any, copied_artefact: Path, compiled: list[dict[str, Any]], xdg_cache: Path
) -> None:
    make_rtx_plan(copied_artefact, trt)
    make_rtx_plan(copied_artefact, trt, engine="tensorrt", capabilities=("sm87",))
    assert [(call["targets"], call["timing"] is None) for call in compiled] == [(("sm86",), True), ((), False)]
    assert compiled[1]["timing"].is_relative_to(xdg_cache) and "sm87" in compiled[1]["timing"].name


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorRT for RTX has these calls without an effect
@pytest.mark.parametrize("old", [None, b"", b"of another version"], ids=["none", "empty", "garbage"])
def test_the_timing_cache_is_written_and_an_invalid_one_is_ignored(old: bytes | None, trt: Any, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "timing.cache"
    if old is not None:
        path.parent.mkdir()
        path.write_bytes(old)
    trt_builder, _logger = open_builder(trt)
    config = trt_builder.create_builder_config()
    load_timing_cache(config, path)
    save_timing_cache(config, path)
    assert path.stat().st_size > 0 and path.read_bytes() != old
    assert [file.name for file in path.parent.iterdir()] == ["timing.cache"]


def test_a_timing_cache_that_cannot_be_written_is_no_error(trt: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    class Config:
        def get_timing_cache(self) -> Any:
            raise AssertionError("read although its folder cannot be created")

    save_timing_cache(Config(), tmp_path / "file" / "timing.cache")
    assert (tmp_path / "file").read_text() == "in the way" and len(list(tmp_path.iterdir())) == 1


def test_a_library_without_a_driver_is_a_clear_error() -> None:
    class Logger:
        """The base class of our logger."""

    class Trt:
        """A TensorRT module that finds no driver."""

        __version__ = "10.3.0"
        ILogger = Logger

        @staticmethod
        def Builder(logger: Any) -> None:
            raise TypeError("pybind11::init(): factory function returned nullptr")

    with pytest.raises(MissingError, match=r"10\.3\.0 is installed and finds no GPU .* --engine tensorrt-rtx"):
        open_builder(Trt)


def test_a_missing_package_is_an_error_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    engines: tuple[tuple[str, EngineName], ...] = (("tensorrt", "tensorrt"), ("tensorrt_rtx", "tensorrt-rtx"))
    for module, name in engines:
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingError, match=rf'not installed; run: pip install "posemoe-edge\[{name}\]"'):
            import_tensorrt(name)


def test_an_old_tensorrt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("tensorrt")
    vars(old)["__version__"] = "8.6.2"
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    with pytest.raises(MissingError, match=r"TensorRT 8\.6\.2 is too old; expected 10\.3 or newer"):
        import_tensorrt("tensorrt")
