"""A pipeline composes source, detector, tracker, lifter and sinks, and reports events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from posemoe_edge.runtime import (
    CheckFailedError,
    Event,
    FieldOfView,
    FrameRefused,
    GapPolicy,
    ImageSize,
    Keypoints,
    MissingError,
    Model,
    ModelSwapped,
    Pipeline,
    Pose,
    PoseFrame,
    RunStats,
    SourceBack,
    SourceChanged,
    SourceError,
    SourceLost,
    TrackLost,
    TrackStarted,
    UsageError,
    load,
)
from posemoe_edge.runtime.arrays import F32, ImageBgr
from posemoe_edge.runtime.detectors import Detection, Region
from posemoe_edge.runtime.pose.joint_memory import JointMemory
from posemoe_edge.runtime.pose.skeleton import COCO17, Skeleton, coco_to_h36m
from posemoe_edge.runtime.sinks import BaseSink, RunInfo, open_sink
from posemoe_edge.runtime.sources import BaseSource, CameraFrame, People, SourceInfo, SyntheticSource
from posemoe_edge.runtime.sources.base import SourceItem
from posemoe_edge.runtime.sources.iterable import IterableSource
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints
from posemoe_edge.runtime.state import StepSlots
from posemoe_edge.runtime.tracking.detection_order import DetectionOrderTracker

Walk = Callable[..., F32]
PeopleAt = Callable[..., People]


class ListSource(BaseSource):
    """A source of items that exist already."""

    def __init__(self, items: Sequence[SourceItem]) -> None:
        self.items, self.closed = items, 0

    @property
    def pictures(self) -> bool:
        return any(isinstance(item, CameraFrame) for item in self.items)

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("a list", fps=50.0, frames=len(self.items))

    def __iter__(self) -> Iterator[SourceItem]:
        return iter(self.items)

    def close(self) -> None:
        self.closed += 1


class RecordingSink(BaseSink):
    """Keeps the calls that it got; fails at the call named ``fails``."""

    def __init__(self, fails: str = "") -> None:
        self.calls: list[str] = []
        self.events: list[Event] = []
        self.info: RunInfo | None = None
        self.fails = fails

    def _record(self, call: str) -> None:
        self.calls.append(call)
        if call == self.fails:
            raise OSError(f"{call} failed")

    def open(self, run: RunInfo) -> None:
        self.info = run
        self._record("open")

    def write(self, event: Event) -> None:
        self.events.append(event)
        self._record("write")

    def close(self) -> None:
        self._record("close")

    def abort(self) -> None:
        self._record("abort")

    @property
    def lifecycle(self) -> list[str]:
        return [call for call in self.calls if call != "write"]


@pytest.fixture
def model(retention_artefact: Path) -> Model:
    return load(retention_artefact, gaps=GapPolicy(decay_after_s=0.1, reset_after_s=0.5, lost_after_s=0.5))


@pytest.fixture
def people_at(walker_keypoints: Walk) -> PeopleAt:
    """people_at(3, 0, 1): the frame at 0.06 s, with the people 0 and 1."""
    return lambda i, *people: People(i * 0.02, {p: Keypoints.from_normalised(walker_keypoints(100, seed=p)[i]) for p in people})


def event_rows(events: Sequence[Event]) -> list[tuple[str, float, tuple[int, ...]]]:
    """Name, time and people of each event."""
    rows: list[tuple[str, float, tuple[int, ...]]] = []
    for event in events:
        if isinstance(event, PoseFrame):
            people: tuple[int, ...] = tuple(event.poses)
        else:
            people = (event.person,) if isinstance(event, TrackStarted | TrackLost | FrameRefused) else ()
        rows.append((type(event).__name__, round(event.t_s, 6), people))
    return rows


def test_people_start_are_lifted_and_are_lost(model: Model, people_at: PeopleAt) -> None:
    frames = [people_at(0, 0), people_at(1, 0, 1), people_at(2, 1), people_at(20, 1), people_at(25, 1), people_at(26, 1, 0)]
    assert event_rows(list(Pipeline(ListSource(frames), model))) == [
        ("TrackStarted", 0.0, (0,)),
        ("PoseFrame", 0.0, (0,)),
        ("TrackStarted", 0.02, (1,)),
        ("PoseFrame", 0.02, (0, 1)),
        ("PoseFrame", 0.04, (1,)),
        ("PoseFrame", 0.4, (1,)),
        ("PoseFrame", 0.5, (1,)),  # 0 was seen at 0.02: less than half a second ago
        ("TrackLost", 0.52, (0,)),  # the stream of 0 is closed ...
        ("TrackStarted", 0.52, (0,)),  # ... and 0 starts again
        ("PoseFrame", 0.52, (1, 0)),
    ]


def test_poses_are_those_of_streams_and_carry_their_person(model: Model, people_at: PeopleAt) -> None:
    streams = {p: model.stream() for p in (3, 5)}
    events = Pipeline(ListSource([people_at(i, 3, 5) for i in range(10)]), model)
    frames = [event for event in events if isinstance(event, PoseFrame)]
    assert [set(frame.poses) for frame in frames] == [{3, 5}] * 10
    for frame in frames:
        for person, pose in frame.poses.items():
            expected = streams[person].step(frame.keypoints[person].normalised(), t=frame.t_s)
            np.testing.assert_allclose(pose.xyz_m, expected.xyz_m, atol=1e-5)
            assert pose.person == person


def without_joint(frame: People, joint: int) -> People:
    """The frame, with one joint of everybody not seen."""
    points = {person: keypoints.points.copy() for person, keypoints in frame.keypoints.items()}
    for of_person in points.values():
        of_person[joint] = 0
    return People(frame.t_s, {person: Keypoints.from_normalised(of_person) for person, of_person in points.items()})


def test_joints_that_flicker_are_held_for_the_model_and_passed_on_as_they_were_seen(model: Model, people_at: PeopleAt) -> None:
    frames = [people_at(i, 0) for i in range(8)]
    frames[3:5] = [without_joint(frame, 13) for frame in frames[3:5]]
    memory, held, missing = JointMemory(), model.stream(), model.stream()
    with_memory = [event for event in Pipeline(ListSource(frames), model) if isinstance(event, PoseFrame)]
    without = [event for event in Pipeline(ListSource(frames), model, hold_s=0) if isinstance(event, PoseFrame)]
    for number, (frame, ours, plain) in enumerate(zip(frames, with_memory, without, strict=True)):
        fed = memory.fill(frame.keypoints[0], frame.t_s)
        np.testing.assert_array_equal(ours.poses[0].xyz_m, held.step(fed.normalised(), t=frame.t_s).xyz_m)
        np.testing.assert_array_equal(plain.poses[0].xyz_m, missing.step(frame.keypoints[0].normalised(), t=frame.t_s).xyz_m)
        assert (ours.keypoints[0].score[13] == 0) == (number in (3, 4)) and ours.poses[0].score[13] > 0
    with pytest.raises(UsageError, match="held for -1 s"):
        Pipeline(ListSource(frames), model, hold_s=-1)


def test_a_position_is_not_measured_by_joints_that_are_held() -> None:
    walk = list(SyntheticSource(frames=8))
    for people in walk[5:]:
        people.keypoints[0].points[:, 2] = 0
    events = Pipeline(ListSource(walk), load(), camera=FieldOfView(70.0))
    roots = [event.poses[0].root for event in events if isinstance(event, PoseFrame)]
    held_s = [None if root is None else root.held_s for root in roots]
    assert held_s[:5] == [0] * 5 and held_s[5:] == pytest.approx([0.02, 0.04, 0.06])


def test_a_person_who_comes_again_remembers_no_joints(model: Model, people_at: PeopleAt) -> None:
    frames = [people_at(0, 0), without_joint(people_at(26, 0), 13)]  # half a second later: forgotten
    events = [event for event in Pipeline(ListSource(frames), model, hold_s=9) if isinstance(event, PoseFrame)]
    assert events[1].poses[0].score[13] == 0


def test_a_bad_frame_of_one_person_costs_the_others_nothing(model: Model, people_at: PeopleAt) -> None:
    frames = [people_at(i, 0, 1) for i in range(6)]
    bad = frames[3].keypoints[1].points.copy()
    bad[2] = np.nan
    damaged = People(frames[3].t_s, {0: frames[3].keypoints[0], 1: Keypoints.from_normalised(bad)})
    events = list(Pipeline(ListSource([*frames[:3], damaged, *frames[4:]]), model))
    clean = list(Pipeline(ListSource(frames), model))
    refused = [event for event in events if isinstance(event, FrameRefused)]
    assert [(event.person, round(event.t_s, 6)) for event in refused] == [(1, 0.06)] and "joint 2" in str(refused[0].error)
    poses, expected = ([e.poses for e in run if isinstance(e, PoseFrame)] for run in (events, clean))
    assert [set(frame) for frame in poses] == [{0, 1}] * 3 + [{0}] + [{0, 1}] * 2
    for a, b in zip(poses, expected, strict=True):
        np.testing.assert_allclose(a[0].xyz_m, b[0].xyz_m, atol=1e-5)
    assert poses[4][1].dt_s == pytest.approx(0.04)  # as if there had been no such frame


def test_time_that_goes_back_is_refused_and_not_fatal(model: Model, people_at: PeopleAt) -> None:
    rows = event_rows(list(Pipeline(ListSource([people_at(0, 0), people_at(2, 0), people_at(1, 0), people_at(3, 0)]), model)))
    assert [row[0] for row in rows] == ["TrackStarted", "PoseFrame", "PoseFrame", "FrameRefused", "PoseFrame", "PoseFrame"]
    assert rows[4] == ("PoseFrame", 0.02, ())


def test_an_empty_frame_is_a_frame(model: Model, people_at: PeopleAt) -> None:
    rows = event_rows(list(Pipeline(ListSource([people_at(0), people_at(1)]), model)))
    assert rows == [("PoseFrame", 0.0, ()), ("PoseFrame", 0.02, ())]


def test_slots_are_released_however_it_ends(model: Model, people_at: PeopleAt) -> None:
    for _ in range(5):
        for event in Pipeline(ListSource([people_at(i, 0, 1, 2) for i in range(5)]), model):
            if isinstance(event, PoseFrame) and event.t_s > 0.03:
                break
    assert isinstance(model._slots, StepSlots)
    assert model._slots._allocator.capacity == 4 and len(model._slots._allocator._free) == 4


def test_it_says_how_long_a_step_took(model: Model, people_at: PeopleAt) -> None:
    events = Pipeline(ListSource([people_at(i, 0) for i in range(3)]), model)
    frames = [event for event in events if isinstance(event, PoseFrame)]
    assert [list(frame.stages_s) for frame in frames] == [["view", "lift", "root"]] * 3
    assert all(0 < frame.step_s < 1 for frame in frames)


def test_a_source_that_continues_may_be_iterated_twice(model: Model, people_at: PeopleAt) -> None:
    source = ListSource([people_at(0, 0), people_at(1, 0)])
    pipeline = Pipeline(source, model)
    list(pipeline)
    source.items = [people_at(60, 1)]
    assert [row[0] for row in event_rows(list(pipeline))] == ["TrackStarted", "PoseFrame"]
    assert source.closed == 0  # an open source stays the caller's


def test_a_lost_source_is_passed_on(model: Model, people_at: PeopleAt) -> None:
    source = ListSource([people_at(0, 0), SourceLost(0.1, "unplugged"), SourceBack(0.3), people_at(20, 0)])
    assert [row[0] for row in event_rows(list(Pipeline(source, model)))] == [
        "TrackStarted",
        "PoseFrame",
        "SourceLost",
        "SourceBack",
        "PoseFrame",
    ]


class TwoPeopleDetector:
    """Two people in pixels, in COCO-17."""

    skeleton: Skeleton = COCO17

    def __init__(self, points_px: NDArray[np.floating]) -> None:
        self.points_px = points_px  # (P, 17, 3)

    def detect(self, image_bgr: ImageBgr, *, regions: Sequence[Region] | None = None) -> list[Detection]:
        return [Detection.from_coco(points, size=ImageSize.of(image_bgr)) for points in self.points_px]


class CountingTracker(DetectionOrderTracker):
    """Counts how often it was reset."""

    resets = 0

    def reset(self) -> None:
        self.resets += 1


@pytest.fixture
def coco_px() -> F32:
    """(2, 17, 3) two people in a picture of 640 x 480."""
    points_px = np.random.default_rng(3).uniform(100, 400, (2, 17, 3)).astype(np.float32)
    points_px[..., 2] = 0.8
    return points_px


def test_pictures_go_through_the_detector_the_recipe_and_normalisation(model: Model, coco_px: F32) -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    source = ListSource([CameraFrame(i * 0.02, image) for i in range(3)])
    frames = [
        e for e in Pipeline(source, model, detector=TwoPeopleDetector(coco_px), tracker="order") if isinstance(e, PoseFrame)
    ]
    assert [set(frame.poses) for frame in frames] == [{0, 1}] * 3 and frames[0].image_bgr is image
    np.testing.assert_array_equal(frames[0].keypoints[1].points, coco_px[1])  # still in pixels
    h36m = coco_to_h36m(coco_px[1], model.manifest.keypoint_recipe)
    h36m[:, 0], h36m[:, 1] = h36m[:, 0] / 320 - 1, h36m[:, 1] / 320 - 0.75
    np.testing.assert_allclose(
        frames[0].poses[1].xyz_m, model.stream().step(h36m, t=0).xyz_m, atol=1e-4
    )  # normalised in float32 here, in float64 there


def test_the_tracker_names_the_people(model: Model, coco_px: F32) -> None:
    class LastFirstTracker(DetectionOrderTracker):
        resets = 0

        def update(self, detections: Sequence[Detection], *, t_s: float) -> dict[int, Detection]:
            return {7: detections[-1]}

        def reset(self) -> None:
            self.resets += 1

    tracker = LastFirstTracker()
    source = ListSource([CameraFrame(0.0, np.zeros((480, 640, 3), np.uint8))])
    pipeline = Pipeline(source, model, detector=TwoPeopleDetector(coco_px), tracker=tracker)
    assert event_rows(list(pipeline)) == [("TrackStarted", 0.0, (7,)), ("PoseFrame", 0.0, (7,))]
    assert tracker.resets == 1


def test_pictures_need_the_default_detector_if_no_other_is_given(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEMOE_EDGE_CACHE", str(tmp_path))
    with pytest.raises(MissingError, match="run: posemoe-edge detectors get blazepose"):
        Pipeline(ListSource([CameraFrame(0.0, np.zeros((4, 4, 3), np.uint8))]), model)
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    with pytest.raises(MissingError, match="detectors get blazepose"):  # known before the file is opened
        Pipeline(str(tmp_path / "a.mp4"), model).run()


def test_a_uri_is_opened_and_closed(model: Model, tmp_path: Path, walker_keypoints: Walk) -> None:
    save_keypoints(tmp_path / "walk.npz", keypoints=walker_keypoints(20), fps=50)
    pipeline = Pipeline(source=f"kpts:{tmp_path / 'walk.npz'}", model=model, frames=5)
    assert pipeline.run().frames == pipeline.run().frames == 5
    with pytest.raises(SourceError, match="no file"):
        Pipeline("nowhere.mp4", model).run()


def test_a_run_writes_all_events_and_counts_them(model: Model, people_at: PeopleAt) -> None:
    frames = [people_at(0, 0), people_at(1, 0, 1), people_at(1, 0), people_at(40, 0)]
    sinks, events = [RecordingSink(), RecordingSink()], list[Event]()
    stats = Pipeline(ListSource(frames), model).run(sinks, on_event=events.append)
    for sink in sinks:
        assert sink.lifecycle == ["open", "close"] and sink.events == events
        assert sink.info is not None and sink.info.source.name == "a list" and sink.info.mode == "step"
    assert (stats.frames, stats.people, stats.poses, stats.refused) == (4, 2, 4, 1)
    assert stats.step_ms is not None and stats.step_ms["p50"] <= stats.step_ms["p100"] and stats.mpjpe_mm is None
    assert not stats.interrupted and stats.failed_check is None


def test_a_run_is_measured_against_the_truth(model: Model) -> None:
    stats = Pipeline("synthetic://walk?people=2", model, frames=4).run()
    assert stats.mpjpe_mm is not None and stats.mpjpe_mm > 0 and stats.to_json()["mpjpe_mm"] == round(stats.mpjpe_mm, 2)


def run_with(
    frames: Sequence[People], model: Model, sinks: Sequence[RecordingSink], error: BaseException | None
) -> RunStats | Exception:
    """The statistics of a run whose source raises an error after its frames, or the error that the run raises."""

    class Failing(ListSource):
        def __iter__(self) -> Iterator[SourceItem]:
            yield from self.items
            if error is not None:
                raise error

    try:
        return Pipeline(Failing(frames), model).run(sinks)
    except (OSError, SourceError) as raised:
        return raised


@pytest.mark.parametrize(("frames", "end"), [(0, "abort"), (1, "close")])
def test_after_an_error_of_the_source_sinks_keep_what_was_lifted(
    model: Model, people_at: PeopleAt, frames: int, end: str
) -> None:
    sink, error = RecordingSink(), SourceError("unplugged")
    assert run_with([people_at(0, 0)] * frames, model, [sink], error) is error and sink.lifecycle == ["open", end]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CheckFailedError("drifted")])
def test_an_interrupt_and_a_failed_check_keep_what_was_written(model: Model, people_at: PeopleAt, error: BaseException) -> None:
    sink = RecordingSink()
    stats = run_with([people_at(0, 0)], model, [sink], error)
    assert sink.lifecycle == ["open", "close"]
    assert isinstance(stats, RunStats)
    assert stats.interrupted == isinstance(error, KeyboardInterrupt)
    assert stats.failed_check is (error if isinstance(error, CheckFailedError) else None)


def test_a_sink_that_cannot_be_opened_ends_the_run_before_it_begins(model: Model, people_at: PeopleAt) -> None:
    first, failing, last = RecordingSink(), RecordingSink("open"), RecordingSink()
    raised = run_with([people_at(0, 0)], model, [first, failing, last], None)
    assert isinstance(raised, OSError) and str(raised) == "open failed"
    assert first.lifecycle == last.lifecycle == ["open", "abort"] and failing.calls == ["open", "abort"]


def test_a_file_of_an_earlier_run_stays_if_another_sink_cannot_be_opened(model: Model, tmp_path: Path) -> None:
    earlier = tmp_path / "poses.jsonl"
    earlier.write_text("{}\n")
    with pytest.raises(OSError, match="open failed"):
        Pipeline("synthetic://walk", model, frames=1).run([open_sink(f"jsonl:{earlier}"), RecordingSink("open")])
    assert earlier.read_text() == "{}\n"


@pytest.mark.parametrize("call", ["write", "close"])
def test_a_sink_that_fails_costs_another_one_nothing(model: Model, people_at: PeopleAt, call: str) -> None:
    first, failing, last = RecordingSink(), RecordingSink(call), RecordingSink()
    stats = run_with([people_at(i, 0) for i in range(5)], model, [first, failing, last], None)
    assert isinstance(stats, RunStats)
    assert [str(error) for error in stats.sink_failures] == [f"{call} failed"] == stats.to_json()["sink_failures"]
    assert first.lifecycle == last.lifecycle == ["open", "close"] and failing.calls[-2:] == [call, "abort"]
    assert len(first.events) == len(last.events) == 6  # a start and five frames


@pytest.mark.parametrize("call", ["write", "close"])
def test_the_failure_of_the_last_sink_is_raised(model: Model, people_at: PeopleAt, call: str) -> None:
    raised = run_with([people_at(i, 0) for i in range(5)], model, [RecordingSink(call)], None)
    assert isinstance(raised, OSError) and str(raised) == f"{call} failed"


def test_events_are_plain_json(model: Model, people_at: PeopleAt) -> None:
    records: list[Mapping[str, object]] = [
        event.to_json() for event in Pipeline(ListSource([people_at(0, 0), people_at(0, 0)]), model)
    ]
    assert [record["event"] for record in records] == ["track_started", "pose_frame", "frame_refused", "pose_frame"]
    assert all(record["version"] == 1 and record["t_s"] == 0 for record in records)
    assert SourceLost(1.0, "gone").to_json() == {"event": "source_lost", "version": 1, "t_s": 1.0, "reason": "gone"}


def test_a_jump_back_of_time_starts_everybody_anew(model: Model, people_at: PeopleAt) -> None:
    events = list(Pipeline(ListSource([people_at(50, 0), people_at(0, 0), people_at(1, 0)]), model))
    assert [row[0] for row in event_rows(events)] == [
        "TrackStarted",
        "PoseFrame",
        "TrackLost",
        "ClockReset",
        "TrackStarted",
        "PoseFrame",
        "PoseFrame",
    ]
    assert events[3].to_json() == {"event": "clock_reset", "version": 1, "t_s": 0.0, "before_s": 1.0}


def test_a_clock_that_goes_back_a_little_begins_anew_after_three_frames(model: Model, people_at: PeopleAt) -> None:
    frames = [people_at(10, 0), people_at(2, 0), people_at(3, 0), people_at(4, 0), people_at(5, 0)]
    events = list(Pipeline(ListSource(frames), model))
    names = [row[0] for row in event_rows(events)]
    assert names.count("FrameRefused") == 2 and names.count("ClockReset") == 1
    assert [list(event.poses) for event in events if isinstance(event, PoseFrame)] == [[0], [], [], [0], [0]]


def test_one_frame_of_an_insane_time_costs_that_frame(model: Model, people_at: PeopleAt) -> None:
    insane = replace(people_at(1, 0), t_s=1e6)
    events = list(Pipeline(ListSource([people_at(0, 0), insane, people_at(2, 0), people_at(3, 0)]), model))
    assert [row[0] for row in event_rows(events)] == ["TrackStarted"] + ["PoseFrame", "FrameRefused"] + ["PoseFrame"] * 3
    poses = [event.poses[0] for event in events if isinstance(event, PoseFrame) and event.poses]
    assert [(pose.t_s, pose.gap) for pose in poses[1:]] == [(0.04, "none"), (0.06, "none")]


def test_a_picture_of_another_size_makes_the_tracker_forget(model: Model) -> None:
    tracker = CountingTracker()
    picture = CameraFrame(0.0, np.zeros((4, 4, 3), np.uint8))
    source = ListSource([picture, SourceChanged(0.1, 8, 8), replace(picture, t_s=0.1)])
    detector = TwoPeopleDetector(np.zeros((1, 17, 3), np.float32))
    events = list(Pipeline(source, model, detector=detector, tracker=tracker))
    assert SourceChanged(0.1, 8, 8) in events
    assert tracker.resets == 2  # at the change and at the end


def test_a_frame_says_how_long_its_poses_took_since_it_arrived(model: Model, people_at: PeopleAt) -> None:
    arrived = replace(people_at(0, 0), arrived_s=time.monotonic() - 1)
    live, file = [e for e in Pipeline(ListSource([arrived, people_at(1, 0)]), model) if isinstance(e, PoseFrame)]
    assert live.lag_s is not None and 1 < live.lag_s < 60 and file.lag_s is None


def test_keypoints_need_no_tracker(model: Model, people_at: PeopleAt) -> None:
    pipeline = Pipeline(ListSource([people_at(0, 4)]), model, tracker="no-such-tracker")
    assert event_rows(list(pipeline))[-1] == ("PoseFrame", 0.0, (4,))
    with pytest.raises(UsageError, match="no-such-tracker"):
        pictures = ListSource([CameraFrame(0.0, np.zeros((4, 4, 3), np.uint8))])
        Pipeline(pictures, model, detector=TwoPeopleDetector(np.zeros((1, 17, 3), np.float32)), tracker="no-such-tracker")


def swapping(pipeline: Pipeline, model: Model, *, after_s: float) -> list[Event]:
    """The events of a run in which the model is swapped after that frame."""
    events: list[Event] = []
    for event in pipeline:
        events.append(event)
        if isinstance(event, PoseFrame) and event.t_s == after_s:
            pipeline.swap(model)
    return events


def poses_of(events: Sequence[Event], person: int = 0) -> list[Pose]:
    return [event.poses[person] for event in events if isinstance(event, PoseFrame)]


@pytest.mark.parametrize("flip", [False, True])
def test_the_same_graph_swapped_in_goes_on_with_the_same_poses(
    retention_artefact: Path, model: Model, people_at: PeopleAt, flip: bool
) -> None:
    frames = [people_at(i, 0, 1) for i in range(12)]
    plain = list(Pipeline(ListSource(frames), model, flip=flip))
    events = swapping(Pipeline(ListSource(frames), model, flip=flip), load(retention_artefact), after_s=0.1)
    assert [event for event in events if isinstance(event, ModelSwapped)] == [
        ModelSwapped(0.12, model.manifest.preset, "fp32", model.engine, kept_state=True)
    ]
    for person in (0, 1):
        for a, b in zip(poses_of(plain, person), poses_of(events, person), strict=True):
            assert a.xyz_m.tobytes() == b.xyz_m.tobytes() and a.gap == b.gap
    assert sum(isinstance(event, TrackStarted) for event in events) == 2


def test_a_swap_to_half_precision_keeps_the_state(retention_artefact: Path, model: Model, people_at: PeopleAt) -> None:
    frames = [people_at(i, 0) for i in range(12)]
    plain = poses_of(list(Pipeline(ListSource(frames), model)))
    half = load(retention_artefact, precision="fp16", gaps=model.gaps)
    mixed = poses_of(swapping(Pipeline(ListSource(frames), model), half, after_s=0.1))
    anew = model.stream().step(frames[6].keypoints[0].normalised()).xyz_m
    assert mixed[6].gap == "none"
    assert np.abs(mixed[6].xyz_m - plain[6].xyz_m).max() < 0.1 * np.abs(anew - plain[6].xyz_m).max()


def test_a_swap_to_other_weights_keeps_the_people_and_begins_their_streams_anew(
    dssm_artefact: Path, model: Model, people_at: PeopleAt
) -> None:
    frames = [people_at(i, 0) for i in range(12)]
    other = load(dssm_artefact, gaps=model.gaps)
    events = swapping(Pipeline(ListSource(frames), model), other, after_s=0.1)
    assert [event.kept_state for event in events if isinstance(event, ModelSwapped)] == [False]
    poses = poses_of(events)
    assert [pose.gap for pose in poses[5:8]] == ["none", "reset", "none"]
    assert not any(isinstance(event, TrackLost) for event in events)
    stream = other.stream()
    alone = [stream.step(frame.keypoints[0].normalised(), t=frame.t_s).xyz_m for frame in frames[6:]]
    assert all(np.array_equal(pose.xyz_m, xyz_m) for pose, xyz_m in zip(poses[6:], alone, strict=True))


def test_a_model_of_another_interface_is_not_swapped_in(model: Model, attention_artefact: Path) -> None:
    other = load(attention_artefact, latency_frames=3)
    with pytest.raises(UsageError, match="latency of 3 frames"):
        Pipeline(ListSource([]), model).swap(other)


def test_an_event_loop_gets_the_same_events(model: Model, people_at: PeopleAt) -> None:
    frames = [people_at(i, 0) for i in range(5)]

    async def collect() -> list[Event]:
        return [event async for event in Pipeline(ListSource(frames), model)]

    assert event_rows(asyncio.run(collect())) == event_rows(list(Pipeline(ListSource(frames), model)))


def test_a_cancelled_event_loop_closes_the_source(retention_artefact: Path) -> None:
    model = load(retention_artefact)

    async def first() -> PoseFrame:
        async for event in Pipeline("synthetic://walk", model):
            if isinstance(event, PoseFrame):
                await asyncio.sleep(3600)
        raise AssertionError("the walk has no end")

    async def cancelled() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(first(), timeout=1.0)

    asyncio.run(cancelled())
    assert isinstance(model._slots, StepSlots)
    assert len(model._slots._allocator._free) == model._slots._allocator.capacity


def test_an_error_of_the_source_reaches_the_event_loop(model: Model, people_at: PeopleAt) -> None:
    def frames() -> Iterator[SourceItem]:
        yield people_at(0, 0)
        raise SourceError("unplugged")

    async def collect() -> list[Event]:
        return [event async for event in Pipeline(IterableSource(frames(), pictures=False), model)]

    with pytest.raises(SourceError, match="unplugged"):
        asyncio.run(collect())
