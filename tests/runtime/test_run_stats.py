"""What a run reports of its times: stages that ran now and then, and means that add up to a frame."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from posemoe_edge.runtime import run_stats
from posemoe_edge.runtime.arrays import ImageBgr
from posemoe_edge.runtime.detectors import Detection, Region
from posemoe_edge.runtime.events import PoseFrame, TrackStarted
from posemoe_edge.runtime.model import load
from posemoe_edge.runtime.pipeline import Pipeline
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.skeleton import COCO17, Skeleton
from posemoe_edge.runtime.pose.types import Doubt, Pose
from posemoe_edge.runtime.run_stats import RunCounter, RunStats
from posemoe_edge.runtime.sources import BaseSource, CameraFrame, SourceInfo
from posemoe_edge.runtime.stage_times import StageTimes

POSE = Pose(np.zeros((17, 3), np.float32), np.ones(17, np.float32), 0.0, 0.02, latency_frames=0, gap="none")


def stats_of(frames: Sequence[Mapping[str, float]]) -> RunStats:
    """The statistics of frames of one person, whose stages took so many seconds."""
    counter = RunCounter(latency_frames=0)
    counter.add(TrackStarted(0, 0.0))
    for i, stages_s in enumerate(frames):
        counter.add(PoseFrame(i / 50, {0: POSE}, stages_s=stages_s))
    return counter.result(interrupted=False, failed_check=None)


def test_a_stage_that_ran_in_some_frames_counts_for_its_share_of_a_frame() -> None:
    frames = [{"find": 0.010, "lift": 0.002}, {"lift": 0.002}, {"lift": 0.002}, {"find": 0.010, "lift": 0.002}]
    stages_ms = stats_of(frames).stages_ms
    assert stages_ms["find"]["mean"] == pytest.approx(5) and stages_ms["find"]["p50"] == pytest.approx(10)
    assert stages_ms["lift"]["mean"] == pytest.approx(2) and list(stages_ms) == ["find", "lift"]


def test_the_first_time_of_a_stage_does_not_count() -> None:
    stages_ms = stats_of([{"lift": 9.0}, {"lift": 0.001}, {"lift": 0.003}]).stages_ms
    assert stages_ms["lift"]["mean"] == pytest.approx(2) and stages_ms["lift"]["p100"] == pytest.approx(3)


def test_a_frame_of_nobody_takes_no_step() -> None:
    counter = RunCounter(latency_frames=0)
    counter.add(PoseFrame(0.0, {}, stages_s={"detect": 0.02, "lift": 0.0001}))
    stats = counter.result(interrupted=False, failed_check=None)
    assert stats.step_ms is None and list(stats.stages_ms) == ["detect"] and stats.to_json()["step_ms"] is None


def test_doubted_poses_are_counted_by_their_reason() -> None:
    counter = RunCounter(latency_frames=0)
    reasons: tuple[tuple[Doubt, ...], ...] = ((), ("bones",), ("bones", "fit"))
    for doubts in reasons:
        counter.add(PoseFrame(0.0, {0: replace(POSE, doubts=doubts), 1: POSE}))
    stats = counter.result(interrupted=False, failed_check=None)
    assert stats.doubts == {"bones": 2, "fit": 1} and stats.to_json()["doubts"] == {"bones": 2, "fit": 1}
    assert stats_of([]).doubts == {"bones": 0, "fit": 0}


def test_percentiles_of_many_frames_are_those_of_all_of_them() -> None:
    lift_s = np.random.default_rng(0).gamma(4.0, 0.001, 3000)
    stats = stats_of([{"lift": 1.0}, *({"lift": float(each_s)} for each_s in lift_s)])
    assert stats.step_ms is not None and stats.step_ms["mean"] == pytest.approx(1000 * lift_s.mean())
    for percent in (50, 90, 99):
        assert stats.step_ms[f"p{percent}"] == pytest.approx(1000 * np.percentile(lift_s, percent), rel=0.01)
    assert stats.step_ms["p100"] == pytest.approx(1000 * lift_s.max())


def test_somebody_who_comes_back_is_counted_once_unless_very_many_came_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_stats, "REMEMBERED_PEOPLE", 3)
    counter = RunCounter(latency_frames=0)
    for person in (1, 2, 1, 3, 4):  # 2 is forgotten, 1 was seen after it
        counter.add(TrackStarted(person, 0.0))
    assert counter.people == 4
    for person, people in ((1, 4), (2, 5)):
        counter.add(TrackStarted(person, 0.0))
        assert counter.people == people


def test_an_endless_run_is_counted_in_bounded_memory() -> None:
    counter = RunCounter(latency_frames=0)
    truth_m = np.full((17, 3), 0.1, np.float32)
    frame = PoseFrame(0.0, {0: POSE}, truth_m={0: truth_m}, stages_s={"lift": 0.002})
    for _ in range(100):
        counter.add(frame)
    size = len(pickle.dumps(counter))
    for _ in range(2000):
        counter.add(frame)
    assert len(pickle.dumps(counter)) - size < 100
    assert counter.result(interrupted=False, failed_check=None).mpjpe_mm == pytest.approx(0.0, abs=1e-3)  # hips aligned


def test_a_run_without_frames_has_no_rate() -> None:
    stats = stats_of([])
    assert stats.fps is None and stats.stages_ms == {} and stats.to_json()["fps"] is None


def test_times_of_a_stage_in_one_frame_add_up_and_the_next_frame_begins_anew() -> None:
    times = StageTimes()
    with times.stage("detect"), times.stage("track"):
        pass
    with pytest.raises(ValueError), times.stage("detect"):
        raise ValueError
    first = times.take()
    assert set(first) == {"detect", "track"} and all(seconds > 0 for seconds in first.values()) and times.take() == {}


class Pictures(BaseSource):
    """Black pictures."""

    pictures = True
    info = SourceInfo("pictures", fps=10.0)

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield from (CameraFrame(i / 10, np.zeros((90, 160, 3), np.uint8)) for i in range(6))


class TwoStages:
    """One person in each region."""

    skeleton: Skeleton = COCO17

    def find(self, image_bgr: ImageBgr) -> list[Region]:
        return [Region.whole(image_bgr)]

    def detect(self, image_bgr: ImageBgr, *, regions: Sequence[Region] | None = None) -> list[Detection]:
        points = np.random.default_rng(0).uniform(10, 80, (17, 3)).astype(np.float32)
        points[:, 2] = 0.9
        return [Detection.from_coco(points, size=ImageSize.of(image_bgr), region=region) for region in regions or []]


def test_every_stage_of_pictures_is_timed_and_searching_only_when_it_is_done() -> None:
    pipeline = Pipeline(Pictures(), load(), detector=TwoStages(), tracker="order", search_every=3)
    frames = [event for event in pipeline if isinstance(event, PoseFrame)]
    assert [list(frame.stages_s) for frame in frames] == 2 * [
        ["find", "detect", "track", "view", "lift", "root"],
        ["detect", "track", "view", "lift", "root"],
        ["detect", "track", "view", "lift", "root"],
    ]
    assert all(seconds > 0 for frame in frames for seconds in frame.stages_s.values())
