"""Observation: what the tensors come to with the state carried, and nothing left to luck."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from posemoe_edge.calib.graph.layers import find_layers
from posemoe_edge.calib.measure.observer import SAMPLE_ROWS, Observer, TensorStats
from posemoe_edge.calib.measure.recording import Recording
from posemoe_edge.runtime import ArtefactError
from posemoe_edge.runtime.artefact.manifest import Graph, read_manifest

Walk = Callable[..., np.ndarray]


def recordings(walker_keypoints: Walk, frames: int = 12) -> list[Recording]:
    """Three people at odd times; somebody else's from frame 7 on in the second."""
    made = []
    for seed in range(3):
        dt_s = np.random.default_rng(seed).choice([0.02, 0.04, 0.3], frames).astype(np.float32)
        reset = np.isin(np.arange(frames), (0, 7) if seed == 1 else (0,))
        made.append(Recording(np.array(walker_keypoints(frames, seed=seed)), dt_s, reset))
    return made


def opened(folder: Path) -> tuple[Path, Graph, list[str]]:
    graph = read_manifest(folder).graph()
    layers = find_layers(onnx.load(str(folder / graph.file)))
    return folder / graph.file, graph, [layer.activation for layer in layers]


def by_hand(path: Path, graph: Graph, given: Sequence[Recording], tensor: str) -> np.ndarray:
    """Every value of a tensor, one stream after the other, one frame after the other."""
    model = onnx.load(str(path))
    model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = []
    for one in given:
        state = np.zeros((1, *graph.states[0].shape[1:]), np.float32)
        for t in range(len(one)):
            feed = {"keypoints": one.keypoints[t][None], "dt": one.dt_s[t : t + 1], "reset": one.reset[t : t + 1]}
            state, x = session.run(["next_state", tensor], feed | {"state": state})
            rows.append(x.reshape(-1, x.shape[-1]))
    return np.concatenate(rows)


@pytest.mark.parametrize("mixer", ["retention", "dssm"])
def test_it_sees_what_streams_see(mixer: str, artefact_of: Callable[[str], Path], walker_keypoints: Walk) -> None:
    path, graph, tensors = opened(artefact_of(mixer))
    given, last = recordings(walker_keypoints), tensors[-1]  # after all that remembers
    seen = Observer(path, graph, tensors).observe(given)[last]
    expected = by_hand(path, graph, given, last)
    assert seen.rows == len(expected)
    np.testing.assert_allclose(seen.low, expected.min(0), atol=1e-5)
    np.testing.assert_allclose(seen.high, expected.max(0), atol=1e-5)
    np.testing.assert_allclose(seen.total, expected.sum(0), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(seen.gram, expected.T @ expected, rtol=1e-3, atol=1e-2)


def test_the_state_is_part_of_what_it_sees(retention_artefact: Path, walker_keypoints: Walk) -> None:
    path, graph, tensors = opened(retention_artefact)
    carried = recordings(walker_keypoints)
    forgetful = [replace(one, reset=np.ones(len(one), np.bool_)) for one in carried]
    last = tensors[-1]
    one, other = (Observer(path, graph, [last]).observe(given)[last] for given in (carried, forgetful))
    assert np.abs(one.gram - other.gram).max() > 1e-3 * np.abs(one.gram).max()


def test_the_same_seed_sees_the_same_bit_for_bit(retention_artefact: Path, walker_keypoints: Walk) -> None:
    path, graph, tensors = opened(retention_artefact)
    first, again = (Observer(path, graph, tensors).observe(recordings(walker_keypoints), seed=3) for _ in range(2))
    for name, seen in first.items():
        for field in ("low", "high", "total", "gram", "sample"):
            np.testing.assert_array_equal(getattr(seen, field), getattr(again[name], field))
    other = Observer(path, graph, tensors[:1]).observe(recordings(walker_keypoints), seed=4)[tensors[0]]
    assert not np.array_equal(other.sample, first[tensors[0]].sample)


@pytest.mark.parametrize("kind", ["attention", "lookahead-chunk"])
def test_windows_and_chunks_are_observed_too(kind: str, artefact_of: Callable[[str], Path], walker_keypoints: Walk) -> None:
    path, graph, tensors = opened(artefact_of(kind))
    ticks: list[int] = []
    seen = Observer(path, graph, tensors).observe(recordings(walker_keypoints), on_progress=ticks.append)
    assert sum(ticks) == 36
    assert all(one.varies and np.isfinite(one.gram).all() for one in seen.values())


def test_the_sample_does_not_grow_with_time() -> None:
    observed, rng = TensorStats(calls=1000), np.random.default_rng(0)
    for _ in range(1000):
        observed.add(rng.normal(size=(50, 8)).astype(np.float32), rng)
    assert SAMPLE_ROWS <= len(observed.sample) <= SAMPLE_ROWS + 3
    assert observed.rows == 50_000


def test_what_never_varies_is_known_for_it() -> None:
    observed = TensorStats(calls=2)
    for _ in range(2):
        observed.add(np.full((5, 4), 0.25, np.float32), np.random.default_rng(0))
    assert not observed.varies


def test_a_network_that_breaks_down_is_refused(copied_artefact: Path, walker_keypoints: Walk) -> None:
    path, graph, tensors = opened(copied_artefact)
    broken = recordings(walker_keypoints)
    broken[0].keypoints[3] = np.nan
    with pytest.raises(ArtefactError, match=r"step.fp32.onnx returns poses that are not finite"):
        Observer(path, graph, tensors).observe(broken)
