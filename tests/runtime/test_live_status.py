"""How an endless run is going: the last seconds, and counts since it began."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import FrameError
from posemoe_edge.runtime.events import ClockReset, FrameRefused, PoseFrame, SourceBack, SourceLost, TrackLost, TrackStarted
from posemoe_edge.runtime.live_status import RECENT_FRAMES, LiveStatus
from posemoe_edge.runtime.pose.types import Pose

POSE = Pose(np.zeros((17, 3), np.float32), np.ones(17, np.float32), 0.0, 0.02, latency_frames=0, gap="none")


class Clock:
    """Seconds that pass when a test says so."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def frame(stages_s: Mapping[str, float] | None = None, **fields: Any) -> PoseFrame:
    return replace(PoseFrame(0.0, {0: POSE}, stages_s=stages_s or {"lift": 0.002}), **fields)


def test_the_rate_is_of_the_last_seconds_and_falls_when_frames_stop(clock: Clock) -> None:
    status = LiveStatus(clock=clock)
    for _ in range(1000):  # ten seconds of 100 fps, then four of 25
        status.add(frame())
        clock.now_s += 0.01
    for _ in range(200):
        status.add(frame())
        clock.now_s += 0.04
    assert status.now().fps == pytest.approx(25, rel=0.01)
    clock.now_s += 2.5
    assert 10 < status.now().fps < 15 and status.now().frame_age_s == pytest.approx(2.54)
    clock.now_s += 10
    assert status.now().fps == 0 and status.now().frames == 1200


def test_a_rate_beyond_what_is_remembered_is_still_right(clock: Clock) -> None:
    status = LiveStatus(clock=clock)
    for _ in range(10 * RECENT_FRAMES):
        clock.now_s += 0.0005
        status.add(frame())
    assert status.now().fps == pytest.approx(2000, rel=0.01)


def test_stages_are_means_of_recent_frames_and_totals_of_all(clock: Clock) -> None:
    status = LiveStatus(clock=clock)
    status.add(frame({"find": 9.0, "lift": 1.0}))
    clock.now_s += 60
    for stages_s in ({"find": 0.010, "lift": 0.002}, {"lift": 0.004}):
        status.add(frame(stages_s))
    now = status.now()
    assert now.stages_s == pytest.approx({"find": 0.005, "lift": 0.003})
    assert now.stage_totals_s["find"] == pytest.approx((2, 9.010))
    assert now.stage_totals_s["lift"] == pytest.approx((3, 1.006))


def test_lag_is_the_median_and_the_largest_of_live_frames(clock: Clock) -> None:
    status = LiveStatus(clock=clock)
    status.add(frame())
    assert status.now().lag_s is None
    for lag_s in (0.010, 0.030, 0.020):
        status.add(frame(lag_s=lag_s))
    assert status.now().lag_s == pytest.approx((0.020, 0.030))


def test_a_frame_misses_its_deadline_if_its_stages_take_longer_than_the_camera_does(clock: Clock) -> None:
    slow, fast = frame({"detect": 0.03, "lift": 0.011}), frame({"detect": 0.03, "lift": 0.009})
    status, unknown = LiveStatus(fps=25, clock=clock), LiveStatus(clock=clock)
    for each in (slow, fast, slow):
        status.add(each)
        unknown.add(each)
    assert status.now().deadline_misses == 2 and unknown.now().deadline_misses is None


def test_people_in_view_are_those_with_keypoints_in_the_newest_frame_that_was_lifted(clock: Clock) -> None:
    status = LiveStatus(clock=clock)
    held = replace(POSE, gap="hold")
    status.add(frame(poses={0: POSE, 1: replace(POSE, gap="reset"), 2: held}))
    assert status.now().people == 2 and status.now().gaps == {"reset": 1, "hold": 1}
    status.add(PoseFrame(0.0, {}))  # out of order: refused as a whole
    assert status.now().people == 2
    status.add(frame(poses={}))
    assert status.now().people == 0 and status.now().poses == 3 and status.now().frames == 3


def test_the_reset_of_a_first_pose_is_no_gap(clock: Clock) -> None:
    status, reset = LiveStatus(clock=clock), replace(POSE, gap="reset")
    status.add(TrackStarted(0, 0.0))
    status.add(frame(poses={}))  # as with a latency
    status.add(frame(poses={0: reset}))
    assert status.now().gaps == {}
    status.add(frame(poses={0: reset}))
    assert status.now().gaps == {"reset": 1}
    status.add(TrackLost(0, 0.0))
    status.add(TrackStarted(0, 0.0))
    status.add(frame(poses={0: reset}))
    assert status.now().gaps == {"reset": 1}


def test_what_happens_to_the_source_is_counted(clock: Clock) -> None:
    status = LiveStatus(clock=clock)
    status.add(TrackStarted(0, 0.0))
    status.add(frame())
    status.add(SourceLost(1.0, "unplugged"))
    lost = status.now()
    assert (lost.source_up, lost.losses, lost.returns, lost.people) == (False, 1, 0, 0)
    status.add(SourceBack(2.0))
    status.add(ClockReset(0.0, before_s=2.0))
    status.add(FrameRefused(0, 0.0, FrameError("bad")))
    back = status.now()
    assert (back.source_up, back.returns, back.clock_resets, back.refused, back.people_started) == (True, 1, 1, 1, 1)


def test_its_memory_does_not_grow(clock: Clock) -> None:
    status = LiveStatus(fps=25, clock=clock)
    kept = ("_counts", "_gaps", "_stage_totals_s", "_recent")
    sizes = []
    for _ in range(3):
        for _ in range(RECENT_FRAMES):
            clock.now_s += 0.01
            status.add(frame(lag_s=0.01))
        sizes.append(len(pickle.dumps([getattr(status, name) for name in kept])))
    assert max(sizes) - min(sizes) < 100
