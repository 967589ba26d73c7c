"""Comparison of two graphs of one model: where, layer by layer, they begin to differ in the middle of a stream.

Both graphs take the same frame and the same state, which the exact graph has computed: so they differ by the arithmetic of this
one launch, and not by the past, which ``verify`` measures. Three things are measured: by how much a tensor differs; how much of
that its own node causes, with exact inputs; and what such isolated errors of one layer do to the pose and to the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from ...runtime.arrays import F32
from ...runtime.artefact.manifest import Graph
from ...runtime.engines.tensorrt.plan import EngineName
from ...runtime.errors import UsageError
from ..graph.model_file import read_model
from ..measure.launch import Tensors, initial_states, launch_inputs
from ..measure.recording import Recording
from .comparison import Comparison, LaunchDifference, LayerEffect, TensorDifference
from .distance import largest, pose_and_state, subtract
from .instrument import inject_errors, isolate_errors
from .matches import TensorMatch, for_one_stream, match_tensors, with_half_rounding
from .runners import Run, check_ready, open_runner

FRAMES_PER_LAUNCH = 256  # of the launches that measure layers' effects; limited by memory

LayerErrors = dict[str, dict[str, F32]]  # layer -> tensor -> its isolated error


def compare_graphs(
    exact: onnx.ModelProto | Path | bytes,
    other: onnx.ModelProto | Path | bytes,
    graph: Graph,
    recording: Recording,
    *,
    engine: EngineName | None = None,
    after: int = 0,
    on_progress: Callable[[int], None] = lambda frames: None,
) -> Comparison:
    """Run two graphs of one model side by side over a recording and compare what they compute.

    Args:
        exact: a graph, its file or its bytes, run by ONNX Runtime, half precision with true rounding. It carries the state.
        other: the same model in another precision, or the same graph for another engine.
        graph: the record of either in the manifest.
        engine: that runs the other graph; None is ONNX Runtime, too.
        after: frames that only carry the state; launches that reach beyond them are compared.
        on_progress: called with the number of frames just run.

    Raises:
        UsageError: no frame is left to compare.
    """
    check_ready(engine)
    if len(recording) <= after:
        raise UsageError(f"{len(recording)} frames, of which {after} go by before", expected="at least one to compare")
    exact, other = (model if isinstance(model, onnx.ModelProto) else read_model(model) for model in (exact, other))
    matches = match_tensors(exact, other)
    exact = with_half_rounding(exact)
    exact_1, other_1 = for_one_stream(exact), for_one_stream(other if engine else with_half_rounding(other))
    results = ["pose", *(state.output for state in graph.states)]
    tensors, launches = _TensorTracker(matches), list[LaunchDifference]()
    worst: tuple[Tensors, LayerErrors] | None = None
    with ExitStack() as stack:

        def opened(model: onnx.ModelProto, outputs: Iterable[str], engine: EngineName | None = None) -> Run:
            return stack.enter_context(open_runner(model, [*outputs, *results], engine=engine))

        run_other = opened(other_1, (match.other for match in matches), engine)
        run_isolated = opened(isolate_errors(other_1, matches), (match.other for match in matches), engine)
        run_exact = opened(exact_1, (match.exact for match in matches))
        run_results = opened(exact_1, ())
        states = initial_states(graph, 1)
        frame = 0
        for frames, launch_input in launch_inputs(graph, recording):
            inputs = launch_input | states
            if frame + frames <= after:
                from_exact = run_results(inputs)
            else:
                from_exact, from_other = run_exact(inputs), run_other(inputs)
                isolated = run_isolated(inputs | {match.exact_input: from_exact[match.exact] for match in matches})
                errors = tensors.add(frame, from_exact, from_other, isolated)
                launches.append(LaunchDifference(frame, *pose_and_state(from_exact, from_other, graph, frames)))
                if worst is None or launches[-1].max_mm > max(launch.max_mm for launch in launches[:-1]):
                    worst = inputs, errors
            states = {state.input: from_exact[state.output] for state in graph.states}
            frame += frames
            on_progress(frames)
    effects = sorted(_layer_effects(exact, graph, results, *worst), key=lambda effect: -effect.max_mm) if worst else []
    return Comparison(tensors.differences(), tuple(launches), tuple(effects))


class _TensorTracker:
    """The largest difference of each matched tensor so far."""

    def __init__(self, matches: Sequence[TensorMatch]) -> None:
        self._matches = matches
        self._worst = [TensorDifference(match.node, frame=0, largest=0.0, relative=0.0, isolated=0.0) for match in matches]

    def add(self, frame: int, exact: Tensors, other: Tensors, isolated: Tensors) -> LayerErrors:
        """Add one launch. Returns the isolated errors that are not zero."""
        errors: LayerErrors = {}
        for i, match in enumerate(self._matches):
            x, worst = exact[match.exact], self._worst[i]
            absolute, relative = largest(subtract(other[match.other], x), x)
            if relative > worst.relative:
                worst = replace(worst, frame=frame, largest=absolute, relative=relative)
            error = subtract(isolated[match.other], x)
            if error.any():
                errors.setdefault(match.layer, {})[match.exact] = error
                worst = replace(worst, isolated=max(largest(error, x)[1], worst.isolated))
            self._worst[i] = worst
        return errors

    def differences(self) -> tuple[TensorDifference, ...]:
        return tuple(self._worst)


def _layer_effects(
    exact: onnx.ModelProto, graph: Graph, results: Sequence[str], inputs: Tensors, errors: LayerErrors
) -> Iterator[LayerEffect]:
    """What each layer's isolated errors do: launches with a row for each layer's errors, and the first row without errors."""
    shares = np.eye(len(errors) + 1, len(errors), k=-1, dtype=np.float32)
    rows_per_launch = max(1, FRAMES_PER_LAUNCH // graph.frames)
    with open_runner(inject_errors(exact, list(errors.values())), results) as run:
        launches = [
            run({name: np.repeat(x, len(rows), axis=0) for name, x in inputs.items()} | {"shares": rows})
            for rows in np.split(shares, range(rows_per_launch, len(shares), rows_per_launch))
        ]
    outputs = {name: np.concatenate([launch[name] for launch in launches]) for name in results}
    without_errors = {name: x[:1] for name, x in outputs.items()}
    for row, layer in enumerate(errors, 1):
        with_errors = {name: x[row : row + 1] for name, x in outputs.items()}
        yield LayerEffect(layer, *pose_and_state(without_errors, with_errors, graph))
