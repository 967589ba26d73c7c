"""Training scenes: bodies stay bodies, cameras are what was asked for, detectors hide what they cannot see."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.scenes import bodies
from posemoe_edge.edge.scenes.cameras import FOCAL, draw_cameras, renormalise
from posemoe_edge.edge.scenes.detector import detect
from posemoe_edge.edge.scenes.motion_bank import MotionBank
from posemoe_edge.edge.scenes.scenes import Scenes
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.pose.camera import renormalise_by_camera
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.sources.walker import walk_world
from torch import Tensor

PARENTS = [max(parent, 0) for parent in H36M17.parents]


def clip(number: int, frames: int = 120, *, subject: str = "001", fps: float = 50.0) -> Clip:
    joints = walk_world(np.arange(frames) / fps, seed=number, person=0).astype(np.float32)
    return Clip(f"CMU_{number:03}", subject, "walk", "train", True, fps, joints)


@pytest.fixture(scope="module")
def bank() -> MotionBank:
    return MotionBank([clip(number, 90 + 40 * number) for number in range(4)])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def walkers(bank: MotionBank, rows: int = 16, frames: int = 30) -> Tensor:
    choice = bank.draw_windows(np.random.default_rng(0), rows, frames)
    return bank.joints_m[choice.index]


def lengths(joints_m: Tensor) -> Tensor:
    """(B, T, 17) bone lengths, metres."""
    length: Tensor = torch.linalg.vector_norm(joints_m - joints_m[:, :, PARENTS], dim=-1)
    return length


def test_a_window_is_an_evenly_spaced_part_of_one_clip(bank: MotionBank) -> None:
    choice = bank.draw_windows(np.random.default_rng(1), 50, 20, strides=((2, 1.0),))
    steps = choice.index.diff(dim=1)
    assert ((steps == 2) | (steps == 0) | (steps == 1)).all()  # a clip that is too short repeats its last frame
    assert (steps == 2).float().mean() > 0.9
    assert torch.equal(choice.dt_s, torch.full((50, 20), 0.04))
    assert choice.reset[:, 0].all() and not choice.reset[:, 1:].any()


def test_a_stream_goes_from_clip_to_clip_with_a_reset(bank: MotionBank) -> None:
    choice = bank.draw_streams(np.random.default_rng(1), 8, 400)
    forwards = choice.index.diff(dim=1) > 0
    assert (forwards | choice.reset[:, 1:]).all()
    assert choice.reset[:, 1:].any() and choice.reset[:, 0].all()
    steps = choice.index.diff(dim=1)[~choice.reset[:, 1:]]
    dt_frames = (choice.dt_s[:, 1:] * bank.fps).round().long()[~choice.reset[:, 1:]]
    assert torch.equal(steps, dt_frames)  # the time since the frame before is that of the clip


def test_clips_of_several_rates_are_refused() -> None:
    with pytest.raises(UsageError, match="resample"):
        MotionBank([clip(0), clip(1, fps=25.0)])


def test_the_same_seed_gives_the_same_scenes(bank: MotionBank) -> None:
    options = {"rows": 3, "frames": 12, "windows": False, "view": "person"}
    first, second, other = (next(Scenes(bank, seed=seed, **options)) for seed in (4, 4, 5))  # type: ignore[arg-type]
    assert torch.equal(first.keypoints, second.keypoints) and torch.equal(first.pose_m, second.pose_m)
    assert not torch.equal(first.keypoints, other.keypoints)


@pytest.mark.parametrize("windows", [True, False])
def test_a_scene_is_finite_and_its_poses_are_relative_to_the_root(bank: MotionBank, windows: bool) -> None:
    batch = next(Scenes(bank, rows=32, frames=24, windows=windows, view="person", seed=0))
    assert batch.keypoints.shape == batch.pose_m.shape == (32, 24, 17, 3)
    assert torch.isfinite(batch.keypoints).all() and torch.isfinite(batch.pose_m).all()
    assert not batch.pose_m[:, :, 0].any()
    missing = batch.keypoints[..., 2] == 0
    assert not batch.keypoints[missing].any() and 0.02 < missing.float().mean() < 0.6
    part = batch.slice_frames(slice(5, 9))
    assert torch.equal(part.dt_s, batch.dt_s[:, 5:9])


def test_bone_lengths_of_a_row_never_change(bank: MotionBank) -> None:
    batch = next(Scenes(bank, rows=64, frames=24, windows=True, view="image", seed=2))
    length = lengths(batch.pose_m)
    assert (length - length[:, :1]).abs().max() < 2e-3


def hinge_normals(joints_m: Tensor) -> Tensor:
    """(B, T, 4, 3) unit normals of the planes in which knees and elbows bend, in the axes of the pelvis."""
    local = (bodies.trunk_axes(joints_m)[:, :, None] @ bodies.to_bones(joints_m)[..., None])[..., 0]
    upper, lower = local[:, :, [2, 5, 12, 15]], local[:, :, [3, 6, 13, 16]]
    return bodies.unit(torch.linalg.cross(bodies.unit(upper), bodies.unit(lower)))


def test_knees_and_elbows_bend_more_or_less_in_their_own_plane(bank: MotionBank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "TURNS", ())
    joints = walkers(bank)
    bent = bodies.turn_joints(joints, generator())
    alike = (hinge_normals(joints) * hinge_normals(bent)).sum(-1)
    assert alike.min() > 0.99  # none bends backwards
    reach = torch.linalg.vector_norm(bent[:, :, 3] - bent[:, :, 1], dim=-1) - torch.linalg.vector_norm(
        joints[:, :, 3] - joints[:, :, 1], dim=-1
    )
    assert reach.abs().mean() > 0.005 and reach.min() < 0 < reach.max()  # hip to ankle: nearer or farther


def test_turned_joints_are_another_pose_of_the_same_body_that_lasts(bank: MotionBank) -> None:
    joints = walkers(bank)
    turned = bodies.turn_joints(joints, generator())
    torch.testing.assert_close(lengths(turned), lengths(joints), atol=1e-4, rtol=0)
    torch.testing.assert_close(turned[..., 2].amin(-1), joints[..., 2].amin(-1), atol=1e-5, rtol=0)  # on the floor
    change = torch.linalg.vector_norm(bodies.to_bones(turned) - bodies.to_bones(joints), dim=-1)  # (B, T, 17)
    assert change[:, :, [2, 5, 12, 15]].mean() > 0.02
    motion, turned_motion = (x.diff(dim=1).norm(dim=-1).mean() for x in (joints, turned))
    assert 0.5 < turned_motion / motion < 1.5  # nothing jumps from frame to frame


def test_another_body_has_symmetric_bones_within_the_ranges(bank: MotionBank) -> None:
    joints = walkers(bank)
    reshaped = bodies.reshape_bodies(joints, generator())
    ratio = lengths(reshaped)[..., 1:] / lengths(joints)[..., 1:]
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), atol=1e-3, rtol=0)  # one factor for all frames
    left, right = [j - 1 for j in H36M17.left], [j - 1 for j in H36M17.right]
    torch.testing.assert_close(ratio[..., left], ratio[..., right], atol=1e-4, rtol=0)
    assert ratio.std(dim=0).min() > 0.01
    body = reshaped[:, 0, 0, 2] / joints[:, 0, 0, 2]
    assert bodies.BODY_RANGE[0] <= body.min() and body.max() <= bodies.BODY_RANGE[1]
    for bones, (low, high) in bodies.BONE_GROUPS.values():
        of_group = ratio[:, 0, bones[0] - 1] / body
        assert low - 1e-3 <= of_group.min() and of_group.max() <= high + 1e-3


def test_every_bone_is_in_one_group() -> None:
    grouped = [bone for bones, _ in bodies.BONE_GROUPS.values() for bone in bones]
    assert sorted(grouped) == list(range(1, 17))


def test_a_swapped_limb_keeps_its_length_and_moves_otherwise(bank: MotionBank) -> None:
    joints = walkers(bank)
    reset = torch.zeros(joints.shape[:2], dtype=torch.bool)
    reset[3, 10] = True
    swapped, resets = bodies.swap_limbs(joints, reset, generator())
    torch.testing.assert_close(lengths(swapped), lengths(joints), atol=1e-5, rtol=0)
    assert (swapped - joints).abs().amax(dim=(1, 2, 3)).gt(0.02).float().mean() > 0.2
    assert resets[3, 10] and resets.sum() >= 1


def test_bent_knees_bend_forward_and_the_lowest_joint_stays_where_it_was(
    bank: MotionBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "POSTURE_SHARE", 1.0)
    joints = walkers(bank, rows=200, frames=1)
    bent = bodies.bend(joints, torch.full((200, 1), 0.02), generator())
    torch.testing.assert_close(bent[..., 2].amin(-1), joints[..., 2].amin(-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(lengths(bent), lengths(joints), atol=1e-5, rtol=0)
    forward = bodies.trunk_axes(joints)[:, :, 1]
    for hip, knee, ankle in ((1, 2, 3), (4, 5, 6)):
        middle = (bent[:, :, hip] + bent[:, :, ankle]) / 2
        folded = torch.linalg.vector_norm(bent[:, :, hip] - bent[:, :, ankle], dim=-1) < 0.6
        ahead = ((bent[:, :, knee] - middle) * forward).sum(-1)
        assert folded.float().mean() > 0.05 and (ahead[folded] > 0).float().mean() > 0.95


def test_trunk_axes_point_left_forward_and_up(bank: MotionBank) -> None:
    joints = walkers(bank, rows=8, frames=40)
    axes = bodies.trunk_axes(joints)
    assert torch.allclose(torch.linalg.det(axes), -torch.ones(8, 40), atol=1e-4)  # left, forward, up: a left-handed order
    travelled = joints[:, -1, 0] - joints[:, 0, 0]
    ahead = (axes[:, :, 1].mean(1) * travelled).sum(-1)
    assert (ahead > 0).all()  # walkers walk forwards


def test_cameras_look_at_the_person_from_where_robots_are() -> None:
    target = torch.tensor([[0.0, 0, 0.9]]).repeat(4000, 1)
    cameras = draw_cameras(target, torch.zeros(4000), generator())
    identity = cameras.rotation @ cameras.rotation.transpose(-1, -2)
    torch.testing.assert_close(identity, torch.eye(3).expand(4000, 3, 3), atol=1e-5, rtol=0)
    assert torch.linalg.det(cameras.rotation).min() > 0.999
    seen = cameras.to_camera(target[:, None, None])
    assert cameras.inside(cameras.project(seen), seen[..., 2]).float().mean() > 0.99
    assert cameras.rotation[:, 1, 2].max() < 0  # the world's up is up in every picture
    focal = cameras.intrinsics[:, 0] / 2
    assert focal.min() < 1.2 * FOCAL[0] and focal.max() > 0.9 * FOCAL[1]
    assert cameras.eye_m[:, 2].min() > 0 and (cameras.eye_m[:, 2] > 2.5).any() and (cameras.eye_m[:, 2] < 0.5).any()
    portrait = cameras.half_height > 1.2
    assert 0.1 < portrait.float().mean() < 0.6


def test_joints_outside_the_picture_are_missing_or_uncertain(bank: MotionBank) -> None:
    joints = walkers(bank, rows=400, frames=1)
    target = joints[:, 0, 10]  # aimed at the head and near: legs are cut off
    cameras = draw_cameras(target, torch.zeros(400), generator())
    points = cameras.to_camera(joints)
    outside = ~cameras.inside(cameras.project(points), points[..., 2])
    keypoints = detect(joints, cameras, generator(1), clean_share=0.0)
    assert outside.any()
    score = keypoints[..., 2][outside]
    assert (score == 0).float().mean() > 0.5 and score.max() <= 0.31
    clean = detect(joints, cameras, generator(1), clean_share=1.0)
    assert (clean[..., 2][outside] == 0).float().mean() == pytest.approx((score == 0).float().mean(), abs=0.5)
    exact = cameras.project(points)[~outside]
    torch.testing.assert_close(clean[..., :2][~outside], exact)


def test_the_device_normalises_by_the_camera_as_the_runtime_does() -> None:
    keypoints = torch.rand(3, 4, 17, 3, generator=generator())
    keypoints[:, :, 2] = 0
    intrinsics = torch.tensor([[2.1, 2.2, 0.1, -0.1]]).repeat(3, 1)
    expected = renormalise_by_camera(keypoints.numpy(), intrinsics[:, None].expand(-1, 4, -1).numpy())
    np.testing.assert_allclose(renormalise(keypoints, intrinsics).numpy(), expected, atol=1e-6)


def test_rotations_turn_by_their_angle() -> None:
    turn = bodies.rotation(torch.tensor([[0.0, 0, 1]]), torch.tensor([math.pi / 2]))[0]
    torch.testing.assert_close(turn @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)
