"""What a detector makes of people: its own joint definitions, errors that last, confidence, people cut off or hidden, swaps.

Keypoints are (B, T, 17, 3) normalised x, y and confidence; a missing joint is (0, 0, 0).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...runtime.pose.skeleton import H36M17
from ..data.augment import CONFIDENCE_NOISE, GAUSSIAN_SHARE, JITTER, KEY_FRAMES, LIMBS, LOWEST_CONFIDENCE, OUTLIER, SIGMA
from .bodies import trunk_axes, unit
from .cameras import Cameras

CLEAN_SHARE = 0.15  # of the rows: exact and complete, as far as the picture goes
# Of the other rows: every joint in the picture is found. Where joints are missing, time helps so much that a stream learns
# nothing else.
COMPLETE_SHARE = 0.5
COCO_SHARE = 0.5  # of the other rows: keypoints of COCO's definitions, brought to Human3.6M's by the recipe coco_eyes
GUESSED_SHARE = 0.3  # of the rows: joints outside the picture or hidden are guessed badly instead of left out
OCCLUDED_SHARE = 0.15  # of the rows
JOINT_LOSS, FRAME_LOSS = 0.04, 0.05
LIMB_LOSS_EVERY = 250.0  # frames
SWAP_SHARE = 0.03  # of the rows, at any frame

_J = {name: index for index, name in enumerate(H36M17.joints)}


def definitions(joints_m: Tensor, generator: torch.Generator) -> Tensor:
    """Points (B, T, 17, 3), world, that a detector calls by the joints' names.

    Each row has constant offsets of its own: small ones at every joint, and for COCO's definitions a nose that is the tip of
    the nose, a head between the eyes, a spine and a thorax computed from hips and shoulders, which are wider or narrower.
    """
    rows, device = len(joints_m), joints_m.device

    def normal(mean: float, sd: float, *shape: int) -> Tensor:
        return torch.randn(rows, 1, *shape, generator=generator, device=device) * sd + mean

    axes = trunk_axes(joints_m)  # (B, T, 3, 3) of the pelvis
    up = axes[:, :, 2]
    points = joints_m + normal(0.0, 0.008, 17, 3) @ axes
    head_up = unit(points[:, :, _J["head"]] - points[:, :, _J["thorax"]])
    shoulders = joints_m[:, :, _J["left_shoulder"]] - joints_m[:, :, _J["right_shoulder"]]
    head_forward = unit(torch.linalg.cross(shoulders, head_up))
    head = joints_m[:, :, _J["head"]]
    coco = points.clone()
    coco[:, :, _J["nose"]] = head + normal(0.11, 0.02, 1) * head_forward + normal(-0.025, 0.02, 1) * head_up
    coco[:, :, _J["head"]] = head + normal(0.085, 0.02, 1) * head_forward + normal(0.015, 0.02, 1) * head_up
    for bottom, width, rise in (("hip", normal(1.2, 0.2, 1), normal(0.01, 0.02, 1)),
                                ("shoulder", normal(0.95, 0.06, 1), normal(-0.01, 0.02, 1))):  # fmt: skip
        a, b = _J[f"left_{bottom}"], _J[f"right_{bottom}"]
        middle, half = (points[:, :, a] + points[:, :, b]) / 2, (points[:, :, a] - points[:, :, b]) / 2
        coco[:, :, a], coco[:, :, b] = middle + half * width + up * rise, middle - half * width + up * rise
    hips = (coco[:, :, _J["left_hip"]] + coco[:, :, _J["right_hip"]]) / 2
    neck = (coco[:, :, _J["left_shoulder"]] + coco[:, :, _J["right_shoulder"]]) / 2
    coco[:, :, _J["hip"]], coco[:, :, _J["thorax"]], coco[:, :, _J["spine"]] = hips, neck, (hips + neck) / 2
    as_coco = torch.rand(rows, generator=generator, device=device) < COCO_SHARE
    return torch.where(as_coco[:, None, None, None], coco, points)


def detect(joints_m: Tensor, cameras: Cameras, generator: torch.Generator, *, clean_share: float = CLEAN_SHARE) -> Tensor:
    """Keypoints (B, T, 17, 3) of the people (B, T, 17, 3), world, as a detector finds them in these cameras' pictures."""
    rows, frames, joints, _ = joints_m.shape
    device = joints_m.device

    def chance(share: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device) < share

    clean = chance(clean_share, rows)[:, None, None]  # (B, 1, 1)
    exact = cameras.to_camera(joints_m)
    exact_xy = cameras.project(exact)
    named = cameras.project(cameras.to_camera(definitions(joints_m, generator)))
    size = _size(exact_xy)  # (B, T, 1, 1)
    error, confidence = _errors(size, (rows, frames, joints), generator, device)
    xy = torch.where(clean[..., None], exact_xy, named + error)
    score = torch.where(clean, 1.0, confidence)

    inside = cameras.inside(exact_xy, exact[..., 2])
    hidden = ~clean & _occluded(exact_xy, generator)
    guessed = ~clean & chance(GUESSED_SHARE, rows)[:, None, None]
    away = hidden | ~inside
    wild = torch.randn(rows, frames, joints, 2, generator=generator, device=device) * 0.3 * size
    edge = torch.stack([torch.ones_like(cameras.half_height), cameras.half_height], dim=-1)[:, None, None]
    xy = torch.where((away & guessed)[..., None], (xy + wild).minimum(edge).maximum(-edge), xy)
    score = torch.where(away & guessed, score * 0.3, score).clamp(min=LOWEST_CONFIDENCE)
    loses = ~clean & ~chance(COMPLETE_SHARE, rows)[:, None, None]
    dropped = chance(JOINT_LOSS, rows, frames, joints) | chance(FRAME_LOSS, rows, frames, 1)
    lost = (away & ~guessed) | (loses & (dropped | _limb_losses((rows, frames, joints), generator, device)))
    keypoints = torch.cat([xy, score[..., None]], dim=-1)
    keypoints = _swap_sides(keypoints, ~clean[:, :, 0] & chance(SWAP_SHARE, rows, 1), generator)
    return torch.where(lost[..., None], 0.0, keypoints)


def _errors(
    size: Tensor, shape: tuple[int, int, int], generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Errors (B, T, J, 2), drawn at key frames and interpolated, with white jitter, and the confidence (B, T, J)."""
    rows, frames, joints = shape
    keys = (frames - 1) // KEY_FRAMES + 2
    sigma = torch.from_numpy(SIGMA).to(device)[:, None]
    gaussian = torch.randn(rows, keys, joints, 2, generator=generator, device=device) * sigma
    outlier = (torch.rand(rows, keys, joints, 2, generator=generator, device=device) * 2 - 1) * OUTLIER
    is_gaussian = torch.rand(rows, keys, joints, 1, generator=generator, device=device) < GAUSSIAN_SHARE
    at_key = torch.where(is_gaussian, gaussian, outlier)
    time = torch.arange(frames, device=device)
    key, weight = time // KEY_FRAMES, ((time % KEY_FRAMES) / KEY_FRAMES)[:, None, None]
    error = (1 - weight) * at_key[:, key] + weight * at_key[:, key + 1]
    error = error + torch.randn(error.shape, generator=generator, device=device) * JITTER
    confidence = torch.exp(error.square().sum(-1) * (math.log(0.3) / 0.03**2))
    confidence = confidence + torch.randn(confidence.shape, generator=generator, device=device) * CONFIDENCE_NOISE

    def per_row(count: int = 1) -> Tensor:
        return torch.rand(rows, 1, 1, count, generator=generator, device=device)

    # A detector's errors grow with the person, which it sees in a crop; half of the rows keep the absolute size.
    level = torch.exp(torch.randn(rows, 1, 1, 1, generator=generator, device=device) * 0.4)
    relative = torch.where(per_row() < 0.5, size / 0.3, 1.0)
    # Detectors disagree about what a confidence is: as it is, squeezed and shifted, or always 1.
    style, low, gain = per_row()[..., 0], 0.6 * per_row()[..., 0], 0.4 + 0.6 * per_row()[..., 0]
    confidence = torch.where(style < 0.5, confidence, torch.where(style < 0.85, low + gain * confidence * (1 - low), 1.0))
    return error * level * relative, confidence.clamp(LOWEST_CONFIDENCE, 1)


def _size(xy: Tensor) -> Tensor:
    """(B, T, 1, 1) root mean square distance of a person's points from their middle, normalised."""
    middle = xy.mean(dim=2, keepdim=True)
    return (xy - middle).square().sum(-1, keepdim=True).mean(2, keepdim=True).clamp(1e-6, 4).sqrt()


def _occluded(xy: Tensor, generator: torch.Generator) -> Tensor:
    """(B, T, J) joints behind something: all beyond a line across the person, for as long as the row lasts."""
    rows, device = len(xy), xy.device
    angle = torch.rand(rows, 1, 1, generator=generator, device=device) * 2 * math.pi
    below = torch.rand(rows, 1, 1, generator=generator, device=device) < 0.6  # a table or another person's back
    angle = torch.where(below, math.pi / 2, angle)
    middle, size = xy.mean(dim=2, keepdim=True), _size(xy)[..., 0]
    along = (xy[..., 0] - middle[..., 0]) * angle.cos() + (xy[..., 1] - middle[..., 1]) * angle.sin()
    beyond = along > size * (torch.rand(rows, 1, 1, generator=generator, device=device) * 1.4 - 0.2)
    return beyond & (torch.rand(rows, 1, 1, generator=generator, device=device) < OCCLUDED_SHARE)


def _limb_losses(shape: tuple[int, int, int], generator: torch.Generator, device: torch.device) -> Tensor:
    """(B, T, J) one limb missing for 5 to 30 frames, on average once in ``LIMB_LOSS_EVERY`` frames of a row."""
    rows, frames, _joints = shape
    lost = torch.zeros(shape, dtype=torch.bool, device=device)
    chance = 1 - math.exp(-max(frames, 18) / LIMB_LOSS_EVERY)
    chosen = torch.rand(rows, generator=generator, device=device) < chance
    limb = torch.randint(len(LIMBS), (rows,), generator=generator, device=device)
    start = (torch.rand(rows, 1, generator=generator, device=device) * (frames + 17) - 17).floor()
    length = torch.randint(5, 31, (rows, 1), generator=generator, device=device)
    time = torch.arange(frames, device=device)
    spell = (time >= start) & (time < start + length) & chosen[:, None]  # (B, T)
    for index, bones in enumerate(LIMBS):
        lost[:, :, list(bones)] |= (spell & (limb == index)[:, None])[..., None]
    return lost


def _swap_sides(keypoints: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Left and right legs, arms, or all of them exchanged for some frames of the chosen rows (B, 1)."""
    rows, frames = keypoints.shape[:2]
    device = keypoints.device
    order = torch.tensor(H36M17.mirrored, device=device)
    kind = torch.randint(3, (rows, 1, 1), generator=generator, device=device)  # legs, arms, all
    is_leg = torch.zeros(17, dtype=torch.bool, device=device)
    is_leg[1:7] = True
    of_kind = torch.where(kind == 0, is_leg, torch.where(kind == 1, ~is_leg, torch.ones_like(is_leg)))  # (B, 1, J)
    start = (torch.rand(rows, 1, generator=generator, device=device) * frames).floor()
    length = torch.randint(1, 9, (rows, 1), generator=generator, device=device)
    time = torch.arange(frames, device=device)
    spell = (time >= start) & (time < start + length) & chosen  # (B, T)
    return torch.where((spell[..., None] & of_kind)[..., None], keypoints[:, :, order], keypoints)
