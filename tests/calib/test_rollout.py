"""A rollout: the graph over a whole recording, its own state carried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from posemoe_edge.calib import rollout
from posemoe_edge.calib.rollout import Recording, roll_out
from posemoe_edge.runtime.manifest import read_manifest


def recording(frames: int, walk: Callable[..., np.ndarray]) -> Recording:
    """Frames at odd times, somebody else's from frame 12 on."""
    dt_s = np.random.default_rng(0).choice([0.02, 0.04, 0.3], frames).astype(np.float32)
    reset = np.isin(np.arange(frames), (0, 12))
    return Recording(np.array(walk(frames)), dt_s, reset)


@pytest.mark.parametrize("mixer", ["retention", "dssm"])
def test_a_rollout_is_stepping_by_hand(mixer: str, artefact_of: Callable[[str], Path], walk: Callable[..., np.ndarray]) -> None:
    graph = read_manifest(artefact_of(mixer)).graph()
    path, given, ticks = artefact_of(mixer) / graph.file, recording(30, walk), []
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    state, expected = np.zeros((1, *graph.states[0].shape[1:]), np.float32), []
    for t in range(30):
        inputs = {"keypoints": given.keypoints[t][None], "dt": given.dt_s[t : t + 1], "reset": given.reset[t : t + 1]}
        pose, state = session.run(None, inputs | {"state": state})
        expected.append(pose[0])
    np.testing.assert_allclose(roll_out(path, graph, given, tick=lambda: ticks.append(1)), expected, atol=1e-6)
    assert len(ticks) == 30


@pytest.mark.parametrize("frames", [4, 9, 18, 23])
def test_a_window_graph_is_rolled_window_after_window(
    frames: int, attention_artefact: Path, walk: Callable[..., np.ndarray]
) -> None:
    graph = read_manifest(attention_artefact).graph()
    path, given, ticks = attention_artefact / graph.file, recording(frames, walk), []
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = []
    for start in range(0, frames, 9):
        part = given.keypoints[start : start + 9]
        window = np.concatenate([part, np.repeat(part[-1:], 9 - len(part), axis=0)])
        expected.append(session.run(None, {"keypoints": window[None]})[0][0, : len(part)])
    np.testing.assert_allclose(roll_out(path, graph, given, tick=lambda: ticks.append(1)), np.concatenate(expected), atol=1e-6)
    assert len(ticks) == frames


def test_the_state_matters(retention_artefact: Path, walk: Callable[..., np.ndarray]) -> None:
    graph = read_manifest(retention_artefact).graph()
    given = recording(30, walk)
    carried = roll_out(retention_artefact / graph.file, graph, given)
    fresh = Recording(given.keypoints[10:], given.dt_s[10:], given.reset[10:])
    apart = np.abs(roll_out(retention_artefact / graph.file, graph, fresh) - carried[10:]).max(axis=(1, 2))
    assert apart[0] > 1e-3 and apart[2:].max() < 1e-6  # two frames later somebody else begins


def test_half_precision_is_rolled_with_its_rounding(
    retention_artefact: Path, walk: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = read_manifest(retention_artefact).graph("fp16")
    given = recording(20, walk)
    rounded = roll_out(retention_artefact / graph.file, graph, given)
    monkeypatch.setattr(rollout, "is_half", lambda proto: False)
    plain = roll_out(retention_artefact / graph.file, graph, given)
    assert np.abs(rounded - plain).max() > 1e-4
