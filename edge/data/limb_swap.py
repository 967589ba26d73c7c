"""Limb-swap augmentation: people with the limbs of others and another lean, so that few hours of motion give more poses.

A lifter that is trained on an hour of motion memorises its poses: its error on them is half of that on another person. New
combinations of captured limbs train it on what all bodies have in common (Li et al., CVPR 2020, recombine single frames in this
way; here whole windows are recombined, so that limbs keep their captured motion). Each limb keeps its donor's motion relative
to the part of the trunk that it is attached to.
"""

from __future__ import annotations

import numpy as np

from ...runtime.arrays import F32
from ...runtime.pose.skeleton import H36M17

UPPER, LOWER = (7, 8, 14, 11), (0, 7, 1, 4)  # parts of the trunk as joints: bottom, top, right, left
# The bones of each limb, by the joint at their end, and the part of the trunk that the limb is attached to.
LIMB_BONES = (((12, 13), UPPER), ((15, 16), UPPER), ((9, 10), UPPER), ((2, 3), LOWER), ((5, 6), LOWER))
LEAN_DEG = 12.0
AUGMENTED_SHARE = 0.6
_PARENTS = [max(parent, 0) for parent in H36M17.parents]


def augment_limbs(joints_m: F32, rng: np.random.Generator, *, share: float = AUGMENTED_SHARE) -> F32:
    """Joints (B, T, 17, 3), world: this share of the sequences swap limbs among each other and lean."""
    chosen = rng.random(len(joints_m)) < share
    augmented = joints_m.copy()
    augmented[chosen] = lean(swap_limbs(joints_m[chosen], rng), rng)
    return augmented


def swap_limbs(joints_m: F32, rng: np.random.Generator, *, chance: float = 0.5) -> F32:
    """Joints (B, T, 17, 3), world: each limb of each sequence, with this chance, moves as that limb of another sequence.

    Bones keep the lengths of the body that receives the limb.
    """
    count = len(joints_m)
    if count < 2:
        return joints_m.copy()
    bones = joints_m - joints_m[:, :, _PARENTS]  # (B, T, 17, 3), the root's is zero
    axes = {part: _axes(joints_m, part) for part in (UPPER, LOWER)}
    new_bones = bones.copy()
    for limb, part in LIMB_BONES:
        receivers = np.flatnonzero(rng.random(count) < chance)
        donors = rng.integers(count, size=len(receivers))
        turn = np.matmul(axes[part][receivers].swapaxes(-1, -2), axes[part][donors])  # (n, T, 3, 3), donor's axes to receiver's
        for bone in limb:
            donated = np.einsum("ntij,ntj->nti", turn, bones[donors, :, bone])
            length = np.linalg.norm(bones[receivers, :, bone], axis=-1, keepdims=True)
            new_bones[receivers, :, bone] = donated * (
                length / np.maximum(np.linalg.norm(donated, axis=-1, keepdims=True), 1e-6)
            )
    swapped = joints_m.copy()
    for joint, parent in enumerate(H36M17.parents):
        if parent >= 0:
            swapped[:, :, joint] = swapped[:, :, parent] + new_bones[:, :, joint]
    return swapped


def lean(joints_m: F32, rng: np.random.Generator, *, degrees: float = LEAN_DEG) -> F32:
    """Joints (B, T, 17, 3), world: each sequence turned about a horizontal axis through the middle of its path.

    Args:
        degrees: standard deviation of the angle.
    """
    angle = np.radians(rng.normal(0, degrees, len(joints_m)))
    azimuth = rng.uniform(0, 2 * np.pi, len(joints_m))
    zero = np.zeros_like(angle)
    axis = np.stack([np.cos(azimuth), np.sin(azimuth), zero], axis=-1)
    cross = np.stack(
        [zero, -axis[:, 2], axis[:, 1], axis[:, 2], zero, -axis[:, 0], -axis[:, 1], axis[:, 0], zero], axis=-1
    ).reshape(-1, 3, 3)
    turn = np.eye(3) + np.sin(angle)[:, None, None] * cross + (1 - np.cos(angle))[:, None, None] * (cross @ cross)  # Rodrigues
    middle = joints_m[:, :, :1].mean(axis=1, keepdims=True)
    turned: F32 = np.matmul(joints_m - middle, turn.swapaxes(-1, -2)[:, None].astype(np.float32)) + middle
    return turned


def _axes(joints_m: F32, part: tuple[int, int, int, int]) -> F32:
    """(B, T, 3, 3) axes of a part of the trunk; rows point left, forward and up."""
    low, high, right, left = (joints_m[:, :, joint] for joint in part)
    up = high - low
    up = up / np.maximum(np.linalg.norm(up, axis=-1, keepdims=True), 1e-6)
    across = left - right
    across = across - (across * up).sum(-1, keepdims=True) * up
    across = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-6)
    return np.stack([across, np.cross(up, across), up], axis=-2)
