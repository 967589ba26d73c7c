"""The difference between a stream in a batch and the same stream alone: small for sound graphs, and seen where there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.calib.measure.batch import BATCH_STREAMS, MIN_FRAMES, frames_to_compare, measure_batch_difference
from posemoe_edge.calib.measure.recording import Recording
from posemoe_edge.calib.measure.rollout import open_graph
from posemoe_edge.runtime.artefact.certificate import BatchDifference
from posemoe_edge.runtime.artefact.manifest import Graph, read_manifest
from posemoe_edge.runtime.engines.buffers import Buffers
from posemoe_edge.runtime.errors import UsageError

FP32_MM, FP16_MM = 0.01, 20.0  # what another order of sums does, at most, in networks of random weights


def recordings(frames: int, walker_keypoints: Callable[..., np.ndarray], count: int = 3) -> list[Recording]:
    """Walkers whose motion, times and resets differ."""
    taken = []
    for i in range(count):
        dt_s = np.random.default_rng(i).choice([0.02, 0.04, 0.3], frames).astype(np.float32)
        taken.append(Recording(np.array(walker_keypoints(frames + 7 * i)[7 * i :]), dt_s, np.arange(frames) == 5 + i))
    return taken


class ChangedEngine:
    """An engine whose outputs are changed after each launch."""

    def __init__(self, engine: Any, change: Callable[[Buffers], None]) -> None:
        self.engine, self.change, self.rows = engine, change, list[int]()

    def bind(self, inputs: Buffers, outputs: Buffers) -> Callable[[], None]:
        launch = self.engine.bind(inputs, outputs)

        def changed() -> None:
            launch()
            self.rows.append(len(outputs["pose"]))
            self.change(outputs)

        return changed


def measure(
    folder: Path, takes: Sequence[Recording], change: Callable[[Buffers], None] = lambda outputs: None, **options: Any
) -> tuple[BatchDifference, list[int]]:
    graph: Graph = read_manifest(folder).graph(options.pop("precision", None))
    with closing(open_graph(folder / graph.file)) as engine:
        changed = ChangedEngine(engine, change)
        difference = measure_batch_difference(changed, graph, takes, **options)  # type: ignore[arg-type]
    assert difference is not None
    return difference, changed.rows


@pytest.mark.parametrize("kind", ["retention", "dssm", "attention", "lookahead-chunk", "gated-chunk", "centre"])
def test_a_batch_hardly_moves_the_poses_of_an_fp32_graph_of_any_mode(
    kind: str, artefact_of: Callable[[str], Path], walker_keypoints: Callable[..., np.ndarray]
) -> None:
    progress: list[int] = []
    takes = recordings(30, walker_keypoints)
    difference, _ = measure(artefact_of(kind), takes, on_progress=progress.append)
    assert (difference.streams, difference.frames) == (BATCH_STREAMS, MIN_FRAMES)
    assert 0 <= difference.mean_mm <= difference.p99_mm <= difference.max_mm < FP32_MM
    assert sum(progress) == frames_to_compare(takes) == MIN_FRAMES * (len(takes) + BATCH_STREAMS)


def test_an_fp16_graph_rounds_otherwise_in_a_batch(
    retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    takes = recordings(60, walker_keypoints)
    fp32, _ = measure(retention_artefact, takes, precision="fp32")
    fp16, _ = measure(retention_artefact, takes, precision="fp16")
    assert fp16.mean_mm > 100 * fp32.mean_mm and fp16.max_mm < FP16_MM


def test_the_batch_grows_to_eight_streams_and_shrinks_again(
    retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    takes = recordings(16 * 15, walker_keypoints)
    _, rows = measure(retention_artefact, takes)
    alone, together = rows[: len(takes) * MIN_FRAMES], rows[len(takes) * MIN_FRAMES :]
    assert set(alone) == {1} and together[0] == together[-1] == 1 and max(together) == BATCH_STREAMS
    assert set(together) == set(range(1, BATCH_STREAMS + 1)) and sum(together) == BATCH_STREAMS * MIN_FRAMES


def test_an_engine_that_strays_with_the_size_of_the_launch_is_seen(
    retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    def stray(outputs: Buffers) -> None:
        outputs["pose"][..., 0] += 0.001 * (len(outputs["pose"]) - 1)

    difference, rows = measure(retention_artefact, recordings(30, walker_keypoints), stray)
    expected = np.repeat(np.array(rows[3 * MIN_FRAMES :]) - 1, rows[3 * MIN_FRAMES :])
    assert difference.max_mm == pytest.approx(expected.max(), abs=FP32_MM) and expected.max() == BATCH_STREAMS - 1
    assert difference.mean_mm == pytest.approx(expected.mean(), abs=FP32_MM)


def test_an_engine_that_mixes_up_the_states_of_a_batch_is_seen(
    retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    def mix(outputs: Buffers) -> None:
        outputs["next_state"][:] = np.roll(outputs["next_state"], 1, axis=0)

    difference, _ = measure(retention_artefact, recordings(30, walker_keypoints), mix)
    assert difference.max_mm > 1


def test_a_pose_that_is_not_finite_in_a_batch_alone_is_seen(
    retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    def spoil(outputs: Buffers) -> None:
        if len(outputs["pose"]) > 2:
            outputs["pose"][-1, 3] = np.nan

    difference, _ = measure(retention_artefact, recordings(30, walker_keypoints), spoil)
    assert not np.isfinite([difference.mean_mm, difference.p99_mm, difference.max_mm]).any()


def test_an_engine_that_launches_no_stream_alone_is_not_measured(
    retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    class ForSeveral:
        def bind(self, inputs: Buffers, outputs: Buffers) -> None:
            raise UsageError("a launch of 1 rows of a plan for 2 to 8")

    graph = read_manifest(retention_artefact).graph()
    assert measure_batch_difference(ForSeveral(), graph, recordings(30, walker_keypoints)) is None  # type: ignore[arg-type]
