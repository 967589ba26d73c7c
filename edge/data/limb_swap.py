"""Crossover: people with others' limbs, leaning otherwise, so that few hours of motion hold more poses than were captured.

A lifter of an hour of motion knows its poses by heart: it errs by half as much on them as on another person's. New poses of old
limbs teach it what holds of all bodies (Li et al., CVPR 2020, cross frames over in this way; here whole windows, so that limbs
keep moving as they did). Each limb keeps its owner's motion relative to the part of the trunk that it hangs from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...runtime.pose.skeleton import H36M17

Floats = NDArray[np.float32]

# Bones by the joint at their end, and the trunk's part that they hang from.
UPPER, LOWER = (7, 8, 14, 11), (0, 7, 1, 4)  # from, up to, right, left
LIMBS = (((12, 13), UPPER), ((15, 16), UPPER), ((9, 10), UPPER), ((2, 3), LOWER), ((5, 6), LOWER))
LEAN_DEG = 12.0
MIXED = 0.6
_PARENTS = [max(parent, 0) for parent in H36M17.parents]


def recombine(joints_m: Floats, rng: np.random.Generator, *, share: float = MIXED) -> Floats:
    """Joints (B, T, 17, 3), world: this share of the takes with limbs of the others among them, and leaning otherwise."""
    mixed = rng.random(len(joints_m)) < share
    made = joints_m.copy()
    made[mixed] = lean(cross_over(joints_m[mixed], rng), rng)
    return made


def cross_over(joints_m: Floats, rng: np.random.Generator, *, chance: float = 0.5) -> Floats:
    """Joints (B, T, 17, 3), world: each limb of each take, with this chance, moves as the same limb of another take.

    The taken limb has its new owner's lengths.
    """
    takes = len(joints_m)
    if takes < 2:
        return joints_m.copy()
    bones = joints_m - joints_m[:, :, _PARENTS]  # (B, T, 17, 3), the root's is zero
    frames = {part: _axes(joints_m, part) for part in (UPPER, LOWER)}
    made = bones.copy()
    for limb, part in LIMBS:
        chosen = np.flatnonzero(rng.random(takes) < chance)
        donors = rng.integers(takes, size=len(chosen))
        turn = np.matmul(frames[part][chosen].swapaxes(-1, -2), frames[part][donors])  # (n, T, 3, 3), donor's axes to owner's
        for bone in limb:
            taken = np.einsum("ntij,ntj->nti", turn, bones[donors, :, bone])
            length = np.linalg.norm(bones[chosen, :, bone], axis=-1, keepdims=True)
            made[chosen, :, bone] = taken * (length / np.maximum(np.linalg.norm(taken, axis=-1, keepdims=True), 1e-6))
    crossed = joints_m.copy()
    for joint, parent in enumerate(H36M17.parents):
        if parent >= 0:
            crossed[:, :, joint] = crossed[:, :, parent] + made[:, :, joint]
    return crossed


def lean(joints_m: Floats, rng: np.random.Generator, *, degrees: float = LEAN_DEG) -> Floats:
    """Joints (B, T, 17, 3), world: each take turned about a level axis through the middle of its path, by that much or so."""
    angle = np.radians(rng.normal(0, degrees, len(joints_m)))
    towards = rng.uniform(0, 2 * np.pi, len(joints_m))
    zero = np.zeros_like(angle)
    axis = np.stack([np.cos(towards), np.sin(towards), zero], axis=-1)
    cross = np.stack(
        [zero, -axis[:, 2], axis[:, 1], axis[:, 2], zero, -axis[:, 0], -axis[:, 1], axis[:, 0], zero], axis=-1
    ).reshape(-1, 3, 3)
    turn = np.eye(3) + np.sin(angle)[:, None, None] * cross + (1 - np.cos(angle))[:, None, None] * (cross @ cross)  # Rodrigues
    middle = joints_m[:, :, :1].mean(axis=1, keepdims=True)
    leant: Floats = np.matmul(joints_m - middle, turn.swapaxes(-1, -2)[:, None].astype(np.float32)) + middle
    return leant


def _axes(joints_m: Floats, part: tuple[int, int, int, int]) -> Floats:
    """(B, T, 3, 3), rows across, forward and up of a part of the trunk."""
    low, high, right, left = (joints_m[:, :, joint] for joint in part)
    up = high - low
    up = up / np.maximum(np.linalg.norm(up, axis=-1, keepdims=True), 1e-6)
    across = left - right
    across = across - (across * up).sum(-1, keepdims=True) * up
    across = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-6)
    return np.stack([across, np.cross(up, across), up], axis=-2)
