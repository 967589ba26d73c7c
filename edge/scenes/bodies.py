"""Bodies and postures beyond the captured ones: other proportions, limbs of others, squats and seats, people who lie.

All functions take joints (B, T, 17, 3) in the world, metres, z up, and return new ones. A row stays one person: bone lengths
are constant over time, and what is changed changes smoothly.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...runtime.pose.skeleton import H36M17

# Bones by the joint at their end, and the range of their scale factor, which left and right share. The wide ranges of hips and
# shoulders cover both CMU's and Human3.6M's definition of these joints.
BONE_GROUPS: dict[str, tuple[tuple[int, ...], tuple[float, float]]] = {
    "hips": ((1, 4), (0.9, 1.5)),
    "thighs": ((2, 5), (0.9, 1.1)),
    "shins": ((3, 6), (0.9, 1.1)),
    "torso": ((7, 8), (0.9, 1.1)),
    "neck_head": ((9, 10), (0.9, 1.1)),
    "shoulders": ((11, 14), (0.75, 1.1)),
    "upper_arms": ((12, 15), (0.9, 1.1)),
    "forearms": ((13, 16), (0.9, 1.1)),
}

UPPER, LOWER = (7, 8, 14, 11), (0, 7, 1, 4)  # parts of the trunk as joints: bottom, top, right, left
# The bones of each limb, by the joint at their end, and the part of the trunk that the limb is attached to.
LIMB_BONES = (((12, 13), UPPER), ((15, 16), UPPER), ((9, 10), UPPER), ((2, 3), LOWER), ((5, 6), LOWER))
BODY_RANGE = (0.87, 1.13)
LEAN_DEG = 8.0  # standard deviation of a row's lean
LIMB_CHANCE = 0.5  # of each limb of a row that takes limbs from others
SWAP_SHARE, POSTURE_SHARE, LIE_SHARE = 0.75, 0.2, 0.05  # of the rows
# Bones that turn together about the joint at their beginning, and the standard deviation of their turn in a row of mean level.
TURNS: tuple[tuple[tuple[int, ...], float], ...] = (
    ((12, 13), 15.0), ((15, 16), 15.0), ((2, 3), 10.0), ((5, 6), 10.0), ((9, 10), 10.0),
    ((8, 9, 10, 11, 12, 13, 14, 15, 16), 6.0),
)  # fmt: skip
FLEXION_SPREAD = 0.3  # standard deviation of the logarithm of the factor on the bend of elbows and knees
MOST_HIP_FLEXION, MOST_KNEE_FLEXION = math.radians(125), math.radians(150)

_PARENTS = [max(parent, 0) for parent in H36M17.parents]
_MIRRORED = list(H36M17.mirrored)
_LEGS = ((2, 3), (5, 6))  # knee, ankle: right, left
_HINGES = (*_LEGS, (12, 13), (15, 16))  # and elbow, wrist: left, right
_UPPER_BODY = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16)


def to_bones(joints_m: Tensor) -> Tensor:
    """(B, T, 17, 3) vectors from each joint's parent; the root's is zero."""
    return joints_m - joints_m[:, :, _PARENTS]


def from_bones(bones: Tensor, root_m: Tensor) -> Tensor:
    """Joints from bones (B, T, 17, 3) and the root's position (B, T, 3)."""
    joints: list[Tensor] = [root_m]
    for joint, parent in enumerate(H36M17.parents):
        if parent >= 0:
            joints.append(joints[parent] + bones[:, :, joint])
    return torch.stack(joints, dim=2)


def trunk_axes(joints_m: Tensor, part: tuple[int, int, int, int] = LOWER) -> Tensor:
    """(B, T, 3, 3) axes of a part of the trunk; rows point left, forward and up.

    Args:
        part: joints at its bottom, top, right and left.
    """
    low, high, right, left = (joints_m[:, :, joint] for joint in part)
    up = unit(high - low)
    across = left - right
    across = unit(across - (across * up).sum(-1, keepdim=True) * up)
    return torch.stack([across, torch.linalg.cross(across, up), up], dim=-2)


def reshape_bodies(joints_m: Tensor, generator: torch.Generator) -> Tensor:
    """Each row the same motion of another body: another size, other proportions, left and right alike."""
    rows, device = len(joints_m), joints_m.device
    body = _uniform(generator, (rows, 1), *BODY_RANGE, device)
    factors = torch.ones(rows, len(H36M17), device=device)
    for bones, limits in BONE_GROUPS.values():
        factors[:, list(bones)] = _uniform(generator, (rows, 1), *limits, device)
    reshaped = to_bones(joints_m) * (factors * body)[:, None, :, None]
    return from_bones(reshaped, joints_m[:, :, 0] * body[:, None])


def mirror_half(joints_m: Tensor, generator: torch.Generator) -> Tensor:
    """Each row mirrored with a chance of one half."""
    chosen = _chance(generator, len(joints_m), 0.5, joints_m.device)[:, None, None, None]
    return torch.where(chosen, joints_m[:, :, _MIRRORED] * joints_m.new_tensor((-1.0, 1.0, 1.0)), joints_m)


def swap_limbs(joints_m: Tensor, reset: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some rows move some limbs as another row does, relative to the part of the trunk that the limb is attached to.

    Args:
        reset: (B, T); where the donor of a limb is reset, so is the receiver.

    Returns:
        The joints, and the resets.
    """
    rows, device = len(joints_m), joints_m.device
    bones = to_bones(joints_m)
    length = torch.linalg.vector_norm(bones, dim=-1, keepdim=True)
    axes = {part: trunk_axes(joints_m, part) for part in (UPPER, LOWER)}
    swaps = _chance(generator, rows, SWAP_SHARE, device)
    swapped, reset = bones.clone(), reset.clone()
    for limb, part in LIMB_BONES:
        receivers = torch.nonzero(swaps & _chance(generator, rows, LIMB_CHANCE, device))[:, 0]
        donors = torch.randint(rows, (len(receivers),), generator=generator, device=device)
        turn = axes[part][receivers].transpose(-1, -2) @ axes[part][donors]  # (n, T, 3, 3) donor's axes to receiver's
        for bone in limb:
            donated = (turn @ bones[donors, :, bone, :, None])[..., 0]
            swapped[receivers, :, bone] = unit(donated) * length[receivers, :, bone]
        reset[receivers] |= reset[donors]
    return from_bones(swapped, joints_m[:, :, 0]), reset


def turn_joints(joints_m: Tensor, generator: torch.Generator) -> Tensor:
    """Each row with its hips, shoulders, back and neck turned, its elbows and knees bent less or more, as long as it lasts.

    Without it a network knows the captured poses by heart: on people of the training set it errs half as much as on others.
    Elbows and knees stay hinges that bend one way, since that tells whether a limb points towards the camera or away from it.
    Turns are constant in the axes of the pelvis: of a joint, not of the room.
    """
    rows, device = len(joints_m), joints_m.device
    axes = trunk_axes(joints_m)[:, :, None]  # (B, T, 1, 3, 3)
    bones = (axes @ to_bones(joints_m)[..., None])[..., 0]
    level = _uniform(generator, (rows,), 0, 2, device)
    for upper, lower in _HINGES:
        before, bone = unit(bones[:, :, upper]), bones[:, :, lower]
        normal = torch.linalg.cross(before, unit(bone))
        flexion = torch.atan2(torch.linalg.vector_norm(normal, dim=-1), (before * unit(bone)).sum(-1))  # 0 if straight
        spread = FLEXION_SPREAD * level * torch.randn(rows, generator=generator, device=device)
        bent = torch.minimum(flexion * spread.exp()[:, None], flexion.clamp(min=MOST_KNEE_FLEXION))
        bones[:, :, lower] = _turned(bone, unit(normal), bent - flexion)
    for turned, degrees in TURNS:
        vector = torch.randn(rows, 3, generator=generator, device=device) * (math.radians(degrees) * level)[:, None]
        turn = rotation(unit(vector), torch.linalg.vector_norm(vector, dim=-1))[:, None, None]  # (B, 1, 1, 3, 3)
        bones[:, :, list(turned)] = (turn @ bones[:, :, list(turned), :, None])[..., 0]
    bones = (axes.transpose(-1, -2) @ bones[..., None])[..., 0]
    return keep_on_floor(from_bones(bones, joints_m[:, :, 0]), joints_m)


def lean(joints_m: Tensor, generator: torch.Generator) -> Tensor:
    """Each row turned about a horizontal axis through its root: a little, or until the person lies."""
    rows, device = len(joints_m), joints_m.device
    angle = torch.randn(rows, generator=generator, device=device) * math.radians(LEAN_DEG)
    lies = _chance(generator, rows, LIE_SHARE, device)
    angle = torch.where(lies, _uniform(generator, (rows,), math.radians(55), math.radians(100), device), angle)
    azimuth = _uniform(generator, (rows,), 0, 2 * math.pi, device)
    axis = torch.stack([azimuth.cos(), azimuth.sin(), torch.zeros_like(azimuth)], dim=-1)
    turn = rotation(axis, angle)[:, None]  # (B, 1, 3, 3)
    root = joints_m[:, :, :1]
    return keep_on_floor((joints_m - root) @ turn.transpose(-1, -2) + root, joints_m)


def bend(joints_m: Tensor, dt_s: Tensor, generator: torch.Generator) -> Tensor:
    """Some rows bend hips, knees and back further than captured, and straighten again: squats, seats, kneeling, lunges, bows.

    Args:
        dt_s: (B, T)
    """
    rows, device = len(joints_m), joints_m.device
    chosen = torch.nonzero(_chance(generator, rows, POSTURE_SHARE, device))[:, 0]
    if not len(chosen):
        return joints_m
    part, count = joints_m[chosen], len(chosen)
    share = _envelope(dt_s[chosen], generator)  # (n, T)

    def angles(low: float, high: float, sides: int) -> Tensor:
        return torch.deg2rad(_uniform(generator, (count, sides), low, high, device))

    kind = torch.randint(4, (count, 1), generator=generator, device=device)
    squat = angles(20, 120, 1).expand(-1, 2)
    hips = torch.where(kind == 0, squat + angles(-8, 8, 2), torch.where(kind == 1, angles(0, 40, 2), angles(-10, 110, 2)))
    knees = torch.where(
        kind == 0, squat * 1.1 + angles(-15, 15, 2), torch.where(kind == 1, angles(70, 140, 2), angles(0, 120, 2))
    )
    bows = (kind == 3).float()
    back = torch.deg2rad(_uniform(generator, (count, 1), 0, 50, device)) * (0.5 + 0.5 * bows)
    hips, knees = hips * (1 - bows), knees * (1 - bows)

    axes = trunk_axes(part)  # (n, T, 3, 3) of the pelvis
    left, forward, up = axes.unbind(-2)
    bones = to_bones(part)
    new_bones = bones.clone()
    for side, (knee, ankle) in enumerate(_LEGS):
        thigh, shin = bones[:, :, knee], bones[:, :, ankle]
        flexion = torch.atan2((thigh * forward).sum(-1), -(thigh * up).sum(-1))  # of the hip, 0 if straight
        hip_turn = (hips[:, side, None] * share).minimum((MOST_HIP_FLEXION - flexion).clamp(min=0))
        knee_now = torch.acos((unit(thigh) * unit(shin)).sum(-1).clamp(-1, 1))
        knee_turn = (knees[:, side, None] * share).minimum((MOST_KNEE_FLEXION - knee_now).clamp(min=0))
        # About the left axis a positive angle moves what points down backwards, so that a hip flexes by a negative one.
        new_bones[:, :, knee] = _turned(thigh, left, -hip_turn)
        new_bones[:, :, ankle] = _turned(shin, left, knee_turn - hip_turn)
    bow = back * share
    for joint in _UPPER_BODY:
        new_bones[:, :, joint] = _turned(bones[:, :, joint], left, bow)
    bent = joints_m.clone()
    bent[chosen] = keep_on_floor(from_bones(new_bones, part[:, :, 0]), part)
    return bent


def keep_on_floor(joints_m: Tensor, before_m: Tensor) -> Tensor:
    """Joints moved vertically, frame by frame, until the lowest is as high as the lowest was before."""
    drop = joints_m[..., 2].amin(-1) - before_m[..., 2].amin(-1)  # (B, T)
    return joints_m - torch.stack([torch.zeros_like(drop), torch.zeros_like(drop), drop], dim=-1)[:, :, None]


def rotation(axis: Tensor, angle: Tensor) -> Tensor:
    """(..., 3, 3) rotations about unit axes (..., 3) by angles (...) (Rodrigues)."""
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    sin, cos = angle.sin()[..., None, None], angle.cos()[..., None, None]
    turn: Tensor = torch.eye(3, device=axis.device) + sin * cross + (1 - cos) * (cross @ cross)
    return turn


def _turned(vector: Tensor, axis: Tensor, angle: Tensor) -> Tensor:
    """Vectors (..., 3) rotated about unit axes (..., 3)."""
    sin, cos = angle.sin()[..., None], angle.cos()[..., None]
    along = (vector * axis).sum(-1, keepdim=True) * axis
    turned: Tensor = cos * vector + sin * torch.linalg.cross(axis, vector) + (1 - cos) * along
    return turned


def _envelope(dt_s: Tensor, generator: torch.Generator) -> Tensor:
    """(B, T) between 0 and 1, up and down with a period of 1 to 8 seconds from a random phase."""
    rows, device = len(dt_s), dt_s.device
    period = _uniform(generator, (rows, 1), 1, 8, device)
    phase = _uniform(generator, (rows, 1), 0, 2 * math.pi, device)
    return 0.5 - 0.5 * torch.cos(2 * math.pi * dt_s.cumsum(-1) / period + phase)


def _uniform(generator: torch.Generator, shape: tuple[int, ...], low: float, high: float, device: torch.device) -> Tensor:
    return torch.rand(shape, generator=generator, device=device) * (high - low) + low


def _chance(generator: torch.Generator, rows: int, chance: float, device: torch.device) -> Tensor:
    return torch.rand(rows, generator=generator, device=device) < chance


def unit(vector: Tensor) -> Tensor:
    """(..., 3) vectors of length 1; one that is almost zero stays short."""
    scaled: Tensor = vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True).clamp(min=1e-6)
    return scaled
