"""Engines run a graph on memory that the caller owns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import DTypeLike
from posemoe_edge.runtime import ArtefactError, MissingError, UsageError, load
from posemoe_edge.runtime.artefact.manifest import Graph, read_manifest
from posemoe_edge.runtime.engines import BoundInference, open_engine
from posemoe_edge.runtime.engines.buffers import Buffers, Interface, Rows
from posemoe_edge.runtime.state import StepSlots


def buffers(rows: int = 1) -> tuple[Buffers, Buffers]:
    """Inputs and outputs of the retention artefact's step graph."""
    state = (rows, 11, 8, 8, 17, 2)
    inputs = {
        "keypoints": np.full((rows, 17, 3), 0.5, np.float32),
        "state": np.zeros(state, np.float32),
        "dt": np.full(rows, 0.02, np.float32),
        "reset": np.zeros(rows, np.bool_),
    }
    return inputs, {"pose": np.zeros((rows, 17, 3), np.float32), "next_state": np.zeros(state, np.float32)}


def test_a_launch_reads_and_writes_the_memory_that_was_bound(retention_artefact: Path) -> None:
    inputs, outputs = buffers()
    launch = open_engine(retention_artefact / "step.fp32.onnx").bind(inputs, outputs)
    launch()
    first = outputs["pose"].copy()
    assert np.abs(first).max() > 0 and np.abs(outputs["next_state"]).max() > 0
    inputs["keypoints"][:] = -0.5
    launch()
    assert np.abs(outputs["pose"] - first).max() > 1e-3
    inputs["keypoints"][:] = 0.5
    launch()
    np.testing.assert_array_equal(outputs["pose"], first)


def test_a_state_bound_as_input_and_output_is_caught(retention_artefact: Path) -> None:
    inputs, outputs = buffers()
    outputs["next_state"] = inputs["state"]
    with pytest.raises(AssertionError, match="both input and output"):
        open_engine(retention_artefact / "step.fp32.onnx").bind(inputs, outputs)


def test_slots_never_bind_overlapping_inputs_and_outputs(retention_artefact: Path) -> None:
    bindings: list[tuple[int, int, int]] = []  # rows, address of the state, address of the next state

    class RecordingEngine:
        """An engine that checks and records what is bound."""

        device = None

        def __init__(self, graph: Graph) -> None:
            self.name = "recording"
            self.metadata: dict[str, str] = {}
            self.inputs: Interface = {tensor.name: (tensor.dtype, tensor.shape) for tensor in graph.inputs}
            self.outputs: Interface = {tensor.name: (tensor.dtype, tensor.shape) for tensor in graph.outputs}

        def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> Rows:
            return np.zeros(shape, dtype)

        def bind(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
            for x in inputs.values():
                for y in outputs.values():
                    assert not np.shares_memory(x, y)
            assert all(a.flags.c_contiguous for a in (*inputs.values(), *outputs.values()))
            bindings.append((len(outputs["pose"]), inputs["state"].ctypes.data, outputs["next_state"].ctypes.data))
            return lambda: None

        def close(self) -> None:
            pass

    graph = read_manifest(retention_artefact).graph()
    slots = StepSlots(RecordingEngine(graph), graph)
    live = [slots.allocate() for _ in range(3)]
    for present in ([0], [0], [1], [0, 2], [0, 2], live, live, [2]):
        for slot in present:
            slots.put(slot, np.zeros((17, 3), np.float32), 0.02, False)
        slots.launch(present)
        slots.commit(present)
    assert len(bindings) >= 5 and all(read != written for _, read, written in bindings)


def test_an_engine_has_a_name_and_the_metadata_of_the_file(retention_artefact: Path) -> None:
    engine = open_engine((retention_artefact / "step.fp32.onnx").read_bytes())
    assert engine.name == "onnxruntime-cpu" and "posemoe.manifest" in engine.metadata


@pytest.mark.parametrize("data", [b"", b"not a graph", b"\x08\x0a"], ids=["empty", "text", "the first bytes of a graph"])
def test_a_file_that_is_no_graph_is_an_artefact_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(data)
    with pytest.raises(ArtefactError, match=r"cannot open .*x.onnx"):
        open_engine(path)


def test_an_unknown_engine_is_an_error_that_lists_the_known_ones(retention_artefact: Path) -> None:
    with pytest.raises(UsageError, match="no engine 'onnx'; expected one of onnxruntime,"):
        load(retention_artefact, engine="onnx")


def test_a_missing_onnxruntime_is_an_error_with_the_install_command(
    retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingError, match=r'run: pip install "posemoe-edge\[cpu\]"') as error:
        load(retention_artefact)
    assert error.value.exit_code == 3
