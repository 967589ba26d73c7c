"""The builder, with a real NVIDIA parser and a real compiler: TensorRT for RTX, which needs no GPU for either.

A graph that becomes a plan here is read and compiled by this generation of TensorRT. That says nothing of TensorRT 10.3's
kernels, nor of speed.
"""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
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
from posemoe_edge.runtime.engines.tensorrt.timing_cache import load_timing_cache, save_timing_cache

Make = Callable[..., Any]

# Every mixer in both precisions, INT8, chunks and windows, each with a free number of streams. A further precision is one more
# line: ``graph_of`` takes it of the artefact if it is there.
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
# Compiling these would tell nothing that those do not.
READ_ONLY: tuple[tuple[str, Precision], ...] = (("gated-chunk", "fp32"), ("retention", "int8w"))
COMPUTED = {"fp32": "fp32", "fp16": "fp16", "int8": "fp16", "int8w": "fp32"}  # what a layer's codes are turned back into
STREAMS = (1, 2, 4)
TARGETS = ("sm86", "sm89", "sm120")
each_graph = pytest.mark.parametrize(("kind", "precision"), (*GRAPHS, *READ_ONLY))

pytestmark = pytest.mark.usefixtures("xdg_cache")


@pytest.fixture(scope="session")
def trt() -> Any:
    pytest.importorskip("tensorrt_rtx", reason="it exists for x86-64 alone")
    return import_tensorrt("tensorrt-rtx")


@pytest.fixture(scope="session")
def graph_of(
    artefact_of: Callable[[str], Path],
    calibrated_artefact: Path,
    build_once: Callable[..., Path],
    tiny_lifter: Callable[[str], Any],
) -> Callable[[str, Precision], tuple[Path, Graph]]:
    """graph_of("dssm", "fp16"): a tiny graph's file and record; of a shared artefact if it is there, else made once."""

    def made(kind: str, precision: Precision) -> tuple[Path, Graph]:
        from posemoe_edge.export.passes import PASSES, run_passes
        from posemoe_edge.export.precision import to_fp16
        from posemoe_edge.export.trace import trace

        folder = calibrated_artefact if kind == "retention" else artefact_of(kind)
        manifest = read_manifest(folder)
        graph = next((graph for graph in manifest.graphs if graph.precision == precision), None)
        if graph:
            return folder / graph.file, graph
        assert precision == "fp16", "the only other one that export makes without calibration"
        wide = manifest.graph("fp32")
        graph = wide.model_copy(update={"precision": precision, "file": wide.file.replace("fp32", precision)})
        chunk = graph.frames if graph.mode == "chunk" else None
        name = f"{kind}.{graph.file}"

        def export_half(path: Path) -> None:
            model, _ = run_passes(trace(to_fp16(tiny_lifter(kind)), chunk), PASSES)
            onnx.save(model, path)

        return build_once(name, export_half), graph

    return made


# --- graphs that must be read and compiled -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "precision"), GRAPHS)
def test_every_graph_becomes_a_plan(kind: str, precision: Precision, trt: Any, graph_of: Make) -> None:
    path, graph = graph_of(kind, precision)
    plan = build(trt, path, graph, streams=STREAMS, targets=TARGETS)
    weights = sum(numpy_helper.to_array(weight).nbytes for weight in onnx.load(path).graph.initializer)
    assert len(plan) > weights  # they are in it, and the kernels


def test_the_shipped_graph_becomes_a_plan(trt: Any) -> None:
    folder = find_artefact()
    graph = read_manifest(folder).graph("fp16")
    plan = build(trt, folder / graph.file, graph, streams=(1, 1, 8), targets=TARGETS)
    assert len(plan) > (folder / graph.file).stat().st_size / 2


@each_graph
def test_what_adds_up_is_wide_and_linear_layers_are_as_narrow_as_the_graph(
    kind: str, precision: Precision, trt: Any, graph_of: Make, tiny_lifter: Callable[[str], Any]
) -> None:
    """Norms, softmax, sums and decay are fp32 in every precision. Linear layers are not, unless a module has ``keep_fp32``."""
    from torch import nn

    path, _ = graph_of(kind, precision)
    layers = read_layers(trt, path)
    adding = [layer for layer in layers if layer.kind in ("normalization", "softmax", "reduce", "select", "unary")]
    assert {kind for layer in adding for kind in {"fp32", "fp16"} & {*layer.reads, *layer.writes}} == {"fp32"}
    assert {"normalization", "softmax"} <= {layer.kind for layer in adding}

    modules = dict(tiny_lifter(kind).named_modules())
    kept_fp32 = [name for name, module in modules.items() if getattr(module, "keep_fp32", False)]
    products: dict[str, set[str]] = {}
    for layer in layers:
        scope = layer.name.rpartition("/")[0]  # nodes are named after the module that they come from
        if layer.kind == "matrix_multiply" and isinstance(modules.get(scope), nn.Linear):
            products.setdefault(scope, set()).update(layer.reads, layer.writes)
    assert len(products) > 4
    for name, types in products.items():
        wide = any(f"{name}.".startswith(f"{module}.") for module in kept_fp32)
        assert types == {"fp32" if wide else COMPUTED[precision]}, name


@each_graph
def test_codes_are_where_calibration_put_them_and_nowhere_else(
    kind: str, precision: Precision, trt: Any, graph_of: Make
) -> None:
    path, _ = graph_of(kind, precision)
    kinds = count_by_kind(read_layers(trt, path))
    assert set(kinds.get("quantize", {})) == ({"int8"} if precision == "int8" else set())
    assert set(kinds.get("dequantize", {})) == ({COMPUTED[precision]} if precision in ("int8", "int8w") else set())


@pytest.mark.parametrize(
    ("kind", "precision"), [graph for graph in (*GRAPHS, *READ_ONLY) if graph[0] not in ("attention", "centre")]
)
def test_the_state_is_carried_without_ever_being_rounded(kind: str, precision: Precision, trt: Any, graph_of: Make) -> None:
    """From each new state there is a way back to the old one, and to the decay by ``dt``, through no cast and no product."""
    path, graph = graph_of(kind, precision)
    opened, logger = open_builder(trt)
    network, parser = read_network(trt, opened, logger, path)
    made_by = {}
    for layer in map(network.get_layer, range(network.num_layers)):
        for tensor in map(layer.get_output, range(layer.num_outputs)):
            made_by[tensor.name] = layer
    outputs = {tensor.name: tensor for tensor in map(network.get_output, range(network.num_outputs))}
    for state in graph.states:
        seen, waiting = set(), [outputs[state.output]]
        while waiting:
            tensor = waiting.pop()
            layer = made_by.get(tensor.name)
            if tensor.name in seen or (layer and layer.type.name in ("CAST", "MATRIX_MULTIPLY", "SHAPE")):
                continue
            seen.add(tensor.name)
            assert tensor.dtype.name != "HALF", tensor.name
            if layer:
                waiting += [x for x in map(layer.get_input, range(layer.num_inputs)) if x is not None]
        assert {state.input, "dt"} <= seen
    del parser


def test_layers_are_counted_by_what_they_are_and_write() -> None:
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
    return helper.make_node(op, reads.split(), writes.split(), name=f"the_{op}", **attributes)


def quantised(zero: np.generic) -> list[onnx.NodeProto]:
    return [node("QuantizeLinear", "x s z", "xq"), node("DequantizeLinear", "xq s z", "xd"), node("Gemm", "xd w", transB=1)]


REFUSED: dict[str, tuple[list[onnx.NodeProto], list[Any], list[Any], list[tuple[str, Any]], str]] = {
    "a zero point": (
        quantised(np.int8(3)),
        [X],
        [Y],
        [("s", np.float32(0.02)), ("z", np.int8(3)), WEIGHT],
        r"QuantizeLinear.*zero point",
    ),
    "unsigned activations": (
        quantised(np.uint8(128)),
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
        [node("Unsqueeze", "x a", "xu"), node("DFT", "xu  ax".replace("  ", " "))],
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


@pytest.mark.parametrize("what", list(REFUSED))
def test_a_graph_that_tensorrt_cannot_read_names_the_node_and_why(what: str, trt: Any, tmp_path: Path) -> None:
    nodes, reads, writes, weights, said = REFUSED[what]
    made = helper.make_graph(nodes, "g", reads, writes, [numpy_helper.from_array(np.asarray(w), name) for name, w in weights])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    path = tmp_path / "bad.onnx"
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=10), path)
    opened, logger = open_builder(trt)
    with pytest.raises(BuildError, match=rf"(?s)cannot read bad\.onnx: node .*{said}") as caught:
        read_network(trt, opened, logger, path)
    assert caught.value.exit_code == 4 and caught.value.run == "posemoe-edge export"


@pytest.mark.parametrize(
    ("data", "said"), [(b"", "the inputs of .* are {}"), (b"no graph", "cannot read")], ids=["empty", "text"]
)
def test_a_file_that_is_no_graph_is_told(data: bytes, said: str, trt: Any, retention_artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(data)
    with pytest.raises(ArtefactError, match=said):  # to the parser, an empty file is an empty graph
        build(trt, tmp_path / "bad.onnx", read_manifest(retention_artefact).graph(), streams=STREAMS, targets=TARGETS)


def test_a_graph_with_another_interface_than_its_record_is_refused(trt: Any, retention_artefact: Path) -> None:
    graph = read_manifest(retention_artefact).graph("fp32")
    other = graph.model_copy(update={"outputs": graph.outputs[:1]})
    with pytest.raises(ArtefactError, match=r"the outputs of step\.fp32\.onnx are .*next_state.*as the manifest says"):
        build(trt, retention_artefact / graph.file, other, streams=STREAMS, targets=TARGETS)


def test_what_the_compiler_says_is_told_when_it_gives_up(trt: Any, tmp_path: Path) -> None:
    """SM75 has no FP32 products in TensorRT for RTX: the graph is read, and no plan comes back."""
    made = helper.make_graph([node("Gemm", "x w", transB=1)], "g", [X], [Y], [numpy_helper.from_array(WEIGHT[1], "w")])
    path = tmp_path / "product.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    with pytest.raises(BuildError, match=r"did not compile product\.onnx: \S+"):
        build(trt, path, like(path), streams=(1, 1, 1), targets=("sm75",))


def like(path: Path) -> Graph:
    """The record of a graph of floats, as far as the builder reads it."""
    from posemoe_edge.runtime.artefact.manifest import Tensor

    def told(values: Any) -> tuple[Tensor, ...]:
        shapes = {value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim) for value in values}
        return tuple(
            Tensor(name=name, dtype="float32", shape=("B", *shape[1:]), axes=(), meaning="") for name, shape in shapes.items()
        )

    proto = onnx.load(path).graph
    return Graph.model_construct(file=path.name, precision="fp32", inputs=told(proto.input), outputs=told(proto.output))


# --- what a user asks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [(0, 1, 1), (2, 1, 4), (1, 4, 2), (-1, -1, -1)])
def test_streams_that_do_not_grow_are_refused(streams: Any, trt: Any, retention_artefact: Path) -> None:
    graph = read_manifest(retention_artefact).graph("fp32")
    with pytest.raises(UsageError, match="min <= opt <= max"):
        build(trt, retention_artefact / graph.file, graph, streams=streams, targets=TARGETS)


def test_an_unknown_gpu_is_answered_with_those_that_are_known(trt: Any, retention_artefact: Path) -> None:
    graph = read_manifest(retention_artefact).graph("fp32")
    with pytest.raises(UsageError, match=r"does not build for 'sm87'; expected some of .*sm86, sm89, sm120.*Jetson"):
        build(trt, retention_artefact / graph.file, graph, streams=STREAMS, targets=("sm86", "sm87"))


def test_progress_is_told_and_the_logger_hears_the_library(trt: Any, graph_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[list[tuple[str, int, int]]] = []
    path, graph = graph_of("retention", "fp32")
    with caplog.at_level(logging.DEBUG, "posemoe_edge.runtime.engines.tensorrt.library"):
        build(trt, path, graph, streams=(1, 1, 1), targets=("sm86",), on_progress=lambda phases: seen.append(list(phases)))
    assert caplog.records
    steps = [phase for phases in seen for phase in phases]
    assert len({name for name, _, _ in steps}) > 2 and all(0 <= done <= total for _, done, total in steps)
    whole = seen[0][0][0]
    done = [done for name, done, _ in steps if name == whole]
    assert done == sorted(done) and len(set(done)) > 2, "the outermost phase moves on"


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """Ctrl-C while the library is at work in another thread."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    main = threading.main_thread().ident
    assert main is not None
    yield lambda: signal.pthread_kill(main, signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_build_leaves_nothing(
    trt: Any, copied_artefact: Path, xdg_cache: Path, interrupt: Callable[[], None]
) -> None:
    seen: list[Any] = []

    def on_progress(phases: Any) -> None:
        seen.append(phases)
        if len(seen) == 1:
            interrupt()

    manifest = read_manifest(copied_artefact)
    with pytest.raises(KeyboardInterrupt):
        plan(copied_artefact, trt, on_progress=on_progress, precision="fp32")
    assert seen and not (copied_artefact / "engines").exists() and not xdg_cache.exists()
    assert read_manifest(copied_artefact) == manifest


def test_a_second_interrupt_destroys_nothing_under_the_builder(
    trt: Any, retention_artefact: Path, interrupt: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first asks the builder to stop; until it has, it works on what must be there, whatever comes."""
    monitors, works_on, alive = list[Any](), list[Any](), list[bool]()
    monitor_of, read = builder.progress_monitor, builder.read_network

    def kept_monitor(*given: Any) -> Any:
        monitors.append(monitor_of(*given))
        return monitors[-1]

    def watched_network(*given: Any) -> Any:
        made = read(*given)
        works_on.extend(map(weakref.ref, made))
        return made

    def on_progress(phases: Any) -> None:
        if alive:
            return
        interrupt()
        while not monitors[0].stop:
            time.sleep(0.01)
        interrupt()
        time.sleep(0.3)  # for whoever would not wait to leave
        alive.append(all(each() is not None for each in works_on))

    monkeypatch.setattr(builder, "progress_monitor", kept_monitor)
    monkeypatch.setattr(builder, "read_network", watched_network)
    graph = read_manifest(retention_artefact).graph("fp32")
    with pytest.raises(KeyboardInterrupt):
        build(trt, retention_artefact / graph.file, graph, streams=(1, 1, 1), targets=("sm86",), on_progress=on_progress)
    assert alive == [True] and len(works_on) == 2


def test_python_collects_no_garbage_while_the_library_may_call_back(trt: Any, retention_artefact: Path) -> None:
    collecting: list[bool] = []
    graph = read_manifest(retention_artefact).graph("fp32")

    def stopping(phases: Any) -> None:
        collecting.append(gc.isenabled())
        raise BrokenPipeError  # it has said enough

    assert gc.isenabled()
    with pytest.raises(BrokenPipeError):
        build(trt, retention_artefact / graph.file, graph, streams=(1, 1, 1), targets=("sm86",), on_progress=stopping)
    assert collecting and not any(collecting) and gc.isenabled()


def test_the_collector_rests_until_the_last_of_several_threads_is_out() -> None:
    one, other = gc_paused(), gc_paused()
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(one)
        second.enter_context(other)
        first.close()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_goes_wrong_while_watching_comes_out_whole(trt: Any, retention_artefact: Path) -> None:
    def broken(phases: Any) -> None:
        raise BrokenPipeError("nobody reads")

    graph = read_manifest(retention_artefact).graph("fp32")
    with pytest.raises(BrokenPipeError, match="nobody reads"):
        build(trt, retention_artefact / graph.file, graph, streams=(1, 1, 1), targets=("sm86",), on_progress=broken)


def plan(folder: Path, trt: Any, *, precision: Precision = "fp16", **options: Any) -> Any:
    manifest = read_manifest(folder)
    given = {"engine": "tensorrt-rtx", "capabilities": ("sm86",), "streams": (1, 1, 1)} | options
    return make_plan(folder, manifest, manifest.graph(precision), trt, **given)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was compiled: each call makes a plan of its own, in no time."""
    calls: list[dict[str, Any]] = []

    def compile_(trt: Any, path: Path, graph: Graph, **options: Any) -> bytes:
        calls.append(options | {"graph": graph.file})
        return f"plan {len(calls)}".encode()

    monkeypatch.setattr(builder, "build", compile_)
    return calls


def test_a_plan_that_is_there_is_not_built_again(trt: Any, copied_artefact: Path, compiled: list[dict[str, Any]]) -> None:
    first, seconds = plan(copied_artefact, trt)
    assert seconds is not None and first.read() == b"plan 1"
    again, nothing = plan(copied_artefact, trt)
    assert nothing is None and again == first and len(compiled) == 1
    forced, _ = plan(copied_artefact, trt, force=True)
    assert forced.read() == b"plan 2" and forced.path == first.path


@pytest.mark.parametrize(
    "other",
    [{"streams": (1, 1, 2)}, {"capabilities": ("sm89",)}, {"workspace_mb": 64}, {"precision": "fp32"}],
    ids=["streams", "GPU", "workspace", "graph"],
)
def test_another_key_is_another_plan(
    other: dict[str, Any], trt: Any, copied_artefact: Path, compiled: list[dict[str, Any]]
) -> None:
    plan(copied_artefact, trt)
    made, seconds = plan(copied_artefact, trt, **other)
    assert seconds is not None and made.read() == b"plan 2"


def test_a_broken_plan_is_built_again(trt: Any, copied_artefact: Path, compiled: list[dict[str, Any]]) -> None:
    made, _ = plan(copied_artefact, trt)
    made.path.write_bytes(b"plan")
    mended, seconds = plan(copied_artefact, trt)
    assert seconds is not None and mended.read() == b"plan 2"
    mended.path.with_suffix(".json").write_text("{")
    assert plan(copied_artefact, trt)[0].read() == b"plan 3"


def test_a_changed_graph_is_not_built(trt: Any, copied_artefact: Path, compiled: list[dict[str, Any]]) -> None:
    with (copied_artefact / "step.fp16.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtefactError, match="bytes; expected"):
        plan(copied_artefact, trt)
    assert not compiled


def test_only_standard_tensorrt_keeps_what_it_timed(
    trt: Any, copied_artefact: Path, compiled: list[dict[str, Any]], xdg_cache: Path
) -> None:
    plan(copied_artefact, trt)
    plan(copied_artefact, trt, engine="tensorrt", capabilities=("sm87",))
    assert [(call["targets"], call["timing"] is None) for call in compiled] == [(("sm86",), True), ((), False)]
    assert compiled[1]["timing"].is_relative_to(xdg_cache) and "sm87" in compiled[1]["timing"].name


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorRT for RTX has the calls, and does nothing with them
@pytest.mark.parametrize("before", [None, b"", b"of another version"], ids=["none", "empty", "garbage"])
def test_the_timing_cache_is_kept_and_a_bad_one_is_no_obstacle(before: bytes | None, trt: Any, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "timing.cache"
    if before is not None:
        path.parent.mkdir()
        path.write_bytes(before)
    opened, _logger = open_builder(trt)
    config = opened.create_builder_config()
    load_timing_cache(config, path)
    save_timing_cache(config, path)
    assert path.stat().st_size > 0 and path.read_bytes() != before
    assert [file.name for file in path.parent.iterdir()] == ["timing.cache"]


def test_a_timing_cache_that_cannot_be_written_is_no_error(trt: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    class Config:
        def get_timing_cache(self) -> Any:
            raise AssertionError("not asked: there is no place for it")

    save_timing_cache(Config(), tmp_path / "file" / "timing.cache")


def test_a_library_without_a_driver_is_told_as_such() -> None:
    class Trt:
        __version__ = "10.3.0"
        ILogger = object

        @staticmethod
        def Builder(logger: Any) -> None:
            raise TypeError("pybind11::init(): factory function returned nullptr")

    Trt.ILogger = type("ILogger", (), {"__init__": lambda self: None})  # type: ignore[misc]
    with pytest.raises(MissingError, match=r"10\.3\.0 is installed and finds no GPU .* --engine tensorrt-rtx"):
        open_builder(Trt)


def test_without_the_package_the_command_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module, name in (("tensorrt", "tensorrt"), ("tensorrt_rtx", "tensorrt-rtx")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingError, match=rf'not installed; run: pip install "posemoe-edge\[{name}\]"'):
            import_tensorrt(name)  # type: ignore[arg-type]


def test_an_old_tensorrt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import ModuleType

    old = ModuleType("tensorrt")
    old.__version__ = "8.6.2"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    with pytest.raises(MissingError, match=r"TensorRT 8\.6\.2 is too old; expected 10\.3 or newer"):
        import_tensorrt("tensorrt")
