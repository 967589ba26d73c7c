"""A recorded run is lifted again to the same poses, bit for bit, and what differs is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime import FieldOfView, Model, Pipeline, SourceError, UsageError, load

pytest.importorskip("mcap")
pytest.importorskip("rosbags")

from posemoe_edge.runtime.events import Event, PoseFrame
from posemoe_edge.runtime.replay import open_recording, replay
from posemoe_edge.runtime.ros.recorded_run import keypoints_text, recorded_frame, run_record
from posemoe_edge.runtime.sinks import mcap as mcap_sink
from posemoe_edge.runtime.sinks import open_sink
from posemoe_edge.runtime.sources import SyntheticSource
from posemoe_edge.runtime.sources.iterable import IterableSource

PEOPLE, FRAMES = 2, 40


@pytest.fixture
def model(retention_artefact: Path) -> Model:
    return load(retention_artefact)


def record(path: Path, model: Model, **options: Any) -> None:
    Pipeline(SyntheticSource(people=PEOPLE, frames=FRAMES, noise_px=2), model, **options).run([open_sink(f"mcap:{path}")])


@pytest.mark.parametrize("options", [{}, {"flip": True}, {"view": "off"}, {"camera": FieldOfView(70.0)}], ids=str)
def test_a_replay_has_the_same_poses_bit_for_bit(tmp_path: Path, model: Model, options: dict[str, Any]) -> None:
    record(tmp_path / "run.mcap", model, **options)
    report = replay(open_recording(str(tmp_path / "run.mcap")), model)
    assert report.identical and report.same_graph and report.same_engine and report.first is None
    assert (report.frames, report.poses, report.equal, report.max_mm) == (FRAMES, PEOPLE * FRAMES, PEOPLE * FRAMES, 0)


@pytest.mark.parametrize("hold_s", [0.0, 0.05, 0.3])
def test_joints_that_flicker_are_held_as_long_as_in_the_recorded_run(tmp_path: Path, model: Model, hold_s: float) -> None:
    walk = list(SyntheticSource(people=PEOPLE, frames=FRAMES, noise_px=2))
    for number, people in enumerate(walk):
        for keypoints in people.keypoints.values():
            keypoints.points[[number % 17, 13], 2] *= number % 5 == 0
    Pipeline(IterableSource(walk, pictures=False), model, hold_s=hold_s).run([open_sink(f"mcap:{tmp_path / 'run.mcap'}")])
    assert replay(open_recording(str(tmp_path / "run.mcap")), model).identical


@pytest.mark.parametrize("hold_s", ["nan", "-1", "inf", "long"])
def test_a_recorded_hold_that_is_none_is_named_with_its_file(
    tmp_path: Path, model: Model, hold_s: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcap_sink, "run_record", lambda run: run_record(run) | {"hold_s": hold_s})
    record(tmp_path / "run.mcap", model)
    with pytest.raises(SourceError, match=rf"run\.mcap: the recorded hold_s is {hold_s}; expected 0 or more seconds"):
        open_recording(str(tmp_path / "run.mcap"))


def test_a_recording_holds_the_very_poses(tmp_path: Path, model: Model) -> None:
    events: list[Event] = []
    sink = open_sink(f"mcap:{tmp_path / 'run.mcap'}")
    Pipeline(SyntheticSource(people=PEOPLE, frames=3), model).run([sink], on_event=events.append)
    lifted = [event for event in events if isinstance(event, PoseFrame)]
    recorded = list(open_recording(str(tmp_path / "run.mcap")).recorded())
    assert len(recorded) == len(lifted) == 3
    for (people, poses), frame in zip(recorded, lifted, strict=True):
        assert people.t_s == frame.t_s and poses.keys() == frame.poses.keys()
        assert all(np.array_equal(poses[p], frame.poses[p].xyz_m) and poses[p].dtype == np.float32 for p in poses)


def test_another_precision_is_near_and_says_where_it_differs_first(
    tmp_path: Path, model: Model, retention_artefact: Path
) -> None:
    record(tmp_path / "run.mcap", model)
    report = replay(open_recording(str(tmp_path / "run.mcap")), load(retention_artefact, precision="fp16"))
    assert not report.identical and not report.same_graph and report.same_engine
    assert report.first is not None and report.first.t_s == 0 and report.first.mm > 0
    assert report.max_mm is not None and 0 < report.max_mm < 100 and report.lost == report.added == 0


def test_one_changed_pose_is_found(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path / "run.mcap", model)
    recording = open_recording(str(tmp_path / "run.mcap"))
    frames = list(recording.recorded())
    frames[7][1][1][3, 0] += np.float32(0.004)  # of person 1, the right ankle
    monkeypatch.setattr(recording, "recorded", lambda: iter(frames))
    report = replay(recording, model)
    assert report.first is not None and report.poses - report.equal == 1
    assert (report.first.t_s, report.first.person, report.first.joint) == (frames[7][0].t_s, 1, 3)
    assert report.first.mm == pytest.approx(4, abs=0.01)


def test_poses_that_one_run_alone_has_are_counted(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path / "run.mcap", model)
    recording = open_recording(str(tmp_path / "run.mcap"))
    frames = list(recording.recorded())
    frames[2][1][9] = frames[2][1].pop(0)
    monkeypatch.setattr(recording, "recorded", lambda: iter(frames))
    report = replay(recording, model)
    assert (report.lost, report.added) == (1, 1) and not report.identical and report.equal == report.poses


def test_a_part_of_a_recording_is_replayed(tmp_path: Path, model: Model) -> None:
    record(tmp_path / "run.mcap", model)
    report = replay(open_recording(str(tmp_path / "run.mcap"), frames=5), model)
    assert report.frames == 5 and report.identical


def test_a_smoothed_run_cannot_be_compared_and_says_so(tmp_path: Path, model: Model) -> None:
    record(tmp_path / "run.mcap", model, smooth="light")
    with pytest.raises(UsageError, match="--smooth light"):
        open_recording(str(tmp_path / "run.mcap"))


def test_a_recording_of_others_is_refused(tmp_path: Path, model: Model) -> None:
    sink = open_sink(f"mcap:{tmp_path / 'run.mcap'}")
    for event in Pipeline(SyntheticSource(frames=2), model):
        sink.write(event)  # without a RunInfo
    sink.close()
    with pytest.raises(SourceError, match="does not say which model"):
        open_recording(str(tmp_path / "run.mcap"))


def test_keypoints_of_an_older_recording_have_no_poses(walker_keypoints: Callable[..., Any], model: Model) -> None:
    frame = next(event for event in Pipeline(SyntheticSource(frames=1), model) if isinstance(event, PoseFrame))
    older = json.loads(keypoints_text(changed(frame, poses={})))
    del older["poses"]
    people, poses = recorded_frame(json.dumps(older))
    assert poses == {} and people.keypoints.keys() == {0}
    with pytest.raises(SourceError, match="holds no poses"):
        recorded_frame(json.dumps(older | {"poses": {"0": "not base64!"}}))
