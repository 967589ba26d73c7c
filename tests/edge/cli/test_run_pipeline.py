"""What a person at the terminal sees of a run without end."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from posemoe_edge.edge.cli.output import Output
from posemoe_edge.edge.cli.run_pipeline import run_pipeline, status_lines
from posemoe_edge.runtime.events import ClockReset, Event, PoseFrame, SourceBack, SourceLost
from posemoe_edge.runtime.live_status import LiveStatus
from posemoe_edge.runtime.model import load
from posemoe_edge.runtime.pipeline import Pipeline
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.sources import BaseSource, SourceInfo, SyntheticSource
from rich.console import Console

POSE = Pose(np.zeros((17, 3), np.float32), np.ones(17, np.float32), 0.0, 0.02, latency_frames=0, gap="decay")


def output(*, terminal: bool) -> tuple[Output, io.StringIO]:
    """An output, and what it wrote."""
    text = io.StringIO()
    return Output(False, False, Console(file=text, force_terminal=terminal, width=120, soft_wrap=True, highlight=False)), text


class Unreliable(BaseSource):
    """A camera that is unplugged, comes back, and counts its time anew."""

    info = SourceInfo("unreliable", fps=50.0, live=True)

    def __iter__(self):  # type: ignore[no-untyped-def]
        people = list(SyntheticSource(frames=3))
        yield from people
        yield SourceLost(0.06, "unplugged")
        yield SourceBack(9.0)
        yield replace(people[0], t_s=9.0)
        yield from people[:1]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_run_without_end_shows_how_it_goes_at_a_terminal_alone(terminal: bool) -> None:
    out, text = output(terminal=terminal)
    status, seen = LiveStatus(), list[Event]()
    stats = run_pipeline(out, Pipeline(Unreliable(), load()), [], total=None, status=status, watch=[seen.append])
    assert stats.frames == status.now().frames == 5 == sum(isinstance(event, PoseFrame) for event in seen)
    assert ("fps, 1 person" in text.getvalue()) is terminal
    assert "lost at 0.06 s: unplugged" in text.getvalue() and "back at 9.00 s" in text.getvalue()
    assert "began anew: from 9.000 s to 0.000 s" in text.getvalue()


def test_the_lines_say_what_went_wrong_and_nothing_of_what_did_not() -> None:
    status = LiveStatus(fps=50)
    stages_s = {"detect": 0.0181, "lift": 0.0022}
    status.add(replace(PoseFrame(0.0, {0: POSE}), stages_s=stages_s, lag_s=0.025))
    first, second, third = status_lines(status.now()).splitlines()
    assert first == "  0.0 fps, 1 person, lag 25 ms (at most 25), 1 frame"
    assert second == "  a frame takes 20.3 ms: detect 18.1, lift 2.2"
    assert third == "  deadlines missed 1, gaps (decay) 1"
    assert status_lines(LiveStatus().now()).splitlines() == ["  0.0 fps, 0 people, 0 frames"]
    status.add(SourceLost(1.0, "unplugged"))
    status.add(ClockReset(0.0, before_s=1.0))
    lines = status_lines(status.now())
    assert lines.startswith("  the source is lost") and "source lost 1, clock resets 1" in lines
