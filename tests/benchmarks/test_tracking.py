"""benchmarks/tracking.py: trackers that make known mistakes are given these, and no others."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.detectors import Detection, Region

Ids = Callable[[float, Sequence[Detection]], Mapping[int, Detection]]


@pytest.fixture
def tracking(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = importlib.import_module("tracking")
    monkeypatch.setattr(module, "SECONDS", 2.0)
    return module


@pytest.fixture
def judge(tracking: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """judge(ids, frames): the mistakes of a tracker that gives these ids to detections of these people, one frame a second."""

    class Tracker:
        def __init__(self, ids: Ids) -> None:
            self._ids = ids

        def update(self, detections: Sequence[Detection], *, t_s: float) -> Mapping[int, Detection]:
            return self._ids(t_s, detections)

        def regions(self, *, t_s: float) -> Sequence[Region]:
            return ()

    def count(ids: Ids, frames: Sequence[Sequence[int]]) -> Any:
        def scene(*_: Any) -> Iterator[tuple[float, list[tuple[int, np.ndarray]]]]:
            for t, people in enumerate(frames):
                points = [(person, np.full((17, 3), (100.0 * person + 200, 50, 1))) for person in people]
                yield float(t), points

        monkeypatch.setattr(tracking, "frames", scene)
        monkeypatch.setattr(tracking, "open_tracker", lambda name: Tracker(ids))
        return tracking.judge(tracking.SCENES["easy"], 0, "any")

    return count


def by_place(t_s: float, detections: Sequence[Detection]) -> dict[int, Detection]:
    """A tracker without mistakes: people do not move here."""
    return {round((found.box_px[0] - 200) / 100): found for found in detections}


def test_a_tracker_without_mistakes_has_none(judge: Callable[..., Any]) -> None:
    counts = judge(by_place, [[0, 1], [1, 0], [1], [0, 1]])
    assert (counts.switches, counts.handovers, counts.ids, counts.detections, counts.tracked) == (0, 0, 2, 7, 7)


def test_two_who_exchange_their_ids_are_two_switches_and_two_handovers(judge: Callable[..., Any]) -> None:
    def exchanged(t_s: float, detections: Sequence[Detection]) -> dict[int, Detection]:
        return {(1 - i if t_s >= 2 else i): found for i, found in by_place(t_s, detections).items()}

    counts = judge(exchanged, [[0, 1]] * 4)
    assert (counts.switches, counts.handovers, counts.ids) == (2, 2, 2)


def test_a_new_id_is_a_switch_without_a_handover(judge: Callable[..., Any]) -> None:
    counts = judge(lambda t_s, detections: {(7 if t_s >= 2 else 0): detections[0]}, [[0]] * 4)
    assert (counts.switches, counts.handovers, counts.ids) == (1, 0, 2)


def test_people_without_an_id_are_detections_and_false_ones_are_nobody(judge: Callable[..., Any], tracking: Any) -> None:
    counts = judge(lambda t_s, detections: {}, [[0, tracking.NOBODY], [0], []])
    assert (counts.detections, counts.tracked, counts.ids) == (2, 0, 0)


def test_scenes_are_the_same_for_a_seed_and_lose_as_many_as_they_say(tracking: Any) -> None:
    scene = tracking.Scene(people=3, lost=0.3)
    once, again = (list(tracking.frames(scene, seed=4)) for _ in range(2))
    assert len(once) == 60
    for (t_s, found), (other_t_s, others) in zip(once, again, strict=True):
        assert t_s == other_t_s and [person for person, _ in found] == [person for person, _ in others]
    alone = [found for seed in range(4) for _, found in tracking.frames(tracking.Scene(people=1, lost=0.3), seed)]
    seen = np.mean([any(person == 0 for person, _ in found) for found in alone])
    assert seen == pytest.approx(0.7, abs=0.12)  # nobody hides the only one; four standard deviations
    points = next(points for found in alone for person, points in found if person == 0)
    assert points.shape == (17, 3) and points[0, 1] < points[11, 1] < points[15, 1]  # nose above hip above ankle


def test_the_command_writes_what_it_counts(
    tracking: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("scipy")
    monkeypatch.setattr(tracking, "SCENES", {"one": tracking.Scene(people=1, lost=0.0, fps=25.0)})
    tracking.main(["--seeds", "0,1", "--json", str(tmp_path / "t.json")])
    result = json.loads((tmp_path / "t.json").read_text())
    row = result["rows"][0]
    assert (row["people"], row["switches"], row["handovers"], row["detections"]) == (2, 0, 0, 100)
    assert result["tracker"] == "oks" and "switches 0" in capsys.readouterr().out
