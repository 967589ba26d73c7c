"""The observer: statistics of tensors with the state carried, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from posemoe_edge.calib.graph.layers import find_layers
from posemoe_edge.calib.measure.launch import initial_states
from posemoe_edge.calib.measure.observer import SAMPLE_ROWS, Observer, TensorStats
from posemoe_edge.calib.measure.recording import Recording
from posemoe_edge.runtime import ArtefactError
from posemoe_edge.runtime.artefact.manifest import Graph, read_manifest

Walk = Callable[..., np.ndarray]


def recordings(walker_keypoints: Walk, frames: int = 12) -> list[Recording]:
    """Three people at irregular times; in the second recording another person from frame 7 on."""
    streams = []
    for seed in range(3):
        dt_s = np.random.default_rng(seed).choice([0.02, 0.04, 0.3], frames).astype(np.float32)
        reset = np.isin(np.arange(frames), (0, 7) if seed == 1 else (0,))
        streams.append(Recording(np.array(walker_keypoints(frames, seed=seed)), dt_s, reset))
    return streams


def opened(folder: Path) -> tuple[Path, Graph, list[str]]:
    graph = read_manifest(folder).graph()
    layers = find_layers(onnx.load(str(folder / graph.file)))
    return folder / graph.file, graph, [layer.activation for layer in layers]


def by_hand(path: Path, graph: Graph, streams: Sequence[Recording], tensor: str) -> np.ndarray:
    """Every value of a tensor, one stream after the other, one frame after the other."""
    model = onnx.load(str(path))
    model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = []
    for recording in streams:
        state = initial_states(graph, 1)["state"]
        for t in range(len(recording)):
            feed = {
                "keypoints": recording.keypoints[t][None],
                "dt": recording.dt_s[t : t + 1],
                "reset": recording.reset[t : t + 1],
            }
            state, x = session.run(["next_state", tensor], feed | {"state": state})
            rows.append(x.reshape(-1, x.shape[-1]))
    return np.concatenate(rows)


@pytest.mark.parametrize("mixer", ["retention", "dssm"])
def test_the_statistics_are_those_of_streams_run_by_hand(
    mixer: str, artefact_of: Callable[[str], Path], walker_keypoints: Walk
) -> None:
    path, graph, tensors = opened(artefact_of(mixer))
    streams, last = recordings(walker_keypoints), tensors[-1]  # the last layer, after every state
    stats = Observer(path, graph, tensors).observe(streams)[last]
    expected = by_hand(path, graph, streams, last)
    assert stats.rows == len(expected)
    np.testing.assert_allclose(stats.low, expected.min(0), atol=1e-5)
    np.testing.assert_allclose(stats.high, expected.max(0), atol=1e-5)
    np.testing.assert_allclose(stats.total, expected.sum(0), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(stats.gram, expected.T @ expected, rtol=1e-3, atol=1e-2)


def test_the_carried_state_changes_the_statistics(retention_artefact: Path, walker_keypoints: Walk) -> None:
    path, graph, tensors = opened(retention_artefact)
    carried = recordings(walker_keypoints)
    always_reset = [replace(recording, reset=np.ones(len(recording), np.bool_)) for recording in carried]
    last = tensors[-1]
    exact, other = (Observer(path, graph, [last]).observe(streams)[last] for streams in (carried, always_reset))
    assert np.abs(exact.gram - other.gram).max() > 1e-3 * np.abs(exact.gram).max()


def test_the_same_seed_gives_the_same_statistics_bit_for_bit(retention_artefact: Path, walker_keypoints: Walk) -> None:
    path, graph, tensors = opened(retention_artefact)
    first, again = (Observer(path, graph, tensors).observe(recordings(walker_keypoints), seed=3) for _ in range(2))
    for name, stats in first.items():
        for field in ("low", "high", "total", "gram", "sample"):
            np.testing.assert_array_equal(getattr(stats, field), getattr(again[name], field))
    other = Observer(path, graph, tensors[:1]).observe(recordings(walker_keypoints), seed=4)[tensors[0]]
    assert not np.array_equal(other.sample, first[tensors[0]].sample)


@pytest.mark.parametrize("kind", ["attention", "lookahead-chunk"])
def test_windows_and_chunks_are_stats_too(kind: str, artefact_of: Callable[[str], Path], walker_keypoints: Walk) -> None:
    path, graph, tensors = opened(artefact_of(kind))
    progress: list[int] = []
    stats = Observer(path, graph, tensors).observe(recordings(walker_keypoints), on_progress=progress.append)
    assert sum(progress) == 36
    assert all(tensor.varies and np.isfinite(tensor.gram).all() for tensor in stats.values())


def test_the_sample_does_not_grow_with_time() -> None:
    stats, rng = TensorStats(calls=1000), np.random.default_rng(0)
    for _ in range(1000):
        stats.add(rng.normal(size=(50, 8)).astype(np.float32), rng)
    assert SAMPLE_ROWS <= len(stats.sample) <= SAMPLE_ROWS + 3
    assert stats.rows == 50_000


def test_a_constant_tensor_does_not_vary() -> None:
    stats = TensorStats(calls=2)
    for _ in range(2):
        stats.add(np.full((5, 4), 0.25, np.float32), np.random.default_rng(0))
    assert not stats.varies


def test_poses_that_are_not_finite_are_refused(copied_artefact: Path, walker_keypoints: Walk) -> None:
    path, graph, tensors = opened(copied_artefact)
    broken = recordings(walker_keypoints)
    broken[0].keypoints[3] = np.nan
    with pytest.raises(ArtefactError, match=r"step.fp32.onnx returns poses that are not finite"):
        Observer(path, graph, tensors).observe(broken)
