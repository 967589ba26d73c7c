"""Exported graphs: as the manifest describes them, as TensorRT reads them, and computing what PyTorch computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from posemoe_edge.edge.models.dssm import DSSM
from posemoe_edge.export.passes import FORBIDDEN_OPS, check_contract
from posemoe_edge.export.trace import interface, trace
from posemoe_edge.runtime import ArtefactError, UsageError
from posemoe_edge.runtime.artefact.manifest import Graph, parse_manifest, read_manifest

REL = 1e-4  # fp32: the engine may order the same operations differently
CHUNKED = ("retention-chunk", "lookahead-chunk", "gated-chunk")
GRAPHS = [
    ("retention", "fp32"),
    ("retention", "fp16"),
    ("dssm", "fp32"),
    ("attention", "fp32"),
    ("centre", "fp32"),
    ("3dhp", "fp32"),
    *((kind, "fp32") for kind in CHUNKED),
]
MODES = {"attention": ("window", 9), "centre": ("window", 9)} | {kind: ("chunk", 4) for kind in CHUNKED}
each_graph = pytest.mark.parametrize(("mixer", "precision"), GRAPHS)
Find = Callable[[str], Path]


def opened(folder: Path, precision: str) -> tuple[Graph, onnx.ModelProto]:
    graph = read_manifest(folder).graph(precision)  # type: ignore[arg-type]
    return graph, onnx.load(folder / graph.file)


def types_of(proto: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor in the graph."""
    graph = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    return types | {weight.name: weight.data_type for weight in graph.initializer}


def signature(values: Any) -> list[tuple[str, str, tuple[Any, ...]]]:
    names = {TensorProto.FLOAT: "float32", TensorProto.BOOL: "bool"}
    return [
        (
            v.name,
            names[v.type.tensor_type.elem_type],
            tuple(dim.dim_param or dim.dim_value for dim in v.type.tensor_type.shape.dim),
        )
        for v in values
    ]


@each_graph
def test_a_graph_has_the_inputs_and_outputs_of_its_manifest(mixer: str, precision: str, artefact_of: Find) -> None:
    graph, proto = opened(artefact_of(mixer), precision)
    assert signature(proto.graph.input) == [(t.name, t.dtype, t.shape) for t in graph.inputs]
    assert signature(proto.graph.output) == [(t.name, t.dtype, t.shape) for t in graph.outputs]
    shapes = {t.name: t.shape for t in (*graph.inputs, *graph.outputs)}
    assert all(shape[0] == "B" and "B" not in shape[1:] for shape in shapes.values())
    for state in graph.states:
        assert shapes[state.input] == shapes[state.output] == state.shape and state.dtype == "float32"
    assert (graph.mode, graph.frames) == MODES.get(mixer, ("step", 1))
    assert len(graph.states) == (0 if graph.mode == "window" else 1)
    assert graph.file == f"{graph.mode}{'' if graph.mode == 'step' else graph.frames}.{precision}.onnx"
    assert shapes["pose"] == ("B", 1, 17, 3) if mixer == "centre" else (*shapes["keypoints"][:-1], 3) == shapes["pose"]
    if graph.mode == "chunk":
        assert shapes["dt"] == ("B", 4) and shapes["reset"] == ("B",)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("retention", ("step", 0, "h36m17", ["step.fp32.onnx", "step.fp16.onnx"])),
        ("lookahead-chunk", ("chunk", 3, "h36m17", ["chunk4.fp32.onnx"])),
        ("centre", ("window", 4, "h36m17", ["window9.fp32.onnx"])),
        ("3dhp", ("step", 0, "3dhp17", ["step.fp32.onnx"])),
    ],
)
def test_a_manifest_has_mode_and_latency(kind: str, expected: tuple[Any, ...], artefact_of: Callable[[str], Path]) -> None:
    manifest = read_manifest(artefact_of(kind))
    assert (manifest.mode, manifest.latency_frames, manifest.skeleton, [g.file for g in manifest.graphs]) == expected
    assert {graph.mode for graph in manifest.graphs} == {manifest.mode}


@each_graph
def test_a_graph_is_valid_and_uses_plain_operations(mixer: str, precision: str, artefact_of: Find) -> None:
    graph, proto = opened(artefact_of(mixer), precision)
    onnx.checker.check_model(proto, full_check=True)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 20)] and graph.opset == 20
    used = {node.op_type for node in proto.graph.node}
    assert not used & FORBIDDEN_OPS and not proto.functions
    assert {node.domain for node in proto.graph.node} <= {"", "ai.onnx"}
    assert not any(attribute.HasField("g") for node in proto.graph.node for attribute in node.attribute)
    assert all(w.data_location == TensorProto.DEFAULT for w in proto.graph.initializer)  # the file holds all weights
    assert {t for t in types_of(proto).values()} <= {
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.BOOL,
        TensorProto.INT64,
    }


@each_graph
def test_a_graph_does_not_name_files_of_the_exporting_machine(mixer: str, precision: str, artefact_of: Find) -> None:
    graph, proto = opened(artefact_of(mixer), precision)
    assert [entry.key for entry in proto.metadata_props] == ["posemoe.manifest"]
    raw = (artefact_of(mixer) / graph.file).read_bytes()
    assert b"/site-packages/" not in raw and b"/home/" not in raw and b".py" not in raw


@each_graph
def test_a_graph_carries_its_manifest(mixer: str, precision: str, artefact_of: Find) -> None:
    folder = artefact_of(mixer)
    graph, proto = opened(folder, precision)
    inside = parse_manifest(proto.metadata_props[0].value, "inside")
    assert inside == read_manifest(folder).model_copy(update={"graphs": (graph,), "files": {}})


def test_the_weights_of_an_fp16_graph_are_fp16(retention_artefact: Path) -> None:
    _, proto = opened(retention_artefact, "fp16")
    weights = {w.name: w for w in proto.graph.initializer if len(w.dims) == 2}
    multiplied = {name for node in proto.graph.node if node.op_type in ("MatMul", "Gemm") for name in node.input} & set(weights)
    border = {
        name for name in multiplied if min(weights[name].dims) <= 3
    }  # the first layers, in one product, and the two heads
    assert len(multiplied - border) > 40 and len(border) == 3
    assert {weights[name].data_type for name in multiplied - border} == {TensorProto.FLOAT16}
    assert {weights[name].data_type for name in border} == {TensorProto.FLOAT}
    size = {
        kind: sum(numpy_helper.to_array(w).size for w in proto.graph.initializer if w.data_type == kind) for kind in (1, 10)
    }
    assert size[TensorProto.FLOAT16] > 20 * size[TensorProto.FLOAT]


def test_norms_softmax_and_state_of_an_fp16_graph_are_fp32(retention_artefact: Path) -> None:
    graph, proto = opened(retention_artefact, "fp16")
    types, makers = types_of(proto), {name: node for node in proto.graph.node for name in node.output}
    fp32_ops = {"LayerNormalization", "Softmax", "Exp", "Sin", "Cos", "ReduceSum", "Where"}
    seen = set()
    for node in proto.graph.node:
        if node.op_type in fp32_ops:
            seen.add(node.op_type)
            halves = [name for name in (*node.input, *node.output) if types.get(name) == TensorProto.FLOAT16]
            assert not halves, f"{node.op_type} {node.name}"
    assert seen == fp32_ops

    def fp32_ancestors(name: str) -> set[str]:
        """The operations between a tensor and the casts, inputs and weights that it is computed from, all of them float32."""
        assert types[name] != TensorProto.FLOAT16, name
        node = makers.get(name)
        if node is None or node.op_type == "Cast":
            return set()
        return {node.op_type}.union(*(fp32_ancestors(source) for source in node.input if source))

    assert fp32_ancestors("next_state") >= {"Where", "Exp", "Mul", "Add", "Sub"}  # decay, rotation, accumulation
    assert {t.dtype for t in (*graph.inputs, *graph.outputs)} == {"float32", "bool"}


def test_an_fp32_graph_has_no_fp16_tensor(artefact_of: Find) -> None:
    for mixer in ("retention", "dssm", "attention"):
        _, proto = opened(artefact_of(mixer), "fp32")
        assert TensorProto.FLOAT16 not in types_of(proto).values()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("mixer", ["retention", "dssm"])
def test_the_step_graph_computes_the_models_step(
    mixer: str, batch: int, artefact_of: Find, tiny_lifter: Callable[[str], Any]
) -> None:
    model, rng = tiny_lifter(mixer), np.random.default_rng(batch)
    session = onnxruntime.InferenceSession(artefact_of(mixer) / "step.fp32.onnx", providers=["CPUExecutionProvider"])
    state = model.initial_state(batch)
    carried = state.numpy()
    resets = 0
    for _ in range(50):
        x = rng.uniform(-1, 1, (batch, 17, 3)).astype(np.float32)
        dt = rng.choice([0.008, 0.02, 0.04, 0.5], batch).astype(np.float32)
        reset = rng.random(batch) < 0.1
        resets += int(reset.sum())
        with torch.no_grad():
            y, state = model.step(*map(torch.from_numpy, (x,)), state, torch.from_numpy(dt), torch.from_numpy(reset))
        pose, carried = session.run(None, {"keypoints": x, "state": carried, "dt": dt, "reset": reset})
        for ours, theirs in ((pose, y.numpy()), (carried, state.numpy())):
            assert np.abs(ours - theirs).max() <= REL * np.abs(theirs).max()
    assert resets


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", CHUNKED)
def test_the_chunk_graph_computes_the_models_chunk(
    kind: str, batch: int, artefact_of: Find, tiny_lifter: Callable[[str], Any]
) -> None:
    model, rng = tiny_lifter(kind), np.random.default_rng(batch)
    session = onnxruntime.InferenceSession(artefact_of(kind) / "chunk4.fp32.onnx", providers=["CPUExecutionProvider"])
    state = model.initial_state(batch)
    carried = state.numpy()
    resets = 0
    for _ in range(12):
        x = rng.uniform(-1, 1, (batch, 4, 17, 3)).astype(np.float32)
        dt = rng.choice([0.008, 0.02, 0.04, 0.5], (batch, 4)).astype(np.float32)
        reset = rng.random(batch) < 0.3
        resets += int(reset.sum())
        before_first = torch.from_numpy(reset[:, None] & (np.arange(4) == 0))  # the network's own, before any frame
        with torch.no_grad():
            y, state = model.chunk(torch.from_numpy(x), state, torch.from_numpy(dt), before_first)
        pose, carried = session.run(None, {"keypoints": x, "state": carried, "dt": dt, "reset": reset})
        for ours, theirs in ((pose, y.numpy()), (carried, state.numpy())):
            assert np.abs(ours - theirs).max() <= REL * np.abs(theirs).max()
    assert resets


@pytest.mark.parametrize(("kind", "chunk"), [("attention", 4), ("centre", 4), ("retention", 1), ("retention", 0)])
def test_chunks_are_refused_where_there_is_no_state_or_no_chunk(
    kind: str, chunk: int, tiny_lifter: Callable[[str], Any]
) -> None:
    for make in (trace, interface):
        with pytest.raises(UsageError, match=f"chunks of {chunk} frames .*; expected at least 2 frames"):
            make(tiny_lifter(kind), chunk)


def test_a_mixer_names_the_axes_of_its_state(tiny_lifter: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("retention", "dssm"):
        states = interface(tiny_lifter(kind))[2]
        assert states[0].axes[:2] == ("stream", "memory") and len(states[0].axes) == len(states[0].shape)
    monkeypatch.setattr(DSSM, "state_axes", ("joint", "channel"))
    with pytest.raises(UsageError, match=r"dssm names 2 of the 3 axes of its state; expected Mixer\.state_axes"):
        interface(tiny_lifter("dssm"))


@pytest.mark.parametrize("mixer", ["retention", "dssm", "lookahead-chunk", "gated-chunk"])
def test_a_reset_clears_the_state_inside_the_graph_whatever_it_holds(mixer: str, artefact_of: Find) -> None:
    graph, _ = opened(artefact_of(mixer), "fp32")
    session = onnxruntime.InferenceSession(artefact_of(mixer) / graph.file, providers=["CPUExecutionProvider"])
    empty = np.zeros((2, *map(int, graph.states[0].shape[1:])), np.float32)
    frames = () if graph.mode == "step" else (graph.frames,)
    inputs = {"keypoints": np.full((2, *frames, 17, 3), 0.3, np.float32), "dt": np.full((2, *frames), 0.02, np.float32)}
    expected = session.run(None, inputs | {"state": empty, "reset": np.zeros(2, np.bool_)})
    for dirt in (1.0, 1e30, np.nan, np.inf):
        dirty = session.run(None, inputs | {"state": np.full_like(empty, dirt), "reset": np.ones(2, np.bool_)})
        for a, b in zip(dirty, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", ["attention", "centre"])
def test_the_window_graph_computes_the_models_forward(
    kind: str, batch: int, artefact_of: Find, tiny_lifter: Callable[[str], Any]
) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (batch, 9, 17, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(artefact_of(kind) / "window9.fp32.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = tiny_lifter(kind)(torch.from_numpy(x)).numpy()
    assert expected.shape == (batch, 1 if kind == "centre" else 9, 17, 3)
    assert np.abs(session.run(None, {"keypoints": x})[0] - expected).max() <= REL * np.abs(expected).max()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda g: setattr(g.input[0], "name", "x"), "field|input|'x'|not output|nodes"),
        (lambda g: setattr(g.output[0].type.tensor_type.shape.dim[1], "dim_value", 16), "outputs are|[Ii]nfer"),
        (lambda g: g.output[0].type.tensor_type.shape.dim[0].Clear(), "outputs are"),
    ],
    ids=["an input of another name", "an output of another shape", "a batch that is fixed"],
)
def test_a_graph_that_breaks_its_contract_is_not_written(
    retention_artefact: Path, spoil: Callable[[Any], None], message: str
) -> None:
    graph, proto = opened(retention_artefact, "fp32")
    check_contract(proto, graph.inputs, graph.outputs)
    spoil(proto.graph)
    with pytest.raises(Exception, match=message):
        check_contract(proto, graph.inputs, graph.outputs)


@pytest.mark.parametrize(("op", "domain"), [("Einsum", ""), ("Mystery", "com.example")])
def test_a_forbidden_operation_is_named(op: str, domain: str) -> None:
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [2, 2]) for name in "xy")
    attributes = {"equation": "ij->ij"} if op == "Einsum" else {}
    node = onnx.helper.make_node(op, ["x"], ["y"], domain=domain, **attributes)
    opsets = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("com.example", 1)]
    proto = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]), opset_imports=opsets, ir_version=10)
    with pytest.raises(ArtefactError, match=rf"the graph uses {domain or op}"):
        check_contract(proto, (), ())


@pytest.mark.parametrize(("mixer", "precision"), [row for row in GRAPHS if row[0] != "attention"])
def test_tensorrt_reads_the_graphs(mixer: str, precision: str, artefact_of: Find) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="the package tensorrt-rtx-cu13 is not installed")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)  # TensorRT-RTX knows strongly typed networks alone
    parser = trt.OnnxParser(network, logger)
    graph, proto = opened(artefact_of(mixer), precision)
    parsed = parser.parse(proto.SerializeToString())
    assert parsed, [str(parser.get_error(i)) for i in range(parser.num_errors)]
    assert [network.get_input(i).name for i in range(network.num_inputs)] == [t.name for t in graph.inputs]


def test_the_metadata_is_the_manifest_as_json(retention_artefact: Path) -> None:
    _, proto = opened(retention_artefact, "fp16")
    inside = json.loads(proto.metadata_props[0].value)
    assert inside["preset"] == "tiny-retention" and "softmax" in inside["graphs"][0]["fp32_nodes"]
