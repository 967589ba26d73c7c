"""Disturbances, and how long poses take to recover."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from posemoe_edge.calib.measure.disturbances import Disturbance, disturb, measure_recoveries
from posemoe_edge.calib.measure.recording import Recording

NAMES = ["nothing", "outlier", "reset", "gap", "limb missing"]


def recording(walker_keypoints: Callable[..., np.ndarray], frames: int, fps: float = 50.0) -> Recording:
    reset = np.arange(frames) == 0
    return Recording(np.array(walker_keypoints(frames)), np.full(frames, 1 / fps, np.float32), reset)


def test_each_disturbance_begins_after_two_seconds_and_changes_nothing_else(
    walker_keypoints: Callable[..., np.ndarray],
) -> None:
    whole = recording(walker_keypoints, 700)
    disturbances = disturb(whole)
    assert [disturbance.name for disturbance in disturbances] == NAMES
    plain = disturbances[0].recording
    assert len(plain) == 600
    for disturbance in disturbances[1:]:
        disturbed, end = disturbance.recording, disturbance.end
        assert disturbance.begin == 100 and len(disturbed) == 600 - disturbance.lost
        np.testing.assert_array_equal(disturbed.keypoints[:100], plain.keypoints[:100])
        np.testing.assert_array_equal(disturbed.keypoints[end:], plain.keypoints[end + disturbance.lost :])
        np.testing.assert_array_equal(disturbed.dt_s[end + 1 :], plain.dt_s[end + disturbance.lost + 1 :])
    np.testing.assert_array_equal(whole.keypoints, walker_keypoints(700))  # the whole recording is not changed


def test_an_outlier_is_far_off_with_full_confidence(walker_keypoints: Callable[..., np.ndarray]) -> None:
    plain, outlier = disturb(recording(walker_keypoints, 300))[:2]
    keypoints = outlier.recording.keypoints[100:103]
    away = np.linalg.norm((keypoints - plain.recording.keypoints[100:103])[..., :2], axis=-1)
    assert outlier.end == 103 and away.mean() > 0.3  # of an image that is 2 wide
    assert (keypoints[..., 2] == 1).all() and np.abs(keypoints[..., :2]).max() <= 1


def test_a_reset_changes_no_keypoint(walker_keypoints: Callable[..., np.ndarray]) -> None:
    plain, _, disturbance = disturb(recording(walker_keypoints, 300))[:3]
    assert np.flatnonzero(disturbance.recording.reset).tolist() == [0, 100] and disturbance.begin == disturbance.end == 100
    assert np.flatnonzero(plain.recording.reset).tolist() == [0]
    np.testing.assert_array_equal(disturbance.recording.keypoints, plain.recording.keypoints)


@pytest.mark.parametrize(("fps", "lost"), [(50.0, 100), (25.0, 50)])
def test_a_gap_loses_two_seconds_of_frames_and_its_dt_spans_them(
    fps: float, lost: int, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    whole = recording(walker_keypoints, 300, fps)
    gap = disturb(whole)[3]
    assert gap.lost == gap.begin == lost
    assert gap.recording.dt_s[gap.begin] == pytest.approx(2 + 1 / fps) and gap.recording.dt_s.sum() == pytest.approx(300 / fps)
    assert not gap.recording.reset[1:].any()


def test_a_missing_limb_is_missed_for_a_second(walker_keypoints: Callable[..., np.ndarray]) -> None:
    limb = disturb(recording(walker_keypoints, 300))[4].recording.keypoints
    missing: NDArray[np.bool_] = ~np.any(limb, axis=-1)
    assert np.flatnonzero(missing.any(axis=1)).tolist() == list(range(100, 150))
    assert np.flatnonzero(missing[120]).tolist() == [14, 15, 16]


def test_a_short_recording_is_not_disturbed(walker_keypoints: Callable[..., np.ndarray]) -> None:
    assert disturb(recording(walker_keypoints, 249)) == [] and len(disturb(recording(walker_keypoints, 250))) == 5


def poses_apart(mm: np.ndarray) -> tuple[list[Disturbance], list[np.ndarray]]:
    """A disturbance of two frames at frame 10, and poses whose joints are that many mm from the undisturbed ones."""
    frames = len(mm)
    plain = Recording(np.zeros((frames, 17, 3), np.float32), np.zeros(frames, np.float32), np.zeros(frames, np.bool_))
    undisturbed = np.zeros((frames, 17, 3), np.float32)
    disturbed = undisturbed.copy()
    disturbed[..., 1] = (mm / 1000)[:, None]
    return [Disturbance("nothing", plain), Disturbance("outlier", plain, 10, 12)], [undisturbed, disturbed]


def test_recovered_poses_stay_within_a_millimetre() -> None:
    """Frames are counted from the disturbance's end, up to the last one that is a millimetre away."""
    mm = np.zeros(60)
    mm[10:12], mm[12:20], mm[25] = 90, 5, 2
    (recovery,) = measure_recoveries(*poses_apart(mm))
    assert recovery.peak_mm == pytest.approx(90) and recovery.recovery_frames == 14 and recovery.frames == 48
    assert len(recovery.distance_mm) == 50 and max(recovery.distance_mm) == 90
    assert recovery.drift_mean_mm is None and recovery.drift_max_mm is None


def test_poses_that_are_back_at_the_end_recover_in_0_frames() -> None:
    mm = np.zeros(60)
    mm[10:12] = 90
    assert measure_recoveries(*poses_apart(mm))[0].recovery_frames == 0


@pytest.mark.parametrize("last", [1.5, np.nan])
def test_poses_that_do_not_recover_have_no_recovery_frames(last: float) -> None:
    mm = np.zeros(60)
    mm[59] = last
    assert measure_recoveries(*poses_apart(mm))[0].recovery_frames is None


def test_after_a_gap_poses_are_compared_with_those_of_the_same_moment() -> None:
    disturbances, (undisturbed, _) = poses_apart(np.zeros(60))
    undisturbed[:, 3, 0] = np.arange(60)  # metres: no two frames are alike
    gap = Disturbance("gap", disturbances[0].recording.during(slice(0, 40)), 10, 10, 20)
    (recovery,) = measure_recoveries([disturbances[0], gap], [undisturbed, np.delete(undisturbed, slice(10, 30), axis=0)])
    assert recovery.peak_mm == 0 and recovery.recovery_frames == 0 and recovery.frames == 30


def test_drift_is_measured_from_the_reference_with_the_same_disturbance() -> None:
    disturbances, poses = poses_apart(np.zeros(60))
    reference = [array.copy() for array in poses]
    reference[1][:10] += 1  # before the disturbance: not counted
    reference[1][30, 4, 2] = 0.017
    (recovery,) = measure_recoveries(disturbances, poses, reference)
    assert recovery.drift_max_mm == pytest.approx(17) and recovery.drift_mean_mm == pytest.approx(1 / 50)


def test_without_disturbances_there_are_no_recoveries() -> None:
    assert measure_recoveries([], []) == ()
