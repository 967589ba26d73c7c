"""Events, and what is left of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from posemoe_edge.calib.measure.disturbances import Disturbance, disturb, measure_recoveries
from posemoe_edge.calib.measure.recording import Recording

NAMES = ["nothing", "outlier", "reset", "gap", "limb missing"]


def recording(walker_keypoints: Callable[..., np.ndarray], frames: int, fps: float = 50.0) -> Recording:
    reset = np.arange(frames) == 0
    return Recording(np.array(walker_keypoints(frames)), np.full(frames, 1 / fps, np.float32), reset)


def test_each_event_is_two_seconds_in_and_leaves_the_rest_as_it_was(walker_keypoints: Callable[..., np.ndarray]) -> None:
    given = recording(walker_keypoints, 700)
    events = disturb(given)
    assert [event.name for event in events] == NAMES
    plain = events[0].recording
    assert len(plain) == 600
    for event in events[1:]:
        made, end = event.recording, event.end
        assert event.begin == 100 and len(made) == 600 - event.lost
        np.testing.assert_array_equal(made.keypoints[:100], plain.keypoints[:100])
        np.testing.assert_array_equal(made.keypoints[end:], plain.keypoints[end + event.lost :])
        np.testing.assert_array_equal(made.dt_s[end + 1 :], plain.dt_s[end + event.lost + 1 :])
    np.testing.assert_array_equal(given.keypoints, walker_keypoints(700))  # what was given is left alone


def test_an_outlier_is_far_off_and_sure_of_itself(walker_keypoints: Callable[..., np.ndarray]) -> None:
    plain, outlier = disturb(recording(walker_keypoints, 300))[:2]
    there = outlier.recording.keypoints[100:103]
    away = np.linalg.norm((there - plain.recording.keypoints[100:103])[..., :2], axis=-1)
    assert outlier.end == 103 and away.mean() > 0.3  # of an image that is 2 wide
    assert (there[..., 2] == 1).all() and np.abs(there[..., :2]).max() <= 1


def test_a_reset_is_told_and_nothing_else_happens(walker_keypoints: Callable[..., np.ndarray]) -> None:
    plain, _, event = disturb(recording(walker_keypoints, 300))[:3]
    assert np.flatnonzero(event.recording.reset).tolist() == [0, 100] and event.begin == event.end == 100
    assert np.flatnonzero(plain.recording.reset).tolist() == [0]
    np.testing.assert_array_equal(event.recording.keypoints, plain.recording.keypoints)


@pytest.mark.parametrize(("fps", "lost"), [(50.0, 100), (25.0, 50)])
def test_a_gap_loses_two_seconds_of_frames_and_knows_how_long_it_was(
    fps: float, lost: int, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    given = recording(walker_keypoints, 300, fps)
    gap = disturb(given)[3]
    assert gap.lost == gap.begin == lost
    assert gap.recording.dt_s[gap.begin] == pytest.approx(2 + 1 / fps) and gap.recording.dt_s.sum() == pytest.approx(300 / fps)
    assert not gap.recording.reset[1:].any()


def test_a_missing_limb_is_missed_for_a_second(walker_keypoints: Callable[..., np.ndarray]) -> None:
    limb = disturb(recording(walker_keypoints, 300))[4].recording.keypoints
    missing = ~limb.any(axis=-1)
    assert np.flatnonzero(missing.any(axis=1)).tolist() == list(range(100, 150))
    assert np.flatnonzero(missing[120]).tolist() == [14, 15, 16]


def test_a_short_recording_is_left_in_peace(walker_keypoints: Callable[..., np.ndarray]) -> None:
    assert disturb(recording(walker_keypoints, 249)) == [] and len(disturb(recording(walker_keypoints, 250))) == 5


def poses_apart(mm: np.ndarray) -> tuple[list[Disturbance], list[np.ndarray]]:
    """An event of two frames at frame 10, and poses whose joints are so far from the undisturbed ones."""
    frames = len(mm)
    plain = Recording(np.zeros((frames, 17, 3), np.float32), np.zeros(frames, np.float32), np.zeros(frames, np.bool_))
    undisturbed = np.zeros((frames, 17, 3), np.float32)
    made = undisturbed.copy()
    made[..., 1] = (mm / 1000)[:, None]
    return [Disturbance("nothing", plain), Disturbance("outlier", plain, 10, 12)], [undisturbed, made]


def test_what_was_forgotten_stays_forgotten() -> None:
    """Frames are counted from the event's end, and the last one that is a millimetre away decides."""
    mm = np.zeros(60)
    mm[10:12], mm[12:20], mm[25] = 90, 5, 2
    (made,) = measure_recoveries(*poses_apart(mm))
    assert made.peak_mm == pytest.approx(90) and made.recovery_frames == 14 and made.frames == 48
    assert len(made.distance_mm) == 50 and max(made.distance_mm) == 90
    assert made.drift_mean_mm is None and made.drift_max_mm is None


def test_what_is_over_with_the_event_was_forgotten_at_once() -> None:
    mm = np.zeros(60)
    mm[10:12] = 90
    assert measure_recoveries(*poses_apart(mm))[0].recovery_frames == 0


@pytest.mark.parametrize("last", [1.5, np.nan])
def test_what_is_not_forgotten_in_time_is_not_called_forgotten(last: float) -> None:
    mm = np.zeros(60)
    mm[59] = last
    assert measure_recoveries(*poses_apart(mm))[0].recovery_frames is None


def test_after_a_gap_poses_are_compared_with_those_of_the_same_moment() -> None:
    events, (undisturbed, _) = poses_apart(np.zeros(60))
    undisturbed[:, 3, 0] = np.arange(60)  # metres: no two frames are alike
    gap = Disturbance("gap", events[0].recording.during(slice(0, 40)), 10, 10, 20)
    (made,) = measure_recoveries([events[0], gap], [undisturbed, np.delete(undisturbed, slice(10, 30), axis=0)])
    assert made.peak_mm == 0 and made.recovery_frames == 0 and made.frames == 30


def test_drift_in_an_event_is_from_the_reference_that_met_with_the_same() -> None:
    events, poses = poses_apart(np.zeros(60))
    reference = [array.copy() for array in poses]
    reference[1][:10] += 1  # before the event: of no interest here
    reference[1][30, 4, 2] = 0.017
    (made,) = measure_recoveries(events, poses, reference)
    assert made.drift_max_mm == pytest.approx(17) and made.drift_mean_mm == pytest.approx(1 / 50)


def test_no_events_no_recoveries() -> None:
    assert measure_recoveries([], []) == ()
