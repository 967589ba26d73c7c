"""Differences: where, layer by layer, one graph departs from another in the middle of a stream.

Both take the same frame and the same state, the one that the exact side has come to: what differs is this launch's arithmetic
and not the past, which is what ``verify`` measures. Three things are told apart: by how much a tensor differs; how much of it
is its own, were all that it is made of exact; and what the own differences of a layer, those of all others being none, do to
the pose and to the state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.artefact.manifest import Graph
from ...runtime.engines.tensorrt.plan import EngineName
from ...runtime.errors import UsageError
from ..measure.rollout import Recording, feeds
from .matches import TensorMatch, as_computed, inject_errors, isolate_errors, match_tensors, of_one_stream
from .runners import Feed, Run, check_ready, open_runner

SMALLEST = 1e-12  # below this a tensor is zeros, and nothing is relative to it
FRAMES = 256  # of a launch: as many layers' shares as there is memory for

Shifts = dict[str, dict[str, NDArray[np.float32]]]  # layer -> tensor -> what it makes of its own of a difference


@dataclass(frozen=True)
class Difference:
    """Of one tensor, over all launches.

    Args:
        node: that makes it, named after its module.
        frame: in which it differed most.
        largest: of its numbers' differences then.
        relative: to the tensor's root mean square.
        own: as ``relative``, were all that it is made of exact; over all launches, too.
    """

    node: str
    frame: int
    largest: float
    relative: float
    own: float


@dataclass(frozen=True)
class Share:
    """What a layer's own differences do in one launch, all other layers being exact.

    Args:
        mean_mm, max_mm: the pose's joints: mean and worst.
        state: the carried state's largest difference, relative to its root mean square; 0 where nothing is carried.
    """

    layer: str
    mean_mm: float
    max_mm: float
    state: float


@dataclass(frozen=True)
class Answer:
    """How far the poses of one launch are apart, and the states after it (as in ``Share``)."""

    frame: int
    mean_mm: float
    max_mm: float
    state: float


@dataclass(frozen=True)
class Differences:
    """Of two graphs.

    Args:
        tensors: what both compute, in the graph's order.
        answers: launch by launch.
        shares: in the launch whose poses are furthest apart, the most harmful layer first.
    """

    tensors: tuple[Difference, ...]
    answers: tuple[Answer, ...]
    shares: tuple[Share, ...]

    @property
    def worst(self) -> Answer:
        """The launch whose poses are furthest apart."""
        return max(self.answers, key=lambda one: one.max_mm)

    def first(self, tolerance: float) -> Difference | None:
        """The first tensor that differs, relative to its root mean square, by more than that."""
        return next((one for one in self.tensors if one.relative > tolerance), None)


def differences(
    exact: onnx.ModelProto | Path,
    other: onnx.ModelProto | Path,
    graph: Graph,
    recording: Recording,
    *,
    engine: EngineName | None = None,
    after: int = 0,
    tick: Callable[[int], None] = lambda frames: None,
) -> Differences:
    """Run two graphs of one model side by side over a recording and compare what they compute.

    Args:
        exact: a graph or its file, computed by ONNX Runtime, half precision with true rounding. It carries the state.
        other: the same in another precision, or the same graph for another engine.
        graph: the record of either in the manifest.
        engine: of the other side; None is ONNX Runtime, too.
        after: frames that go by before; those of a launch that reaches beyond them are compared.
        tick: called with the number of frames just taken.
    """
    check_ready(engine)
    if len(recording) <= after:
        raise UsageError(f"{len(recording)} frames, of which {after} go by before", expected="at least one to compare")
    exact, other = (onnx.load(str(one)) if isinstance(one, Path) else one for one in (exact, other))
    places = match_tensors(exact, other)
    exact = as_computed(exact)
    one, two = of_one_stream(exact), of_one_stream(other if engine else as_computed(other))
    answers = ["pose", *(state.output for state in graph.states)]
    seen, told = _Seen(places), []
    worst: tuple[Feed, Shifts] | None = None
    with ExitStack() as stack:

        def opened(model: onnx.ModelProto, tensors: Iterable[str], engine: EngineName | None = None) -> Run:
            return stack.enter_context(open_runner(model, [*tensors, *answers], engine=engine))

        theirs = opened(two, (place.other for place in places), engine)
        alone = opened(isolate_errors(two, places), (place.other for place in places), engine)
        ours = opened(one, (place.exact for place in places))
        quick = opened(one, ())
        carried: Feed = {state.input: np.zeros([1, *map(int, state.shape[1:])], state.dtype) for state in graph.states}
        frame = 0
        for given, taken in feeds(graph, recording):
            feed = taken | carried
            if frame + given <= after:
                made = quick(feed)
            else:
                made, there = ours(feed), theirs(feed)
                shifts = seen.add(frame, made, there, alone(feed | {place.given: made[place.exact] for place in places}))
                told.append(Answer(frame, *_apart(made, there, graph, given)))
                if worst is None or told[-1].max_mm > max(one.max_mm for one in told[:-1]):
                    worst = feed, shifts
            carried = {state.input: made[state.output] for state in graph.states}
            frame += given
            tick(given)
    shares = sorted(_shares(exact, graph, answers, *worst), key=lambda one: -one.max_mm) if worst else []
    return Differences(seen.told(), tuple(told), tuple(shares))


class _Seen:
    """What has been seen of each place until now."""

    def __init__(self, places: Sequence[TensorMatch]) -> None:
        self._places = places
        self._worst = [Difference(place.node, frame=0, largest=0.0, relative=0.0, own=0.0) for place in places]

    def add(self, frame: int, ours: Feed, theirs: Feed, alone: Feed) -> Shifts:
        """One launch. Answers with the own differences: those that are none left out."""
        shifts: Shifts = {}
        for i, place in enumerate(self._places):
            x, worst = ours[place.exact], self._worst[i]
            largest, relative = _size(_minus(theirs[place.other], x), x)
            if relative > worst.relative:
                worst = replace(worst, frame=frame, largest=largest, relative=relative)
            shift = _minus(alone[place.other], x)
            if shift.any():
                shifts.setdefault(place.layer, {})[place.exact] = shift
                worst = replace(worst, own=max(_size(shift, x)[1], worst.own))
            self._worst[i] = worst
        return shifts

    def told(self) -> tuple[Difference, ...]:
        return tuple(self._worst)


def _shares(exact: onnx.ModelProto, graph: Graph, answers: Sequence[str], feed: Feed, shifts: Shifts) -> Iterator[Share]:
    """What each layer's own differences do: a row of a launch for each layer, and one for none."""
    rows = np.eye(len(shifts) + 1, len(shifts), k=-1, dtype=np.float32)
    few = max(1, FRAMES // graph.frames)
    with open_runner(inject_errors(exact, list(shifts.values())), answers) as run:
        made = [
            run({name: np.repeat(x, len(part), axis=0) for name, x in feed.items()} | {"shares": part})
            for part in np.split(rows, range(few, len(rows), few))
        ]
    all_rows = {name: np.concatenate([of[name] for of in made]) for name in answers}
    none = {name: x[:1] for name, x in all_rows.items()}
    for row, layer in enumerate(shifts, 1):
        yield Share(layer, *_apart(none, {name: x[row : row + 1] for name, x in all_rows.items()}, graph))


def _apart(ours: Feed, theirs: Feed, graph: Graph, given: int | None = None) -> tuple[float, float, float]:
    """Two launches' answers: joints' mean and worst distance in mm, of the frames that were given, and the states'."""
    apart = _minus(theirs["pose"], ours["pose"])  # (1, J, 3), or (1, T, J, 3)
    mm = 1000 * np.linalg.norm(apart.reshape(-1, *apart.shape[-2:])[:given], axis=-1)
    states = (_size(_minus(theirs[one.output], ours[one.output]), ours[one.output])[1] for one in graph.states)
    return _finite(mm.mean()), _finite(mm.max()), max(states, default=0.0)


def _minus(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
    """a - b, and nothing where both are the same infinity."""
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0, np.float32(a) - b).astype(np.float32, copy=False)


def _size(difference: NDArray[np.float32], of: NDArray[Any]) -> tuple[float, float]:
    """The largest of a tensor's differences, as it is and relative to the tensor's root mean square."""
    largest = _finite(np.abs(difference).max())
    return largest, largest / max(float(np.sqrt(np.mean(np.square(of, dtype=np.float64)))), SMALLEST)


def _finite(x: Any) -> float:
    """Not a number is worse than any."""
    return math.inf if math.isnan(x) else float(x)
