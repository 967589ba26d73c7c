"""Engines execute a graph in memory that belongs to the caller."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime import ArtefactError, MissingError, UsageError, load
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.engines import open_engine
from posemoe_edge.runtime.state import StepSlots


def buffers(rows: int = 1) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
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


def test_what_a_stream_binds_never_aliases(retention_artefact: Path) -> None:
    seen: list[tuple[int, int, int]] = []

    class RecordingEngine:
        name, device, metadata, zeros = "recording", None, {}, staticmethod(np.zeros)

        def bind(self, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]):  # type: ignore[no-untyped-def]
            for x in inputs.values():
                for y in outputs.values():
                    assert not np.shares_memory(x, y)
            assert all(a.flags.c_contiguous for a in (*inputs.values(), *outputs.values()))
            seen.append((len(outputs["pose"]), inputs["state"].ctypes.data, outputs["next_state"].ctypes.data))
            return lambda: None

    slots = StepSlots(RecordingEngine(), read_manifest(retention_artefact).graph())
    rows = [slots.allocate() for _ in range(3)]
    for who in ([0], [0], [1], [0, 2], [0, 2], rows, rows, [2]):
        for slot in who:
            slots.put(slot, np.zeros((17, 3), np.float32), 0.02, False)
        slots.launch(who)
        slots.commit(who)
    assert len(seen) >= 5 and all(read != written for _, read, written in seen)


def test_an_engine_names_itself_and_carries_the_files_metadata(retention_artefact: Path) -> None:
    engine = open_engine((retention_artefact / "step.fp32.onnx").read_bytes())
    assert engine.name == "onnxruntime-cpu" and "posemoe.manifest" in engine.metadata


@pytest.mark.parametrize("data", [b"", b"not a graph", b"\x08\x0a"], ids=["empty", "text", "a graph's first bytes"])
def test_a_file_that_is_no_graph_is_an_error_of_the_artefact(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(data)
    with pytest.raises(ArtefactError, match=r"cannot open .*x.onnx"):
        open_engine(path)


def test_an_unknown_engine_is_answered_with_the_known_ones(retention_artefact: Path) -> None:
    with pytest.raises(UsageError, match="no engine 'onnx'; expected one of onnxruntime,"):
        load(retention_artefact, engine="onnx")


def test_without_onnxruntime_the_command_that_installs_it_is_named(
    retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingError, match=r'run: pip install "posemoe-edge\[cpu\]"') as caught:
        load(retention_artefact)
    assert caught.value.exit_code == 3
