"""The camera's stage of a pipeline: distortion undone, people looked at, poses turned back and put in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from posemoe_edge.runtime import (
    Camera,
    FieldOfView,
    GapPolicy,
    ImageSize,
    Intrinsics,
    Keypoints,
    Model,
    Pipeline,
    Pose,
    PoseFrame,
    UsageError,
    load,
)
from posemoe_edge.runtime.arrays import F32, F64
from posemoe_edge.runtime.pose.distortion import Distortion
from posemoe_edge.runtime.pose.keypoints import normalise_screen
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.sight import HOLD_S, Sight
from posemoe_edge.runtime.sources import BaseSource, People, SourceInfo, SyntheticSource
from posemoe_edge.runtime.sources.base import SourceItem
from posemoe_edge.runtime.sources.walker import Walker, walk_world

CAMERA = Camera(Intrinsics(900, 900, 640, 360), ImageSize(1280, 720), gravity=np.array([0.0, 1.0, 0.0]))


def walker_m(frames: int = 20, *, depth_m: float = 4.0) -> F64:
    """(T, 17, 3) a walker before a level camera, in its axes."""
    world = walk_world(np.arange(frames) / 25, seed=1)
    return np.stack([world[..., 0], 1.0 - world[..., 2], world[..., 1] + depth_m], axis=-1)


def keypoints(joints_m: F64, camera: Camera = CAMERA, score: float = 1.0) -> Keypoints:
    return Keypoints(np.concatenate([camera.project(joints_m), np.full((17, 1), score)], axis=1), H36M17, camera.size)


def stature_m(joints_m: F64) -> float:
    """Of a figure: legs and trunk are 0.785 of it."""
    return float(np.linalg.norm(np.diff(joints_m[[3, 2, 1]], axis=0), axis=1).sum()
                 + np.linalg.norm(np.diff(joints_m[[0, 7, 8]], axis=0), axis=1).sum()) / 0.785  # fmt: skip


def sight(camera: Camera | FieldOfView | None = CAMERA, **options: object) -> Sight:
    """That knows how tall the walker is."""
    known = {"recipe": "coco_eyes", "view": "image", "stature_m": stature_m(walker_m(1)[0])}
    return Sight(camera, **{**known, **options})  # type: ignore[arg-type]


def perfect(seen: F32, joints_m: F64, t_s: float, sight: Sight, **changes: object) -> Pose:
    """The pose of a lifter that knows the truth, in the axes in which it saw the person."""
    frame = sight._seen[0]
    axes = np.eye(3) if frame.view_from_camera is None else frame.view_from_camera
    pose_m = (joints_m - joints_m[:1]) @ axes.T
    pose = Pose(pose_m.astype(np.float32), seen[:, 2], t_s, dt_s=0.04, latency_frames=0, gap="none")
    return replace(pose, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("view", ["image", "person"])
def test_a_perfect_lifter_gives_the_truth_before_the_camera(view: str) -> None:
    """Also through distortion, at another resolution and with a camera that is turned."""
    lens = replace(CAMERA, distortion=Distortion("plumb_bob", (-0.28, 0.09, 0.0012, -0.0007)))
    half = lens.for_size(ImageSize(640, 360))
    stage = sight(lens, view=view)
    for i, joints_m in enumerate(walker_m()):
        seen = stage.see(i / 25, {0: keypoints(joints_m, half)})[0]
        pose = stage.place({0: perfect(seen, joints_m, i / 25, stage)})[0]
        np.testing.assert_allclose(pose.xyz_m, joints_m - joints_m[:1], atol=1e-5)
        assert pose.root is not None and pose.xyz_in_camera_m is not None
        np.testing.assert_allclose(pose.root.xyz_m, joints_m[0], atol=1e-3)
        np.testing.assert_allclose(pose.xyz_in_camera_m, joints_m, atol=1e-3)
        assert pose.root.residual_px < 0.1 and pose.root.held_s == 0 and pose.root.scale_from == "stature"
        assert pose.root.sigma_m[2] == pytest.approx(0.04 * joints_m[0, 2], rel=0.05)  # by how bodies differ


@pytest.mark.parametrize("lifted", [0.9, 1.0, 1.1])
def test_without_a_stature_the_position_is_that_of_an_adult_whatever_size_the_lifter_gives(lifted: float) -> None:
    stage, joints_m = sight(stature_m=None), walker_m()[0]
    seen = stage.see(0.0, {0: keypoints(joints_m)})[0]
    exact = perfect(seen, joints_m, 0.0, stage)
    root = stage.place({0: replace(exact, xyz_m=np.float32(lifted) * exact.xyz_m)})[0].root
    assert root is not None and root.scale_from == "prior"
    adult = 1.68 / stature_m(joints_m)
    np.testing.assert_allclose(root.xyz_m, adult * joints_m[0], rtol=1e-3)
    assert root.scale == pytest.approx(adult / lifted, rel=1e-3)
    assert root.sigma_m[2] == pytest.approx(np.hypot(0.10 / 1.68, 0.04) * root.xyz_m[2], rel=0.05)


def test_what_looks_at_the_person_is_said() -> None:
    assert sight().view_from == sight(FieldOfView(60)).view_from == "runtime"
    assert sight(None).view_from == sight(look=False).view_from == "none"
    assert sight(view="person").view_from == sight(None, view="person").view_from == "graph"


def test_without_a_view_the_lifter_gets_the_picture_as_it_is() -> None:
    given = keypoints(walker_m()[0])
    expected = normalise_screen(given.points, width_px=1280, height_px=720)
    for stage in (sight(look=False), sight(None)):
        np.testing.assert_allclose(stage.see(0.0, {0: given})[0], expected, atol=1e-6)


def test_a_camera_that_is_not_known_gives_no_position() -> None:
    stage, joints_m = sight(None), walker_m()[0]
    seen = stage.see(0.0, {0: keypoints(joints_m)})[0]
    pose = Pose(joints_m.astype(np.float32), seen[:, 2], 0.0, dt_s=0.04, latency_frames=0, gap="none")
    assert stage.place({0: pose})[0] is pose


def test_a_lifter_whose_poses_are_not_in_metres_gives_no_position() -> None:
    stage, joints_m = sight(metric=False), walker_m()[0]
    seen = stage.see(0.0, {0: keypoints(joints_m)})[0]
    pose = stage.place({0: perfect(seen, joints_m, 0.0, stage)})[0]
    assert pose.root is None
    np.testing.assert_allclose(pose.xyz_m, joints_m - joints_m[:1], atol=1e-5)  # turned back all the same


def test_keypoints_that_are_normalised_already_give_no_position() -> None:
    stage, points = sight(), np.ones((17, 3), np.float32)
    np.testing.assert_array_equal(stage.see(0.0, {0: Keypoints.from_normalised(points)})[0], points)
    pose = Pose(points, points[:, 2], 0.0, dt_s=0.04, latency_frames=0, gap="none")
    assert stage.place({0: pose})[0].root is None


def test_a_position_that_cannot_be_measured_is_held_for_a_while_and_less_and_less_certain() -> None:
    stage, joints_m = sight(), walker_m()[0]
    seen = stage.see(0.0, {0: keypoints(joints_m)})[0]
    lifted = perfect(seen, joints_m, 0.0, stage)
    first = stage.place({0: lifted})[0].root
    held = []
    for t_s in (0.4, 0.8, HOLD_S + 0.1):  # nobody is seen: a stream repeats the last pose, as the lifter gave it
        stage.see(t_s, {0: keypoints(joints_m, score=0.0)})
        held.append(stage.place({0: replace(lifted, t_s=t_s, gap="hold")})[0].root)
    stage.see(1.5, {0: keypoints(joints_m)})
    second, third, fourth = held
    fifth = stage.place({0: replace(lifted, t_s=1.5)})[0].root
    assert first is not None and second is not None and third is not None and fifth is not None
    assert fourth is None
    assert (first.held_s, second.held_s, third.held_s, fifth.held_s) == (0, 0.4, 0.8, 0)
    np.testing.assert_array_equal(third.xyz_m, first.xyz_m)
    np.testing.assert_allclose(third.sigma_m, np.hypot(first.sigma_m, 0.8), rtol=1e-5)


def test_a_pose_that_comes_late_is_turned_back_as_its_own_frame_was_seen() -> None:
    stage, walk = sight(latency_frames=2), walker_m(8)
    walk[:, :, 0] += np.linspace(-1, 1, 8)[:, None]  # the view turns after the person
    given: list[Pose] = []
    for i, joints_m in enumerate(walk):
        seen = stage.see(i / 25, {0: keypoints(joints_m)})[0]
        given.append(perfect(seen, joints_m, i / 25, stage))
        pose = stage.place({0: given[max(0, i - 2)]})[0]
        truth_m = walk[max(0, i - 2)]
        np.testing.assert_allclose(pose.xyz_m, truth_m - truth_m[:1], atol=1e-5)
        assert pose.root is not None
        np.testing.assert_allclose(pose.root.xyz_m, truth_m[0], atol=1e-3)


def test_a_person_who_was_lost_is_forgotten() -> None:
    stage, joints_m = sight(), walker_m()[0]
    seen = stage.see(0.0, {0: keypoints(joints_m)})[0]
    stage.place({0: perfect(seen, joints_m, 0.0, stage)})
    stage.forget(0)
    stage.see(0.1, {0: keypoints(joints_m, score=0.0)})
    assert stage.place({0: perfect(seen, joints_m, 0.1, stage, gap="hold")})[0].root is None


def test_the_place_of_the_camera_moves_people_into_the_room() -> None:
    """A camera 1.4 m above the floor that looks along the room's x, with z up."""
    world = np.eye(4)
    world[:3] = np.array([[0.0, 0, 1, 0.5], [-1, 0, 0, 0], [0, -1, 0, 1.4]])
    stage, joints_m = sight(replace(CAMERA, world_from_camera=world)), walker_m()[0]
    seen = stage.see(0.0, {0: keypoints(joints_m)})[0]
    pose = stage.place({0: perfect(seen, joints_m, 0.0, stage)})[0]
    assert pose.root is not None and pose.root.world_m is not None and pose.xyz_in_world_m is not None
    x, y, z = joints_m[0]
    np.testing.assert_allclose(pose.root.world_m, [z + 0.5, -x, 1.4 - y], atol=2e-3)
    np.testing.assert_allclose(pose.xyz_in_world_m[0], pose.root.world_m, atol=1e-6)
    record = pose.to_json()["root"]
    assert set(record) == {"xyz_m", "sigma_m", "residual_px", "scale", "scale_from", "held_s", "world_m"}


# In a pipeline, with the shipped lifter's kind of artefact.


class Clip(BaseSource):
    """People of a list, with a camera or without."""

    def __init__(self, items: Sequence[People], camera: Camera | None = None) -> None:
        self.items, self.camera = items, camera

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("a clip", fps=25.0, frames=len(self.items), camera=self.camera)

    def __iter__(self) -> Iterator[SourceItem]:
        return iter(self.items)


@pytest.fixture(scope="module")
def model() -> Model:
    pytest.importorskip("onnxruntime")
    return load(gaps=GapPolicy(decay_after_s=0.2, reset_after_s=0.5))


def lifted(pipeline: Pipeline) -> list[Pose]:
    return [event.poses[0] for event in pipeline if isinstance(event, PoseFrame)]


def test_turning_the_real_camera_turns_the_poses_and_changes_nothing_else(model: Model) -> None:
    """With gravity known, a camera that is rolled by 30 degrees and looks elsewhere gives the same people."""
    roll = np.radians(30)
    turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    rolled = replace(CAMERA, gravity=turn @ np.array([0.0, 1.0, 0.0]))
    clips = [
        Clip([People(i / 25, {0: keypoints(joints_m @ axes.T, camera)}) for i, joints_m in enumerate(walker_m())], camera)
        for camera, axes in ((CAMERA, np.eye(3)), (rolled, turn))
    ]
    plain, turned = (lifted(Pipeline(clip, model)) for clip in clips)
    for a, b in zip(plain, turned, strict=True):
        np.testing.assert_allclose(b.xyz_m, a.xyz_m @ turn.T, atol=1e-3)
        assert a.root is not None and b.root is not None
        np.testing.assert_allclose(b.root.xyz_m, turn @ a.root.xyz_m, atol=5e-3)


def test_the_camera_that_is_told_comes_before_the_sources_own(model: Model) -> None:
    clip = Clip([People(i / 25, {0: keypoints(joints_m)}) for i, joints_m in enumerate(walker_m(3))], CAMERA)
    own, told = lifted(Pipeline(clip, model)), lifted(Pipeline(clip, model, camera=FieldOfView(30)))
    assert own[0].root is not None and told[0].root is not None
    assert told[0].root.xyz_m[2] > 2 * own[0].root.xyz_m[2]  # the field of view is 71 degrees
    assert all(pose.root is None for pose in lifted(Pipeline(Clip(clip.items), model)))


def test_a_picture_of_another_aspect_than_the_cameras_ends_the_run(model: Model) -> None:
    camera = replace(CAMERA, size=ImageSize(1280, 960))
    with pytest.raises(UsageError, match="another aspect"):
        list(Pipeline(Clip([People(0.0, {0: keypoints(walker_m()[0])})]), model, camera=camera))


def test_a_frame_that_is_not_finite_is_refused_by_its_joint(model: Model) -> None:
    people = [People(i / 25, {0: keypoints(joints_m)}) for i, joints_m in enumerate(walker_m(3))]
    people[1].keypoints[0].points[5, 0] = np.nan
    stats = Pipeline(Clip(people, CAMERA), model).run()
    assert (stats.poses, stats.refused, stats.located) == (2, 1, 2)


def test_nobody_in_the_first_frame_is_a_frame_like_any_other(model: Model) -> None:
    people = [People(i / 25, {0: keypoints(joints_m, score=float(i > 0))}) for i, joints_m in enumerate(walker_m(3))]
    poses = lifted(Pipeline(Clip(people, CAMERA), model))
    assert [pose.root is not None for pose in poses] == [False, True, True]


def test_positions_are_measured_against_the_sources_truth(model: Model) -> None:
    stats = Pipeline(SyntheticSource(people=3, frames=50, noise_px=3.0), model).run()
    assert stats.located == stats.poses == 150
    assert stats.root_mm is not None and 20 < stats.root_mm < 300  # at 4.5 m, of people from 1.6 to 1.9 m


def test_a_known_size_puts_people_where_they_are(model: Model) -> None:
    """The walkers' sizes are known to the test alone; the floor is not known here."""
    without_mm, with_mm = list[float](), list[float]()
    for seed in range(8):
        source = SyntheticSource(people=1, seed=seed, frames=60)
        camera = replace(source.camera.calibration, height_m=None)
        for stature_m, off_mm in ((None, without_mm), (1.75 * Walker.draw(seed=seed).size, with_mm)):
            root_mm = Pipeline(source, model, camera=camera, stature_m=stature_m).run().root_mm
            assert root_mm is not None
            off_mm.append(root_mm)
    assert np.mean(with_mm) < 0.5 * np.mean(without_mm)


def test_most_positions_are_within_two_of_their_standard_deviations(model: Model) -> None:
    """Of 24 walkers, whose statures differ by 5 %: what a standard deviation of 68 and 95 % should hold."""
    off = []
    for seed in range(6):
        for event in Pipeline(SyntheticSource(people=4, seed=seed, fps=5, noise_px=3.0, frames=12), model):
            if isinstance(event, PoseFrame) and event.truth_root_m is not None:
                for person, pose in event.poses.items():
                    assert pose.root is not None
                    off.append(np.abs(pose.root.xyz_m - event.truth_root_m[person]) / pose.root.sigma_m)
    within_one, within_two = (np.stack(off) < 1).mean(axis=0), (np.stack(off) < 2).mean(axis=0)
    assert (within_one > 0.5).all() and (within_two > 0.88).all()
    assert within_one[2] < 0.95  # and not far too wide


def test_keypoints_that_no_body_fits_are_doubted_and_a_person_half_seen_is_not() -> None:
    stage, joints_m = sight(), walker_m()[0]
    stage.see(0.0, {0: keypoints(joints_m)})
    assert stage.place({0: perfect(np.ones((17, 3), np.float32), joints_m, 0.0, stage)})[0].doubts == ()
    rng = np.random.default_rng(0)
    scribble = Keypoints(np.c_[rng.uniform((300, 100), (900, 700), (17, 2)), np.ones(17)], H36M17, CAMERA.size)
    stage.see(0.04, {0: scribble})
    pose = stage.place({0: perfect(np.ones((17, 3), np.float32), joints_m, 0.04, stage)})[0]
    assert pose.doubts == ("fit",) and pose.to_json()["doubts"] == ["fit"]
    points = scribble.points.copy()
    points[5:, 2] = 0  # too few joints to tell
    stage.see(0.08, {0: replace(scribble, points=points)})
    assert stage.place({0: perfect(np.ones((17, 3), np.float32), joints_m, 0.08, stage)})[0].doubts == ()


def doubted(model: Model, people: Sequence[Keypoints]) -> float:
    """The share of frames whose fit is doubted."""
    poses = lifted(Pipeline(Clip([People(i / 25, {0: keypoints}) for i, keypoints in enumerate(people)], CAMERA), model))
    return float(np.mean(["fit" in pose.doubts for pose in poses]))


def test_the_lifter_fits_no_body_to_scrambled_joints_or_to_two_peoples_halves(model: Model) -> None:
    """It follows any keypoints as far as it can, which is not far enough."""
    rng = np.random.default_rng(4)
    whole = [keypoints(joints_m) for joints_m in walker_m(12)]
    assert doubted(model, whole) == 0
    trembling = [replace(person, points=person.points + rng.normal(size=(17, 3)) * (6, 6, 0)) for person in whole]
    assert doubted(model, trembling) == 0
    for _ in range(3):
        order = rng.permutation(17)
        assert doubted(model, [replace(person, points=person.points[order]) for person in whole]) > 0.9
    halves = []
    for person in whole:
        points = person.points.copy()
        points[1:7, 0] += 400  # the legs of somebody who stands beside this one, who is 400 px tall
        halves.append(replace(person, points=points))
    assert doubted(model, halves) > 0.9


def test_people_who_bend_sit_or_stand_on_their_hands_are_not_doubted(model: Model) -> None:
    bodies = walker_m(12)
    on_hands = bodies * (1, -1, 1) + (0, 1, 0)
    bent = bodies.copy()
    trunk = bent[:, 7:] - bent[:, :1]
    bent[:, 7:] = bent[:, :1] + np.stack([trunk[..., 1], trunk[..., 0], trunk[..., 2]], axis=-1)  # forwards by 90 degrees
    for body in (on_hands, bent):
        assert doubted(model, [keypoints(joints_m) for joints_m in body]) < 0.1
