"""A rollout: the graph over a whole recording, its own state carried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from posemoe_edge.calib import rollout
from posemoe_edge.calib.rollout import Recording, roll_out
from posemoe_edge.runtime import load
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


def test_a_window_graph_that_answers_with_one_pose_gives_it_to_the_whole_window(
    artefact_of: Callable[[str], Path], walk: Callable[..., np.ndarray]
) -> None:
    graph, given = read_manifest(artefact_of("centre")).graph(), recording(14, walk)
    path, ticks = artefact_of("centre") / graph.file, []
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    windows = given.keypoints[[*range(9), *range(9, 14), *[13] * 4]].reshape(2, 9, 17, 3)
    answered = [session.run(None, {"keypoints": window[None]})[0][0, 0] for window in windows]
    expected = np.stack([answered[0]] * 9 + [answered[1]] * 5)
    np.testing.assert_allclose(roll_out(path, graph, given, tick=lambda: ticks.append(1)), expected, atol=1e-6)
    assert len(ticks) == 14


@pytest.mark.parametrize("kind", ["lookahead-chunk", "gated-chunk"])
def test_a_chunk_graph_is_rolled_chunk_after_chunk(
    kind: str, artefact_of: Callable[[str], Path], walk: Callable[..., np.ndarray]
) -> None:
    graph = read_manifest(artefact_of(kind)).graph()
    path, given, ticks = artefact_of(kind) / graph.file, recording(30, walk), []
    given.reset[17] = True  # one frame into a chunk: 16 stands alone in it
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    state, expected = np.zeros((1, *graph.states[0].shape[1:]), np.float32), []
    for start, end in ((0, 4), (4, 8), (8, 12), (12, 16), (16, 17), (17, 21), (21, 25), (25, 29), (29, 30)):
        of = np.minimum(np.arange(start, start + 4), end - 1)  # short ones go on with their last frame
        inputs = {"keypoints": given.keypoints[of][None], "dt": given.dt_s[of][None], "reset": given.reset[start : start + 1]}
        poses, state = session.run(None, inputs | {"state": state})
        expected += list(poses[0, : end - start])
    np.testing.assert_allclose(roll_out(path, graph, given, tick=lambda: ticks.append(1)), expected, atol=1e-6)
    assert len(ticks) == 30


def test_a_rollout_in_chunks_is_a_stream_without_its_delay(
    artefact_of: Callable[[str], Path], walk: Callable[..., np.ndarray]
) -> None:
    folder = artefact_of("lookahead-chunk")
    graph, given = read_manifest(folder).graph(), recording(12, walk)
    stream, t = load(folder).stream(), 0.0
    answers = []
    for frame, dt_s in zip(given.keypoints, given.dt_s, strict=True):
        t += float(dt_s)
        answers.append(stream.step(frame, t=t).xyz_m)
    np.testing.assert_allclose(roll_out(folder / graph.file, graph, given)[:9], answers[3:], atol=1e-5)


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
