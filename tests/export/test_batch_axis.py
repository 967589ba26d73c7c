"""The batch axis of a traced graph: any number of streams afterwards, or a refusal that says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.export.batch_axis import TRACED_STREAMS, free_batch
from posemoe_edge.export.trace import trace
from posemoe_edge.runtime import ArtefactError
from posemoe_edge.runtime.engines import open_engine


@pytest.mark.parametrize("streams", [1, 3, TRACED_STREAMS + 1])
def test_a_step_graph_takes_any_number_of_streams(streams: int, tiny_lifter: Callable[[str], Lifter]) -> None:
    lifter = tiny_lifter("retention")
    engine = open_engine(trace(lifter).SerializeToString())
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
    np.testing.assert_allclose(outputs["pose"], pose.numpy(), atol=1e-5)
    np.testing.assert_allclose(outputs["next_state"], state.numpy(), atol=1e-5)


def traced(node: ir.Node, constant: np.ndarray) -> ir.Model:
    """A graph of one node, x (B, 4) and a constant, as the exporter gives it for the traced number of streams."""
    shape = ir.Shape([TRACED_STREAMS, 4])
    x = ir.Value(name="x", shape=shape, type=ir.TensorType(ir.DataType.FLOAT))
    weight = ir.Value(name="c", const_value=ir.tensor(constant))
    node.replace_input_with(0, x)
    node.replace_input_with(1, weight)
    node.outputs[0].name, node.outputs[0].shape = "y", shape
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[weight], opset_imports={"": 20})
    return ir.Model(graph, ir_version=10)


def two_inputs(op_type: str) -> ir.Node:
    return ir.node(op_type, [None, None], name=op_type.lower())


def test_a_shape_that_holds_the_batch_is_freed() -> None:
    model = traced(two_inputs("Reshape"), np.array([TRACED_STREAMS * 2, 2]))
    free_batch(model)
    sizes = model.graph.node(0).inputs[1]
    assert sizes is not None and sizes.const_value is not None
    assert sizes.const_value.numpy().tolist() == [-1, 2]
    assert model.graph.inputs[0].shape == ir.Shape(["B", 4])


def test_a_constant_with_the_same_row_for_each_stream_is_one_row() -> None:
    model = traced(two_inputs("Add"), np.ones((TRACED_STREAMS, 4), np.float32))
    free_batch(model)
    row = model.graph.node(0).inputs[1]
    assert row is not None and row.const_value is not None
    assert row.const_value.numpy().tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("op_type", "constant", "why"),
    [
        ("Reshape", np.array([TRACED_STREAMS, -1]), "reshape gives two axes"),
        ("Add", np.arange(TRACED_STREAMS * 4, dtype=np.float32).reshape(-1, 4), "constant c is not the same for each stream"),
        ("Add", np.ones((TRACED_STREAMS * 2, 4), np.float32), "constant c is not the same for each stream"),
    ],
    ids=["two axes", "rows that differ", "several rows a stream"],
)
def test_what_would_hold_for_one_number_of_streams_alone_is_refused(op_type: str, constant: np.ndarray, why: str) -> None:
    with pytest.raises(ArtefactError, match=why):
        free_batch(traced(two_inputs(op_type), constant))


def test_an_exported_graph_names_the_batch(artefact_of: Callable[[str], Path]) -> None:
    model = ir.load(artefact_of("retention") / "step.fp32.onnx")
    assert all(value.shape is not None and str(value.shape[0]) == "B" for value in (*model.graph.inputs, *model.graph.outputs))
