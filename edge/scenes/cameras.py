"""Cameras as robots have them: low and high, near and far, wide and narrow, upright and on their side, rolled and pitched."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...runtime.pose.camera import NOMINAL_FOCAL

ASPECTS = (0.5625, 0.75, 1.0, 1.002, 4 / 3, 16 / 9)  # height / width
FOCAL = (0.4, 1.6)  # of the width
HEIGHT_M = (0.2, 3.0)
DISTANCE_M = (1.5, 10.0)
PITCH_DEG = (-40.0, 60.0)  # downwards is positive
ROLL_DEG = 30.0
STUDIO_SHARE = 0.35  # of the cameras are like Human3.6M's
OFF_CENTRE = 0.7  # of half the picture: how far from its middle the person may be
NOMINAL_SHARE, PERTURBED_SHARE = 0.1, 0.1  # of the rows are told nominal or slightly wrong intrinsics
SMALLEST, LARGEST = 0.15, 1.6  # height of an upright person, of the picture's shorter side


@dataclass(frozen=True, eq=False)
class Cameras:
    """One static pinhole camera for each row. Where the picture is 2 wide, as keypoints are normalised.

    Args:
        rotation: (B, 3, 3) camera_from_world; rows are right, down, forward.
        eye_m: (B, 3)
        intrinsics: (B, 4) fx, fy, cx, cy.
        half_height: (B,) of the picture; half its width is 1.
    """

    rotation: Tensor
    eye_m: Tensor
    intrinsics: Tensor
    half_height: Tensor

    def to_camera(self, points_m: Tensor) -> Tensor:
        """World (B, T, J, 3) to camera axes, metres."""
        return (points_m - self.eye_m[:, None, None]) @ self.rotation[:, None].transpose(-1, -2)

    def project(self, points_m: Tensor) -> Tensor:
        """Camera axes (B, T, J, 3) to normalised x, y (B, T, J, 2); what is not in front of the camera lies far outside."""
        depth = points_m[..., 2:].clamp(min=0.05)
        focal, centre = self.intrinsics[:, None, None, :2], self.intrinsics[:, None, None, 2:]
        return (points_m[..., :2] / depth * focal + centre).clamp(-20, 20)

    def inside(self, xy: Tensor, depth_m: Tensor) -> Tensor:
        """(B, T, J) whether points are in the picture."""
        x_in, y_in = xy[..., 0].abs() < 1, xy[..., 1].abs() < self.half_height[:, None, None]
        return x_in & y_in & (depth_m > 0.1)


def draw_cameras(target_m: Tensor, reach_m: Tensor, generator: torch.Generator) -> Cameras:
    """A camera for each person.

    Args:
        target_m: (B, 3) the middle of the person's path, world, z up.
        reach_m: (B,) how far the path goes from there: no camera comes nearer than that and a metre.
    """
    rows, device = len(target_m), target_m.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(rows, generator=generator, device=device) * (high - low) + low

    def normal(sd: float) -> Tensor:
        return torch.randn(rows, generator=generator, device=device) * sd

    studio = torch.rand(rows, generator=generator, device=device) < STUDIO_SHARE
    aspects = torch.tensor(ASPECTS, device=device)
    aspect = aspects[torch.randint(len(ASPECTS), (rows,), generator=generator, device=device)]
    half_height = torch.where(studio, 1.002, aspect)
    focal = torch.exp(uniform(math.log(FOCAL[0]), math.log(FOCAL[1])))
    focal = 2 * torch.where(studio, uniform(1.145, 1.15), focal)
    intrinsics = torch.stack([focal, focal * (1 + normal(0.005)), normal(0.015), half_height * normal(0.015)], dim=-1)

    far = torch.exp(uniform(math.log(DISTANCE_M[0]), math.log(DISTANCE_M[1])))
    # So far that the person is neither a speck nor much larger than the picture.
    shorter = 2 * torch.minimum(torch.ones_like(half_height), half_height)
    far = torch.minimum(torch.maximum(far, 1.7 * focal / (LARGEST * shorter)), 1.7 * focal / (SMALLEST * shorter))
    distance = torch.where(studio, uniform(2.5, 6), far).maximum(reach_m + 1)
    height = torch.where(studio, uniform(1, 2), uniform(*HEIGHT_M))
    pitch = torch.atan2(height - target_m[:, 2], distance)
    pitch = pitch.clamp(math.radians(PITCH_DEG[0]), math.radians(PITCH_DEG[1]))
    azimuth = uniform(0, 2 * math.pi)
    away = torch.stack([azimuth.cos() * pitch.cos(), azimuth.sin() * pitch.cos(), pitch.sin()], dim=-1)
    eye = target_m + distance[:, None] * away

    # The camera that looks at the person, upright, then turned about its own centre and rolled.
    forward = -away
    right = torch.stack([-azimuth.sin(), azimuth.cos(), torch.zeros_like(azimuth)], dim=-1)
    look = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=-2)
    reach_x, reach_y = OFF_CENTRE / intrinsics[:, 0], OFF_CENTRE * half_height / intrinsics[:, 1]
    x = torch.where(studio, normal(0.04), uniform(-1, 1) * reach_x)
    y = torch.where(studio, normal(0.03), uniform(-1, 1) * reach_y)
    steady = torch.rand(rows, generator=generator, device=device) < 0.4
    roll = torch.where(steady, normal(math.radians(2)), torch.deg2rad(uniform(-ROLL_DEG, ROLL_DEG)))
    roll = torch.where(studio, normal(math.radians(1.5)), roll)
    turn = _about(2, roll) @ _about(0, torch.atan(y)) @ _about(1, -torch.atan(x))
    return Cameras(turn @ look, eye, intrinsics, half_height)


def told_intrinsics(cameras: Cameras, generator: torch.Generator) -> Tensor:
    """(B, 4) what a network is told of the cameras: mostly the truth, sometimes a little off, sometimes nominal."""
    true = cameras.intrinsics
    rows, device = len(true), true.device
    draw = torch.rand(rows, 1, generator=generator, device=device)
    factor = 1 + 0.08 * torch.randn(rows, 1, generator=generator, device=device).clamp(-2, 2)
    perturbed = torch.cat([true[:, :2] * factor, true[:, 2:]], dim=-1)
    side = 2 * torch.maximum(torch.ones_like(cameras.half_height), cameras.half_height)
    nominal = torch.stack([side, side, torch.zeros_like(side), torch.zeros_like(side)], dim=-1)
    return torch.where(draw < NOMINAL_SHARE, nominal, torch.where(draw < NOMINAL_SHARE + PERTURBED_SHARE, perturbed, true))


def renormalise(keypoints: Tensor, intrinsics: Tensor) -> Tensor:
    """Keypoints (B, T, J, 3) normalised by the picture, normalised by cameras (B, 4) instead; missing joints stay (0, 0, 0).

    The same as ``runtime.pose.camera.renormalise_by_camera``, on the device.
    """
    focal, centre = intrinsics[:, None, None, :2], intrinsics[:, None, None, 2:]
    xy = (keypoints[..., :2] - centre) / focal * NOMINAL_FOCAL
    return torch.where(keypoints[..., 2:] > 0, torch.cat([xy, keypoints[..., 2:]], dim=-1), 0.0)


def _about(axis: int, angle: Tensor) -> Tensor:
    """(B, 3, 3) rotations about a camera axis."""
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    turn = torch.eye(3, device=angle.device).repeat(len(angle), 1, 1)
    turn[:, i, i] = turn[:, j, j] = angle.cos()
    turn[:, i, j], turn[:, j, i] = -angle.sin(), angle.sin()
    return turn
