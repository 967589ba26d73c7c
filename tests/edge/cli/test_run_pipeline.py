"""What a person at the terminal sees of a run without end."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from posemoe_edge.edge.cli.output import Output
from posemoe_edge.edge.cli.run_pipeline import run_pipeline, status_lines
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.artefact.certificate import Budget
from posemoe_edge.runtime.events import ClockReset, Event, PoseFrame, SourceBack, SourceLost
from posemoe_edge.runtime.live_status import LiveStatus
from posemoe_edge.runtime.model import load
from posemoe_edge.runtime.pipeline import Pipeline
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.shadow import Shadow
from posemoe_edge.runtime.sources import BaseSource, SourceInfo, SyntheticSource
from posemoe_edge.runtime.state import StreamState
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
    assert "started again: from 9.000 s to 0.000 s" in text.getvalue()


def test_the_drift_of_a_shadow_is_a_line_of_its_own_once_there_is_one() -> None:
    class Lifter:
        def lift(self, keypoints: F32, dt_s: F32, reset: NDArray[np.bool_], state: StreamState | None) -> Any:
            return np.zeros((*keypoints.shape[:2], 3), np.float32) + 0.003, state  # 5.2 mm from nothing

    budget = Budget(mean_mm=1, p99_mm=5, max_mm=20, slope_mm_per_1000=0.1, mpjpe_loss_mm=0.5)
    shadow = Shadow(Lifter(), budget=budget, share=1, span=10, on_report=lambda line: None)
    status = LiveStatus(shadow=shadow.report)
    assert "shadow" not in status_lines(status.now())
    out, _ = output(terminal=False)
    with shadow:
        run_pipeline(out, Pipeline(SyntheticSource(frames=30), load(shadow=shadow)), [], total=30, status=status)
    report = shadow.report()
    assert report.drift_mm is not None and report.frames == 30 and status.now().shadow == report
    *_, drift, troubles = status_lines(status.now()).splitlines()
    assert f"mean {report.drift_mm.mean:.2g}, " in drift and "over 30 frames" in drift
    assert "shadow's spans over the budget 3" in troubles


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
