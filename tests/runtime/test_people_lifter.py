"""Everybody of a frame in one launch: flips and smoothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime import Model, load
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.people_lifter import PeopleLifter, mirrored
from posemoe_edge.runtime.state import StepSlots
from posemoe_edge.runtime.stream import Stream

Walk = Callable[..., F32]


@pytest.fixture
def model(retention_artefact: Path) -> Model:
    return load(retention_artefact)


def lift(lifter: PeopleLifter, frames: F32) -> F32:
    """(T, 17, 3) poses of one person."""
    poses = []
    for i, points in enumerate(frames):
        lifter.see(0, i * 0.02)
        lifted, refused = lifter.lift(i * 0.02, {0: points})
        assert not refused
        poses.append(lifter.smooth_poses(lifted)[0].xyz_m)
    return np.stack(poses)


def test_a_mirrored_person_has_the_mirrored_pose_with_flips(model: Model, walker_keypoints: Walk) -> None:
    frames = walker_keypoints(20)
    straight = lift(PeopleLifter(model, flip=True), frames)
    flipped = lift(PeopleLifter(model, flip=True), np.stack([mirrored(points) for points in frames]))
    np.testing.assert_allclose(np.stack([mirrored(pose) for pose in flipped]), straight, atol=1e-5)
    assert np.abs(lift(PeopleLifter(model), frames) - straight).max() > 1e-3  # without flips the model is not symmetric


def test_with_flips_the_pose_is_the_mean_of_both_streams(model: Model, walker_keypoints: Walk) -> None:
    streams = model.stream(), model.stream()
    for i, pose in enumerate(lift(PeopleLifter(model, flip=True), walker_keypoints(10))):
        points = walker_keypoints(10)[i]
        a, b = streams[0].step(points, t=i * 0.02), streams[1].step(mirrored(points), t=i * 0.02)
        np.testing.assert_allclose(pose, (a.xyz_m + mirrored(b.xyz_m)) / 2, atol=1e-5)


def test_mirroring_twice_changes_nothing(walker_keypoints: Walk) -> None:
    points = walker_keypoints(1)[0]
    np.testing.assert_array_equal(mirrored(mirrored(points)), points)


def test_slots_of_flips_are_released_too(model: Model, walker_keypoints: Walk) -> None:
    lifter = PeopleLifter(model, flip=True)
    lift(lifter, walker_keypoints(3))
    assert lifter.absent(10.0) == [0]
    lifter.forget(0)
    assert lifter.people == []
    assert isinstance(model._slots, StepSlots)
    assert len(model._slots._allocator._free) == model._slots._allocator.capacity


def test_a_refused_frame_is_refused_for_both_streams(model: Model, walker_keypoints: Walk) -> None:
    frames, lifter, clean = walker_keypoints(6), PeopleLifter(model, flip=True), PeopleLifter(model, flip=True)
    for i in range(6):
        for each in (lifter, clean):
            each.see(0, i * 0.02)
        if i == 3:
            assert [error.person for error in lifter.lift(i * 0.02, {0: frames[i] * np.float32(np.nan)})[1]] == [0]
            continue
        poses = [each.lift(i * 0.02, {0: frames[i]})[0][0].xyz_m for each in (lifter, clean)]
        np.testing.assert_array_equal(poses[0], poses[1])


def test_smoothing_changes_poses_and_not_the_state(model: Model, walker_keypoints: Walk) -> None:
    """Poses alone are smoothed here, so the raw poses stay what they were."""
    frames = walker_keypoints(30)
    plain, smooth = PeopleLifter(model), PeopleLifter(model, smooth="strong")
    for i, points in enumerate(frames):
        for each in (plain, smooth):
            each.see(0, i * 0.02)
        raw, same = (each.lift(i * 0.02, {0: points})[0] for each in (plain, smooth))
        np.testing.assert_array_equal(raw[0].xyz_m, same[0].xyz_m)
        smoothed = smooth.smooth_poses(same)[0].xyz_m
        assert i == 0 or not np.array_equal(smoothed, raw[0].xyz_m)
    assert plain.smooth_poses(raw)[0] is raw[0]


def test_joints_that_were_hardly_seen_are_flagged_as_guessed(model: Model, walker_keypoints: Walk) -> None:
    points = walker_keypoints(1)[0].copy()
    points[[3, 6]] = 0
    points[13, 2] = 0.2
    lifter = PeopleLifter(model)
    lifter.see(0, 0.0)
    pose = lifter.lift(0.0, {0: points})[0][0]
    assert np.flatnonzero(pose.guessed).tolist() == [3, 6, 13]
    assert pose.to_json()["guessed"] == pose.guessed.tolist()


def test_an_answer_that_is_not_finite_costs_that_person_one_frame(
    model: Model, walker_keypoints: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a network whose half precision overflowed for one person in a launch of three."""
    walks = [walker_keypoints(8, seed=seed) for seed in range(3)]
    lifter, clean = PeopleLifter(model), PeopleLifter(model)
    launch = model._slots.launch
    for i in range(8):
        normalised = {person: walk[i] for person, walk in enumerate(walks)}
        for person in normalised:
            clean.see(person, i * 0.02)
            lifter.see(person, i * 0.02)
        expected, _ = clean.lift(i * 0.02, {k: v for k, v in normalised.items() if (i, k) != (4, 1)})
        if i == 4:
            stream = lifter._people[1].stream
            assert isinstance(stream, Stream)
            broken = stream._check_open()

            def overflow(slots: Sequence[int], broken: int = broken) -> F32:
                poses = launch(slots)
                if broken in slots:
                    poses[broken] = np.inf
                return poses

            monkeypatch.setattr(model._slots, "launch", overflow)
        poses, refused = lifter.lift(i * 0.02, normalised)
        monkeypatch.undo()
        assert [(event.person, "not finite" in str(event.error)) for event in refused] == ([(1, True)] if i == 4 else [])
        assert set(poses) == set(expected)
        for person, pose in poses.items():
            np.testing.assert_allclose(pose.xyz_m, expected[person].xyz_m, atol=1e-5)
