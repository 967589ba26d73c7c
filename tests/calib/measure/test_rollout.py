"""A rollout: the graph over whole recordings, the state of each carried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from posemoe_edge.calib.measure import rollout
from posemoe_edge.calib.measure.launch import initial_states
from posemoe_edge.calib.measure.recording import Recording
from posemoe_edge.calib.measure.rollout import roll_out
from posemoe_edge.runtime import engines, load
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.engines import Engine


def recording(frames: int, walker_keypoints: Callable[..., np.ndarray]) -> Recording:
    """Frames at irregular times, another person from frame 12 on."""
    dt_s = np.random.default_rng(0).choice([0.02, 0.04, 0.3], frames).astype(np.float32)
    reset = np.isin(np.arange(frames), (0, 12))
    return Recording(np.array(walker_keypoints(frames)), dt_s, reset)


@pytest.mark.parametrize("mixer", ["retention", "dssm"])
def test_a_rollout_gives_the_poses_of_stepping_by_hand(
    mixer: str, artefact_of: Callable[[str], Path], walker_keypoints: Callable[..., np.ndarray]
) -> None:
    graph = read_manifest(artefact_of(mixer)).graph()
    path, whole = artefact_of(mixer) / graph.file, recording(30, walker_keypoints)
    progress: list[int] = []
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    state, expected = initial_states(graph, 1)["state"], []
    for t in range(30):
        inputs = {"keypoints": whole.keypoints[t][None], "dt": whole.dt_s[t : t + 1], "reset": whole.reset[t : t + 1]}
        pose, state = session.run(None, inputs | {"state": state})
        expected.append(pose[0])
    np.testing.assert_allclose(roll_out(path, graph, [whole], on_progress=progress.append)[0], expected, atol=1e-6)
    assert sum(progress) == 30


@pytest.mark.parametrize("frames", [4, 9, 18, 23])
def test_a_window_graph_runs_window_after_window(
    frames: int, attention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    graph = read_manifest(attention_artefact).graph()
    path, whole = attention_artefact / graph.file, recording(frames, walker_keypoints)
    progress: list[int] = []
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = []
    for start in range(0, frames, 9):
        part = whole.keypoints[start : start + 9]
        window = np.concatenate([part, np.repeat(part[-1:], 9 - len(part), axis=0)])
        expected.append(session.run(None, {"keypoints": window[None]})[0][0, : len(part)])
    np.testing.assert_allclose(
        roll_out(path, graph, [whole], on_progress=progress.append)[0], np.concatenate(expected), atol=1e-6
    )
    assert sum(progress) == frames


def test_one_pose_of_a_window_stands_for_the_whole_window(
    artefact_of: Callable[[str], Path], walker_keypoints: Callable[..., np.ndarray]
) -> None:
    graph, whole = read_manifest(artefact_of("centre")).graph(), recording(14, walker_keypoints)
    path = artefact_of("centre") / graph.file
    progress: list[int] = []
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    windows = whole.keypoints[[*range(9), *range(9, 14), *[13] * 4]].reshape(2, 9, 17, 3)
    answered = [session.run(None, {"keypoints": window[None]})[0][0, 0] for window in windows]
    expected = np.stack([answered[0]] * 9 + [answered[1]] * 5)
    np.testing.assert_allclose(roll_out(path, graph, [whole], on_progress=progress.append)[0], expected, atol=1e-6)
    assert sum(progress) == 14


@pytest.mark.parametrize("kind", ["lookahead-chunk", "gated-chunk"])
def test_a_chunk_graph_runs_chunk_after_chunk(
    kind: str, artefact_of: Callable[[str], Path], walker_keypoints: Callable[..., np.ndarray]
) -> None:
    graph = read_manifest(artefact_of(kind)).graph()
    path, whole = artefact_of(kind) / graph.file, recording(30, walker_keypoints)
    progress: list[int] = []
    whole.reset[17] = True  # one frame into a chunk, which frame 16 then has for itself
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    state, expected = initial_states(graph, 1)["state"], []
    for start, end in ((0, 4), (4, 8), (8, 12), (12, 16), (16, 17), (17, 21), (21, 25), (25, 29), (29, 30)):
        of = np.minimum(np.arange(start, start + 4), end - 1)  # short chunks are padded with their last frame
        inputs = {"keypoints": whole.keypoints[of][None], "dt": whole.dt_s[of][None], "reset": whole.reset[start : start + 1]}
        poses, state = session.run(None, inputs | {"state": state})
        expected += list(poses[0, : end - start])
    np.testing.assert_allclose(roll_out(path, graph, [whole], on_progress=progress.append)[0], expected, atol=1e-6)
    assert sum(progress) == 30


def test_a_rollout_in_chunks_is_a_stream_without_its_delay(
    artefact_of: Callable[[str], Path], walker_keypoints: Callable[..., np.ndarray]
) -> None:
    folder = artefact_of("lookahead-chunk")
    graph, whole = read_manifest(folder).graph(), recording(12, walker_keypoints)
    stream, t = load(folder).stream(), 0.0
    answers = []
    for frame, dt_s in zip(whole.keypoints, whole.dt_s, strict=True):
        t += float(dt_s)
        answers.append(stream.step(frame, t=t).xyz_m)
    np.testing.assert_allclose(roll_out(folder / graph.file, graph, [whole])[0][:9], answers[3:], atol=1e-5)


@pytest.mark.parametrize("kind", ["retention", "dssm", "lookahead-chunk", "attention"])
def test_recordings_in_one_rollout_do_not_affect_each_other(
    kind: str, artefact_of: Callable[[str], Path], walker_keypoints: Callable[..., np.ndarray]
) -> None:
    """Shorter recordings first, in the middle and last: a recording that ends does not change the others."""
    graph = read_manifest(artefact_of(kind)).graph()
    progress: list[int] = []
    path, whole = artefact_of(kind) / graph.file, recording(40, walker_keypoints)
    spans = [slice(0, 11), slice(3, 40), slice(20, 21), slice(5, 30)]
    parts = [whole.during(span) for span in spans]
    together = roll_out(path, graph, parts, on_progress=progress.append)
    assert sum(progress) == sum(map(len, parts)) and [len(poses) for poses in together] == [11, 37, 1, 25]
    for poses, part in zip(together, parts, strict=True):
        np.testing.assert_allclose(poses, roll_out(path, graph, [part])[0], atol=1e-5)
    assert roll_out(path, graph, []) == []


def test_a_graph_in_memory_gives_the_same_poses_as_its_file(
    retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    for precision in ("fp32", "fp16"):
        graph = read_manifest(retention_artefact).graph(precision)
        path, whole = retention_artefact / graph.file, recording(8, walker_keypoints)
        np.testing.assert_array_equal(roll_out(path, graph, [whole]), roll_out(path.read_bytes(), graph, [whole]))


def test_the_truth_stays_with_its_frames(walker_keypoints: Callable[..., np.ndarray]) -> None:
    whole = recording(20, walker_keypoints)
    assert whole.during(slice(3, 9)).truth is None
    truth = np.arange(20 * 17 * 3, dtype=np.float32).reshape(20, 17, 3)
    part = replace(whole, truth=truth).during(slice(3, 9))
    assert part.truth is not None and len(part) == 6
    np.testing.assert_array_equal(part.truth, truth[3:9])


def test_another_engine_than_onnx_runtime_rounds_by_itself(
    retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another engine gets the file as it is. ONNX Runtime stands in for it here."""
    graph, opened = read_manifest(retention_artefact).graph("fp16"), []
    path, original = retention_artefact / graph.file, engines.open_engine

    def open_engine(source: Path | bytes, *, engine: str) -> Engine:
        opened.append((source, engine))
        return original(source)

    monkeypatch.setattr(rollout, "open_engine", open_engine)
    roll_out(path, graph, [recording(2, walker_keypoints)], engine="tensorrt")
    roll_out(path, graph, [recording(2, walker_keypoints)])
    assert opened[0] == (path, "tensorrt")
    assert opened[1][0] != path.read_bytes() and opened[1][1] == "onnxruntime"


def test_the_state_matters(retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]) -> None:
    graph = read_manifest(retention_artefact).graph()
    whole = recording(30, walker_keypoints)
    (carried,) = roll_out(retention_artefact / graph.file, graph, [whole])
    fresh = Recording(whole.keypoints[10:], whole.dt_s[10:], whole.reset[10:])
    (afresh,) = roll_out(retention_artefact / graph.file, graph, [fresh])
    apart = np.abs(afresh - carried[10:]).max(axis=(1, 2))
    assert apart[0] > 1e-3 and apart[2:].max() < 1e-6  # two frames later the next person begins


def test_a_half_precision_graph_is_rolled_out_with_true_rounding(
    retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = read_manifest(retention_artefact).graph("fp16")
    whole = recording(20, walker_keypoints)
    rounded = roll_out(retention_artefact / graph.file, graph, [whole])[0]
    monkeypatch.setattr(rollout, "is_half", lambda proto: False)
    plain = roll_out(retention_artefact / graph.file, graph, [whole])[0]
    assert np.abs(rounded - plain).max() > 1e-4
