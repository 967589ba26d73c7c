"""What a step costs: contestants in turn, and what a graph executes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from posemoe_edge.runtime import Model, load
from posemoe_edge.runtime.bench import BareLaunch, Contestant, contest, profile_graph, run_contest
from posemoe_edge.runtime.engines import open_engine, resolve
from posemoe_edge.runtime.errors import MissingError

Find = Callable[[str], Path]


def contestant(folder: Path, streams: int) -> Contestant:
    selection = resolve(folder)
    return Contestant(selection, Model.open(selection), streams)


@pytest.mark.parametrize("kind", ["retention", "dssm", "attention", "retention-chunk"])
def test_contestants_of_every_mode_take_turns(
    kind: str, artefact_of: Find, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    alone, pair = contestant(artefact_of(kind), 1), contestant(artefact_of(kind), 2)
    run_contest([alone, pair], list(walker_keypoints(5)), seconds=0.0)
    assert len(alone.step_s) == len(pair.step_s) == len(alone.launch_s) >= 30
    assert all(time > 0 for time in (*alone.step_s, *alone.launch_s))
    pair.model.stream().close()  # the contest left no stream open
    assert "slot=0" in repr(pair.model.stream())


def test_contestants_that_share_a_model_would_launch_rows_of_each_other(retention_artefact: Path) -> None:
    first = contestant(retention_artefact, 1)
    with pytest.raises(ValueError, match="share a model"):
        run_contest([first, Contestant(first.selection, first.model, 2)], [], seconds=0.0)


def test_an_engine_that_cannot_be_opened_leaves_none_of_the_others_open(
    retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, closed = [contestant(retention_artefact, 1) for _ in range(2)], list[Any]()

    class Opened:
        """The engine of the first contestant; there is none for the second."""

        calls = 0

        def __call__(self, *args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls > 1:
                raise MissingError("no memory on the GPU")
            engine = open_engine(*args, **options)
            monkeypatch.setattr(engine, "close", lambda: closed.append(engine), raising=False)
            return engine

    monkeypatch.setattr(contest, "open_engine", Opened())
    with pytest.raises(MissingError):
        run_contest(entries, [], seconds=0.0)
    assert len(closed) == 1
    for entry in entries:
        assert "slot=0" in repr(entry.model.stream())


def test_a_step_of_a_chunk_graph_is_a_chunk(artefact_of: Find, walker_keypoints: Callable[..., np.ndarray]) -> None:
    chunk = contestant(artefact_of("retention-chunk"), 1)
    assert chunk.frames == 4
    calls, step_batch = [0], chunk.model.step_batch

    def counted(*args: Any, **options: Any) -> Any:
        calls[0] += 1
        return step_batch(*args, **options)

    chunk.model.step_batch = counted  # type: ignore[method-assign]
    run_contest([chunk], list(walker_keypoints(5)), seconds=0.0)
    assert calls[0] == 4 * (len(chunk.step_s) + 20)  # with the warm-up
    chunk.step_s, chunk.launch_s = [0.05, 0.1], [0.05, 0.1]
    assert chunk.times(fps=50).missed == 0.5


def test_times_are_quantiles_and_late_steps_are_counted(retention_artefact: Path) -> None:
    entry = contestant(retention_artefact, 1)
    entry.step_s, entry.launch_s = [0.010] * 90 + [0.030] * 10, [0.005] * 100
    times = entry.times(fps=50)
    assert (times.p50, times.max, times.launch_p50, times.steps) == (10, 30, 5, 100)
    assert times.missed == 0.1 and entry.times(fps=25).missed == 0


def test_a_bare_launch_carries_its_state(retention_artefact: Path, walker_keypoints: Callable[..., np.ndarray]) -> None:
    selection, (frame,) = resolve(retention_artefact), walker_keypoints(1)
    engine = open_engine(selection.source)
    bound: list[dict[str, Any]] = []
    launch = BareLaunch(_Watched(engine, bound), selection.graph, 1, keypoints=frame)  # type: ignore[arg-type]
    stream = load(retention_artefact).stream()
    for i in range(4):
        launch()
        pose = stream.step(frame)
        if i:  # the stream resets itself before its first frame, whose time is one nominal frame in both
            np.testing.assert_allclose(bound[i % 2]["pose"][0, :, :3], pose.xyz_m, rtol=0, atol=1e-5)


class _Watched:
    """An engine that keeps what was bound as outputs."""

    def __init__(self, engine: object, bound: list[dict[str, Any]]) -> None:
        self._engine, self._bound = engine, bound

    def bind(self, inputs: dict[str, Any], outputs: dict[str, Any]) -> object:
        self._bound.append(outputs)
        return self._engine.bind(inputs, outputs)  # type: ignore[attr-defined]


def test_a_profile_counts_the_products_of_a_graph(retention_artefact: Path) -> None:
    selection = resolve(retention_artefact)
    profile = profile_graph(selection.content, selection.graph, streams=3)
    model = onnx.load_from_string(selection.content)
    in_file = sum(node.op_type in ("MatMul", "Gemm") for node in model.graph.node)
    assert sum(profile.products.values()) == in_file
    assert 0 < profile.operators <= len(model.graph.node)
    assert sum(profile.share.values()) == pytest.approx(1)
    weights = {tuple(weight.dims) for weight in model.graph.initializer if len(weight.dims) == 2}
    of_weights = {(inner, columns) for batch, rows, inner, columns in profile.products if batch == 1}
    assert of_weights <= weights and all(rows % 3 == 0 for batch, rows, *_ in profile.products if batch == 1)
    assert any(batch == 3 * 2 and rows == 17 for batch, rows, *_ in profile.products)  # attention in two heads
