"""The batch axis of a traced graph: any number of streams afterwards, or a refusal that says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.export.batch_axis import PRIMES, free_batch, streams_to_trace
from posemoe_edge.export.trace import trace
from posemoe_edge.runtime import ArtefactError
from posemoe_edge.runtime.engines import open_engine

STREAMS = PRIMES[0]
FLOAT32 = 1e-5  # the engine sums in another order


@pytest.mark.parametrize("streams", [1, 3, STREAMS + 1])
def test_a_step_graph_takes_any_number_of_streams(
    streams: int, tiny_lifter: Callable[[str], Lifter], traced: Callable[..., onnx.ModelProto]
) -> None:
    lifter = tiny_lifter("retention")
    engine = open_engine(traced("retention").SerializeToString())
    rng = np.random.default_rng(streams)
    assert lifter.state_shape is not None
    inputs = {
        "keypoints": rng.uniform(0.1, 0.9, (streams, 17, 3)).astype(np.float32),
        "state": rng.uniform(-1, 1, (streams, *lifter.state_shape)).astype(np.float32),
        "dt": rng.uniform(0.01, 0.1, streams).astype(np.float32),
        "reset": rng.uniform(size=streams) < 0.5,
    }
    outputs = {
        "pose": np.empty((streams, 17, 3), np.float32),
        "next_state": np.empty((streams, *lifter.state_shape), np.float32),
    }
    engine.bind(inputs, outputs)()
    with torch.inference_mode():
        pose, state = lifter.step(*(torch.from_numpy(inputs[name]) for name in ("keypoints", "state", "dt", "reset")))
    np.testing.assert_allclose(outputs["pose"], pose.numpy(), atol=FLOAT32)
    np.testing.assert_allclose(outputs["next_state"], state.numpy(), atol=FLOAT32)


@pytest.mark.parametrize("kind", ["dssm", "attention", "gated", "retention-chunk"])
def test_many_streams_are_lifted_as_each_alone(kind: str, traced: Callable[..., onnx.ModelProto]) -> None:
    model, rng = traced(kind), np.random.default_rng(0)
    inputs: dict[str, Any] = {}
    for value in model.graph.input:
        lengths = [axis.dim_value for axis in value.type.tensor_type.shape.dim][1:]
        inputs[value.name] = rng.uniform(0.01, 0.9, (STREAMS + 1, *lengths)).astype(np.float32)
    if "reset" in inputs:
        inputs["reset"] = inputs["reset"] < 0.5
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    together = session.run(None, inputs)
    for row in (0, 1, STREAMS):
        alone = session.run(None, {name: array[row : row + 1] for name, array in inputs.items()})
        for many, one in zip(together, alone, strict=True):
            np.testing.assert_allclose(many[row : row + 1], one, atol=FLOAT32)


def traced(node: ir.Node, constant: np.ndarray, lengths: tuple[int, ...] = (STREAMS, 4)) -> ir.Model:
    """A graph of one node, x (B, 4) and a constant, as the exporter gives it for the traced number of streams."""
    x = ir.Value(name="x", shape=ir.Shape([STREAMS, 4]), type=ir.TensorType(ir.DataType.FLOAT))
    weight = ir.Value(name="c", const_value=ir.tensor(constant))
    node.replace_input_with(0, x)
    node.replace_input_with(1, weight)
    node.outputs[0].name, node.outputs[0].shape = "y", ir.Shape(lengths)
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[weight], opset_imports={"": 20})
    return ir.Model(graph, ir_version=10)


def two_inputs(op_type: str) -> ir.Node:
    return ir.node(op_type, [None, None], name=op_type.lower())


@pytest.mark.parametrize("sizes", [(STREAMS * 2, 2), (STREAMS * 2, -1), (-1, 2)])
def test_a_shape_that_holds_the_batch_is_freed(sizes: tuple[int, int]) -> None:
    model = traced(two_inputs("Reshape"), np.array(sizes), (STREAMS * 2, 2))
    free_batch(model, STREAMS)
    freed = model.graph.node(0).inputs[1]
    assert freed is not None and freed.const_value is not None
    assert freed.const_value.numpy().tolist() == [-1, 2]
    assert model.graph.inputs[0].shape == ir.Shape(["B", 4])


def test_a_constant_with_the_same_row_for_each_stream_is_stretched_when_the_graph_runs() -> None:
    model = traced(two_inputs("Add"), np.ones((STREAMS, 4), np.float32))
    free_batch(model, STREAMS)
    assert [node.op_type for node in model.graph] == ["Shape", "Concat", "Expand", "Add"]
    stretched = model.graph.node(2).inputs[0]
    assert stretched is not None and stretched.const_value is not None
    assert stretched.const_value.numpy().tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("op_type", "constant", "lengths", "why"),
    [
        ("Reshape", np.array([STREAMS, STREAMS]), (STREAMS, STREAMS), "reshape gives two axes"),
        ("Add", np.arange(STREAMS * 4, dtype=np.float32).reshape(-1, 4), (STREAMS, 4), "c is not the same for each stream"),
        ("Add", np.ones((STREAMS * 2, 4), np.float32), (STREAMS * 2, 4), "c is not the same for each stream"),
        ("Tile", np.array([STREAMS, 1]), (STREAMS * STREAMS, 4), "tile, a Tile"),
    ],
    ids=["two axes", "rows that differ", "several rows a stream", "copies"],
)
def test_what_would_hold_for_one_number_of_streams_alone_is_refused(
    op_type: str, constant: np.ndarray, lengths: tuple[int, ...], why: str
) -> None:
    with pytest.raises(ArtefactError, match=why):
        free_batch(traced(two_inputs(op_type), constant, lengths), STREAMS)


def test_the_traced_number_of_streams_divides_no_axis_of_the_lifter() -> None:
    assert streams_to_trace([17, 3, 64]) == 101
    assert streams_to_trace([17, 404, 0]) == 103
    with pytest.raises(ArtefactError, match="too many lengths"):
        streams_to_trace(PRIMES)


class Joined(torch.nn.Module):
    """A lifter whose features are joined with what has a row for each stream, though it does not depend on it."""

    def __init__(self, lifter: Lifter) -> None:
        super().__init__()
        self.lifter, self.config, self.state_shape = lifter, lifter.config, lifter.state_shape
        self.latency_frames = lifter.latency_frames
        self.token = torch.nn.Parameter(torch.full((1, 1, 17, 1), 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = x.shape[0]
        token = self.token.expand(batch, x.shape[1], -1, -1)
        joined = torch.cat([x[..., :1] * torch.ones_like(x[..., 1:2]), x[..., 1:2], token], dim=-1)
        return self.lifter(joined.reshape(batch, -1, 17, 3))  # type: ignore[no-any-return]


def test_rows_that_each_stream_has_alike_can_be_joined_with_others(tiny_lifter: Callable[[str], Lifter]) -> None:
    lifter = Joined(tiny_lifter("attention")).eval()
    engine = open_engine(trace(lifter).SerializeToString())  # type: ignore[arg-type]
    x = np.random.default_rng(0).uniform(0.1, 0.9, (3, 9, 17, 3)).astype(np.float32)
    pose = np.empty((3, 9, 17, 3), np.float32)
    engine.bind({"keypoints": x}, {"pose": pose})()
    with torch.inference_mode():
        np.testing.assert_allclose(pose, lifter(torch.from_numpy(x)).numpy(), atol=FLOAT32)


def test_an_exported_graph_names_the_batch(artefact_of: Callable[[str], Path]) -> None:
    model = ir.load(artefact_of("retention") / "step.fp32.onnx")
    assert all(value.shape is not None and str(value.shape[0]) == "B" for value in (*model.graph.inputs, *model.graph.outputs))
