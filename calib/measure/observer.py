"""Observation: what the tensors of a graph come to while it runs as it will be used, its state carried from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ...runtime.artefact.manifest import Graph
from ...runtime.errors import ArtefactError
from .rollout import Recording, feeds

Floats = NDArray[np.float32]
Feed = dict[str, NDArray[Any]]

SAMPLE = 2048  # rows of a tensor that are kept


class TensorStats:
    """What was seen of one tensor, (..., C) at each call, in a memory that does not grow.

    ``low`` and ``high`` are each channel's extremes, ``total`` (C,) and ``moments`` (C, C) the sums of x and of x x' over all
    ``rows``, and ``sample`` some 2,048 rows, drawn evenly over time.
    """

    def __init__(self, calls: int) -> None:
        self.low: Floats = np.array(np.inf, np.float32)
        self.high: Floats = np.array(-np.inf, np.float32)
        self.total: NDArray[np.float64] = np.zeros(())
        self.moments: NDArray[np.float64] = np.zeros(())
        self.rows = 0
        self._each = -(-SAMPLE // calls)
        self._kept: list[Floats] = []

    def add(self, x: Floats, rng: np.random.Generator) -> None:
        rows = x.reshape(-1, x.shape[-1])
        self.low, self.high = np.minimum(self.low, rows.min(0)), np.maximum(self.high, rows.max(0))
        self.total = self.total + rows.sum(0, dtype=np.float64)
        self.moments = self.moments + rows.T @ rows
        self.rows += len(rows)
        if len(self._kept) * self._each < SAMPLE:
            self._kept.append(rows[rng.integers(len(rows), size=self._each)])

    @property
    def sample(self) -> Floats:
        """(rows, C)"""
        return np.concatenate(self._kept)

    @property
    def varies(self) -> bool:
        """Whether any of its channels was ever two different numbers."""
        return bool((self.high > self.low).any())


def observe(
    source: Path,
    graph: Graph,
    recordings: Sequence[Recording],
    tensors: Iterable[str],
    *,
    seed: int = 0,
    tick: Callable[[int], None] = lambda frames: None,
) -> dict[str, TensorStats]:
    """See each tensor over all recordings, each a stream with a state of its own, in one pass.

    Ranges of a graph that always starts from an empty state are those of a graph that nobody runs. So the state is rolled
    forward here, through warm-up, resets and gaps alike. The same seed sees the same, bit for bit.

    Args:
        source, graph: the FP32 graph.
        recordings: of one length for a step graph, whose streams advance together.
        seed: of the rows that are kept.
        tick: called with the number of frames just seen.

    Raises:
        ArtefactError: a tensor was not finite.
    """
    names = list(dict.fromkeys(tensors))
    proto = onnx.load(str(source))
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # sums in one order
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    groups = [list(group) for group in _side_by_side(graph, recordings)]
    seen = {name: TensorStats(sum(map(len, groups))) for name in names}
    rng = np.random.default_rng(seed)
    carried = [state.output for state in graph.states]
    for group in groups:
        rows = len(group[0][1]["keypoints"])
        states: Feed = {s.input: np.zeros((rows, *map(int, s.shape[1:])), s.dtype) for s in graph.states}
        for frames, feed in group:
            *after, pose = session.run([*carried, *names, "pose"], feed | states)
            states = dict(zip(states, after, strict=False))
            for name, values in zip(names, after[len(carried) :], strict=True):
                seen[name].add(values, rng)
            if not np.isfinite(pose).all():
                raise ArtefactError(f"{source.name} answers with numbers that are not finite", expected="finite poses")
            tick(frames)
    return seen


def _side_by_side(graph: Graph, recordings: Sequence[Recording]) -> Iterator[Iterator[tuple[int, Feed]]]:
    """What to feed, call after call, for streams that advance together; with the number of frames that each call takes."""
    if graph.mode == "step":
        yield _steps(recordings)
    else:  # each has its own places to begin a chunk anew
        for recording in recordings:
            yield feeds(graph, recording)


def _steps(recordings: Sequence[Recording]) -> Iterator[tuple[int, Feed]]:
    keypoints, dt, reset = (
        np.stack(parts) for parts in zip(*((r.keypoints, r.dt_s, r.reset) for r in recordings), strict=True)
    )
    for t in range(keypoints.shape[1]):
        yield len(recordings), {"keypoints": keypoints[:, t], "dt": dt[:, t], "reset": reset[:, t]}
