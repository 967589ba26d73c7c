"""A pipeline: people come and go in a source, and events say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime import Frame, FrameRefused, GapPolicy, Model, Pipeline, PoseFrame, TrackLost, TrackStarted, load
from posemoe_edge.runtime.sources.base import BaseSource

Walk = Callable[..., np.ndarray]


class Listed(BaseSource):
    """A source of frames that are there already."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.listed, self.fps, self.frames = frames, 50.0, len(frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.listed)


@pytest.fixture
def model(retention_artefact: Path) -> Model:
    return load(retention_artefact, gaps=GapPolicy(decay_after_s=0.1, reset_after_s=0.5))


@pytest.fixture
def frame(walker_keypoints: Walk) -> Callable[..., Frame]:
    """frame(3, 0, 1): the frame at 0.06 s, with the people 0 and 1."""
    return lambda i, *people: Frame(t_s=i * 0.02, people={p: walker_keypoints(100, seed=p)[i] for p in people})


def told(events: Sequence[object]) -> list[tuple[str, float, tuple[int, ...]]]:
    """Name, time and people of each event."""
    rows = []
    for event in events:
        if isinstance(event, PoseFrame):
            rows.append(("poses", round(event.frame.t_s, 6), tuple(event.poses)))
        else:
            assert isinstance(event, TrackStarted | TrackLost | FrameRefused)
            rows.append((type(event).__name__, round(event.t_s, 6), (event.person,)))
    return rows


def test_people_start_are_lifted_and_are_lost(model: Model, frame: Callable[..., Frame]) -> None:
    seen = [frame(0, 0), frame(1, 0, 1), frame(2, 1), frame(20, 1), frame(25, 1), frame(26, 1, 0)]
    assert told(list(Pipeline(Listed(seen), model))) == [
        ("TrackStarted", 0.0, (0,)),
        ("poses", 0.0, (0,)),
        ("TrackStarted", 0.02, (1,)),
        ("poses", 0.02, (0, 1)),
        ("poses", 0.04, (1,)),
        ("poses", 0.4, (1,)),
        ("poses", 0.5, (1,)),  # 0 was seen at 0.02: not half a second ago
        ("TrackLost", 0.52, (0,)),  # what was known is forgotten ...
        ("TrackStarted", 0.52, (0,)),  # ... and whoever comes back is new
        ("poses", 0.52, (1, 0)),
    ]


def test_poses_are_those_of_streams_and_carry_their_person(
    model: Model, frame: Callable[..., Frame], walker_keypoints: Walk
) -> None:
    streams = {p: model.stream() for p in (3, 5)}
    for event in Pipeline(Listed([frame(i, 3, 5) for i in range(10)]), model):
        if isinstance(event, PoseFrame):
            for person, pose in event.poses.items():
                expected = streams[person].step(event.frame.people[person], t=event.frame.t_s)
                np.testing.assert_allclose(pose.xyz_m, expected.xyz_m, atol=1e-5)
                assert pose.person == person


def test_a_bad_frame_of_one_person_costs_the_others_nothing(model: Model, frame: Callable[..., Frame]) -> None:
    frames = [frame(i, 0, 1) for i in range(6)]
    bad = frames[3].people[1].copy()
    bad[2] = np.nan
    spoilt = [*frames[:3], Frame(frames[3].t_s, {0: frames[3].people[0], 1: bad}), *frames[4:]]
    events, clean = list(Pipeline(Listed(spoilt), model)), list(Pipeline(Listed(frames), model))
    refused = [event for event in events if isinstance(event, FrameRefused)]
    assert [(event.person, round(event.t_s, 6)) for event in refused] == [(1, 0.06)] and "joint 2" in str(refused[0].error)
    poses, expected = ([e.poses for e in each if isinstance(e, PoseFrame)] for each in (events, clean))
    assert [set(each) for each in poses] == [{0, 1}] * 3 + [{0}] + [{0, 1}] * 2
    for a, b in zip(poses, expected, strict=True):
        np.testing.assert_allclose(a[0].xyz_m, b[0].xyz_m, atol=1e-5)
    assert poses[4][1].dt_s == pytest.approx(0.04)  # the refused frame was never there


def test_time_that_goes_back_is_refused_and_not_fatal(model: Model, frame: Callable[..., Frame]) -> None:
    rows = told(list(Pipeline(Listed([frame(0, 0), frame(2, 0), frame(1, 0), frame(3, 0)]), model)))
    assert [row[0] for row in rows] == ["TrackStarted", "poses", "poses", "FrameRefused", "poses", "poses"]
    assert rows[4] == ("poses", 0.02, ())


def test_an_empty_frame_is_a_frame(model: Model, frame: Callable[..., Frame]) -> None:
    assert told(list(Pipeline(Listed([frame(0), frame(1)]), model))) == [("poses", 0.0, ()), ("poses", 0.02, ())]


def test_slots_are_released_however_the_run_ends(model: Model, frame: Callable[..., Frame]) -> None:
    for _ in range(5):
        for event in Pipeline(Listed([frame(i, 0, 1, 2) for i in range(5)]), model):
            if isinstance(event, PoseFrame) and event.frame.t_s > 0.03:
                break
    assert model._slots._allocator.capacity == 4 and len(model._slots._allocator._free) == 4


def test_it_says_how_long_a_step_took(model: Model, frame: Callable[..., Frame]) -> None:
    pipeline = Pipeline(Listed([frame(i, 0) for i in range(3)]), model)
    assert pipeline.step_s == 0
    for event in pipeline:
        assert not isinstance(event, PoseFrame) or 0 < pipeline.step_s < 1


def test_a_source_that_goes_on_may_be_played_in_two_rounds(model: Model, frame: Callable[..., Frame]) -> None:
    source = Listed([frame(0, 0), frame(1, 0)])
    pipeline = Pipeline(source, model)
    list(pipeline)
    source.listed = [frame(60, 1)]
    assert [row[0] for row in told(list(pipeline))] == ["TrackStarted", "poses"]
