"""Accuracy of a rollout."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from posemoe_edge.calib.measure.accuracy import measure_accuracy
from posemoe_edge.calib.measure.recording import Recording
from posemoe_edge.runtime.sources.walker import walk_world


def walker(frames: int, seed: int = 0) -> Recording:
    pose = walk_world(np.arange(frames) / 50, seed=seed).astype(np.float32)
    none = np.zeros(frames, np.bool_)
    return Recording(np.zeros((frames, 17, 3), np.float32), np.full(frames, 0.02, np.float32), none, pose - pose[:, :1])


def truth(recording: Recording) -> np.ndarray:
    assert recording.truth is not None
    return recording.truth.copy()


def test_the_truth_has_no_error_wherever_its_root_is() -> None:
    recording = walker(50)
    measured = measure_accuracy([truth(recording) + np.float32(3)], [recording])  # both roots are put at zero
    assert measured is not None
    assert measured.mpjpe_mm == pytest.approx(0, abs=1e-3) and measured.mpjve_mm == pytest.approx(0, abs=1e-3)
    assert measured.bone_jitter_mm == pytest.approx(0, abs=1e-3)


def test_every_frame_of_all_recordings_counts_once() -> None:
    long, short = walker(90), walker(30, seed=1)
    wrong = truth(short)
    wrong[:, 5] += np.array([0, 0.017, 0], np.float32)  # one joint of 17, by 17 mm, always: no velocity
    measured = measure_accuracy([truth(long), wrong], [long, short])
    assert measured is not None
    assert measured.mpjpe_mm == pytest.approx(1.0 * 30 / 120, rel=1e-3) and measured.mpjve_mm == pytest.approx(0, abs=1e-3)


def test_shaking_poses_have_a_velocity_error_and_bone_jitter() -> None:
    recording = walker(40)
    poses = truth(recording)
    poses[::2, 10] += (poses[::2, 10] - poses[::2, 9]) * np.float32(0.1)  # the head of every other frame: a tenth further out
    bone_mm = 1000 * float(np.linalg.norm(poses[1, 10] - poses[1, 9]))
    measured = measure_accuracy([poses], [recording])
    assert measured is not None
    assert measured.bone_jitter_mm == pytest.approx(0.1 * bone_mm / 16, rel=1e-3)
    assert measured.mpjve_mm == pytest.approx(0.1 * bone_mm / 17, rel=0.02)  # the head turns a little meanwhile


@pytest.mark.parametrize("border", ["cut", "reset"])
def test_the_step_from_one_person_to_the_next_is_no_motion(border: str) -> None:
    """The state lags behind: at a cut, the first pose is still half the other person's."""
    first, second = walker(20), walker(20, seed=5)
    joined = np.concatenate([truth(first), truth(second)])
    lagging = joined.copy()
    lagging[20:] = lagging[20:] + (joined[19] - joined[20]) / 2
    recording = replace(walker(40), truth=joined)
    at = np.arange(40) == 20
    marked = replace(recording, **{border: at})
    with_border, without = (measure_accuracy([lagging], [each]) for each in (marked, recording))
    assert with_border is not None and without is not None
    assert with_border.mpjpe_mm == pytest.approx(without.mpjpe_mm)
    assert with_border.mpjve_mm == pytest.approx(0, abs=1e-3) and without.mpjve_mm > 1


def test_without_a_truth_there_is_no_accuracy() -> None:
    recording = walker(10)
    poses = truth(recording)
    assert measure_accuracy([poses, poses], [recording, replace(recording, truth=None)]) is None
    assert measure_accuracy([poses[:1]], [recording.during(slice(0, 1))]) is None  # one frame does not move
