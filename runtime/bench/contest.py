"""Steps of several models and numbers of people, interleaved, so that a busy machine disturbs all of them alike."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np

from ..arrays import F32, F64
from ..engines import Selection, open_engine
from ..model import Model
from ..stream import Stream
from .bare_launch import BareLaunch

WARM_UP = 20  # steps
LEAST_STEPS = 30  # of each contestant, however long they take


@dataclass(frozen=True)
class StepTimes:
    """How long steps took, in milliseconds.

    Args:
        p50, p90, p99, max: of a whole step: checks, copies, the launch, poses.
        launch_p50: of the launch alone, by a bare binding beside it.
        missed: the share of steps that took longer than their frames last.
        steps: how many were measured.
    """

    p50: float
    p90: float
    p99: float
    max: float
    launch_p50: float
    missed: float
    steps: int


@dataclass
class Contestant:
    """A model with so many people in one step. A chunk graph answers once in a chunk: its step is a whole chunk.

    Args:
        selection: what the model was opened from: the graph and its engine.
        model: opened for this contestant alone, and the caller's to close: a launch has a row for each slot up to the last.
        streams: people.
        threads: of the engine.
    """

    selection: Selection
    model: Model
    streams: int
    threads: int = 1
    step_s: list[float] = field(default_factory=list)
    launch_s: list[float] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """How many frames a step takes in."""
        graph = self.selection.graph
        return graph.frames if graph.mode == "chunk" else 1

    def times(self, fps: float) -> StepTimes:
        """The times so far, at a camera of that rate."""
        step_ms: F64 = 1000 * np.array(self.step_s)
        p50, p90, p99 = (float(np.quantile(step_ms, q)) for q in (0.5, 0.9, 0.99))
        return StepTimes(
            p50=p50,
            p90=p90,
            p99=p99,
            max=float(step_ms.max()),
            launch_p50=1000 * float(np.median(self.launch_s)),
            missed=float((step_ms > 1000 * self.frames / fps).mean()),
            steps=len(step_ms),
        )


def run_contest(
    contestants: Sequence[Contestant],
    frames: Sequence[F32],
    *,
    seconds: float,
    on_round: Callable[[float], None] = lambda took_s: None,
) -> None:
    """Step all contestants in turn for so many seconds, and note their times in them.

    Args:
        frames: (17, 3) normalised keypoints, one after the other; people walk through them at different places.
        seconds: of the measurement in all.
        on_round: called after each round with the seconds that it took.

    Raises:
        ValueError: two contestants share a model.
    """
    if len({id(contestant.model) for contestant in contestants}) < len(contestants):
        raise ValueError("contestants share a model: each needs one of its own")
    with ExitStack() as opened:
        players = [opened.enter_context(_playing(contestant, frames)) for contestant in contestants]
        ends = time.perf_counter() + seconds
        for number in itertools.count():
            began = time.perf_counter()
            if began > ends and number >= WARM_UP + LEAST_STEPS:
                break
            for player in players:
                player.step(number, counts=number >= WARM_UP)
            on_round(time.perf_counter() - began)


@contextmanager
def _playing(contestant: Contestant, frames: Sequence[F32]) -> Iterator[_Player]:
    """Open a contestant's streams and an engine for its bare launch, and close them at the end."""
    selection = contestant.selection
    with ExitStack() as opened:
        streams = [opened.enter_context(contestant.model.stream(person=i)) for i in range(contestant.streams)]
        engine = open_engine(selection.source, engine=selection.engine, threads=contestant.threads, plan=selection.plan)
        opened.callback(engine.close)
        launch = BareLaunch(engine, selection.graph, contestant.streams, dt_s=1 / selection.manifest.fps)
        yield _Player(contestant, frames, streams, launch)


class _Player:
    """The streams and the bare launch of one contestant."""

    def __init__(self, contestant: Contestant, frames: Sequence[F32], streams: Sequence[Stream], launch: BareLaunch) -> None:
        self._contestant, self._frames, self._streams, self._launch = contestant, frames, streams, launch

    def step(self, number: int, *, counts: bool) -> None:
        frames = range(number * self._contestant.frames, (number + 1) * self._contestant.frames)
        keypoints = [
            {stream: self._frames[(frame + 7 * i) % len(self._frames)] for i, stream in enumerate(self._streams)}
            for frame in frames
        ]
        began = time.perf_counter()
        for of_streams in keypoints:
            self._contestant.model.step_batch(of_streams)
        stepped = time.perf_counter()
        self._launch()
        launched = time.perf_counter()
        if counts:
            self._contestant.step_s.append(stepped - began)
            self._contestant.launch_s.append(launched - stepped)
