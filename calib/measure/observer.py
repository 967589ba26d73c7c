"""The observer: statistics of a graph's tensors while it runs as it will be used, its state carried from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime

from ...runtime.arrays import F32, F64
from ...runtime.artefact.manifest import Graph
from ...runtime.errors import ArtefactError
from ..graph.editor import GraphEditor
from ..graph.model_file import read_model
from .launch import Tensors, initial_states, launch_inputs
from .recording import Recording

SAMPLE_ROWS = 2048  # rows of a tensor that are kept


class TensorStats:
    """Statistics of one tensor, (..., C) at each call, in constant memory.

    ``low`` and ``high`` are each channel's extremes, ``total`` (C,) and ``gram`` (C, C) the sums of x and of x x' over all
    ``rows``, and ``sample`` about 2,048 rows, drawn evenly over the calls.

    Args:
        calls: how often ``add`` will be called.
    """

    def __init__(self, calls: int) -> None:
        self.low: F32 = np.array(np.inf, np.float32)
        self.high: F32 = np.array(-np.inf, np.float32)
        self.total: F64 = np.zeros(())
        self.gram: F64 = np.zeros(())
        self.rows = 0
        self._rows_per_call = -(-SAMPLE_ROWS // calls)
        self._sampled: list[F32] = []

    def add(self, x: F32, rng: np.random.Generator) -> None:
        """Add the tensor's (..., C) values at one call; ``rng`` draws the rows to keep."""
        rows = x.reshape(-1, x.shape[-1])
        self.low, self.high = np.minimum(self.low, rows.min(0)), np.maximum(self.high, rows.max(0))
        self.total = self.total + rows.sum(0, dtype=np.float64)
        self.gram = self.gram + rows.T @ rows
        self.rows += len(rows)
        if len(self._sampled) * self._rows_per_call < SAMPLE_ROWS:
            self._sampled.append(rows[rng.integers(len(rows), size=self._rows_per_call)])

    @property
    def sample(self) -> F32:
        """(rows, C)"""
        return np.concatenate(self._sampled)

    @property
    def varies(self) -> bool:
        """Whether any channel ever had two different values."""
        return bool((self.high > self.low).any())


class Observer:
    """Runs an FP32 graph over recordings and collects the statistics of some of its tensors.

    The state is carried through warm-up, resets and gaps alike: ranges that were measured from an empty state in every frame
    would be those of a graph that nobody runs.

    Args:
        source, graph: the FP32 graph, its file or its bytes, and its record.
        tensors: names of the tensors to observe.
    """

    def __init__(self, source: Path | bytes, graph: Graph, tensors: Iterable[str]) -> None:
        self._graph = graph
        self._tensors = list(dict.fromkeys(tensors))
        editor = GraphEditor(read_model(source))
        for name in self._tensors:
            editor.add_output(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # so that sums are taken in one order
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            editor.build().SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def observe(
        self,
        recordings: Sequence[Recording],
        *,
        seed: int = 0,
        on_progress: Callable[[int], None] = lambda frames: None,
    ) -> dict[str, TensorStats]:
        """Each tensor's statistics over all recordings, each a stream with a state of its own, in one pass.

        Args:
            recordings: of one length for a step graph, whose streams advance together.
            seed: draws the sampled rows. The same seed gives the same statistics, bit for bit.
            on_progress: called with the number of frames just observed.

        Raises:
            ArtefactError: a pose is not finite.
        """
        groups = [list(group) for group in _launches(self._graph, recordings)]
        stats = {name: TensorStats(sum(map(len, groups))) for name in self._tensors}
        rng = np.random.default_rng(seed)
        next_states = [state.output for state in self._graph.states]

        def add(tensors: Sequence[F32]) -> None:
            for name, values in zip(self._tensors, tensors, strict=True):
                stats[name].add(values, rng)

        # One thread adds what was observed, in order, while the next launch computes.
        with ThreadPoolExecutor(1, thread_name_prefix="statistics") as adding:
            added: Future[None] | None = None
            for group in groups:
                states = initial_states(self._graph, len(group[0][1]["keypoints"]))
                for frames, inputs in group:
                    *outputs, pose = self._session.run([*next_states, *self._tensors, "pose"], inputs | states)
                    states = dict(zip(states, outputs, strict=False))
                    if not np.isfinite(pose).all():
                        raise ArtefactError(f"{self._graph.file} returns poses that are not finite", expected="finite poses")
                    if added is not None:
                        added.result()  # or raise what went wrong
                    added = adding.submit(add, outputs[len(next_states) :])
                    on_progress(frames)
            if added is not None:
                added.result()
        return stats


def _launches(graph: Graph, recordings: Sequence[Recording]) -> Iterator[Iterator[tuple[int, Tensors]]]:
    """For each group of streams that advance together: the number of frames and the inputs of each launch."""
    if graph.mode == "step":
        yield _step_launches(recordings)
    else:  # each recording has its own places at which a chunk begins anew
        for recording in recordings:
            yield launch_inputs(graph, recording)


def _step_launches(recordings: Sequence[Recording]) -> Iterator[tuple[int, Tensors]]:
    keypoints, dt, reset = (
        np.stack(parts) for parts in zip(*((r.keypoints, r.dt_s, r.reset) for r in recordings), strict=True)
    )
    for t in range(keypoints.shape[1]):
        yield len(recordings), {"keypoints": keypoints[:, t], "dt": dt[:, t], "reset": reset[:, t]}
