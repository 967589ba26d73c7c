from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from posemoe_edge.edge.data.limb_swap import AUGMENTED_SHARE, LIMB_BONES, augment_limbs, lean, swap_limbs
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.pose.skeleton import H36M17

PARENTS = [max(parent, 0) for parent in H36M17.parents]
TRUNK = [0, 1, 4, 7, 8, 11, 14]


@pytest.fixture
def people(make_walker_clip: Callable[..., Clip]) -> F32:
    """(6, 20, 17, 3): walkers, each turned by another angle."""
    swapped = []
    for i in range(6):
        angle = 1.1 * i
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], np.float32)
        swapped.append(make_walker_clip(f"{i}", 20 + 7 * i, seed=i).joints_m[7 * i :] @ turn.T)
    return np.stack(swapped)


def bones(joints_m: F32) -> F32:
    return joints_m - joints_m[..., PARENTS, :]


def lengths(joints_m: F32) -> F32:
    return np.asarray(np.linalg.norm(bones(joints_m), axis=-1))


def angles(joints_m: F32, bone: int) -> F32:
    """(B, T): cosine of the angle between a limb's two bones, which does not depend on the person's orientation."""
    a, b = bones(joints_m)[..., bone, :], bones(joints_m)[..., bone + 1, :]
    return np.asarray((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1))


def test_swapped_limbs_change_neither_the_trunk_nor_bone_lengths(people: F32) -> None:
    swapped = swap_limbs(people, np.random.default_rng(0), chance=1.0)
    np.testing.assert_allclose(swapped[:, :, TRUNK], people[:, :, TRUNK], atol=1e-5)
    np.testing.assert_allclose(lengths(swapped), lengths(people), atol=1e-5)
    assert swapped.dtype == np.float32 and np.abs(swapped - people).max() > 0.05


def test_a_swapped_limb_moves_as_that_of_another_person(people: F32) -> None:
    swapped = swap_limbs(people, np.random.default_rng(1), chance=1.0)
    for limb, _ in LIMB_BONES:
        was, now = angles(people, limb[0]), angles(swapped, limb[0])
        nearest = np.abs(now[:, None] - was[None]).max(axis=-1)  # (receiver, donor)
        assert nearest.min(axis=1).max() < 1e-3
    elbow = LIMB_BONES[0][0][0]
    assert np.abs(angles(swapped, elbow) - angles(people, elbow)).max() > 0.05


def test_nothing_is_swapped_with_one_person_or_chance_zero(people: F32) -> None:
    np.testing.assert_allclose(swap_limbs(people[:1], np.random.default_rng(0), chance=1.0), people[:1], atol=1e-5)
    np.testing.assert_allclose(swap_limbs(people, np.random.default_rng(0), chance=0.0), people, atol=1e-5)


def test_limbs_are_swapped_with_the_given_chance(people: F32) -> None:
    many = np.repeat(people[:, :1], 100, axis=0)
    elbow = LIMB_BONES[0][0][0]
    swapped = swap_limbs(many, np.random.default_rng(2), chance=0.3)
    changed = np.abs(angles(swapped, elbow) - angles(many, elbow))[:, 0] > 1e-4
    assert changed.mean() == pytest.approx(0.3 * 5 / 6, abs=0.06)  # one donor in six is the receiver itself


def test_the_given_share_of_sequences_is_augmented(people: F32) -> None:
    many = np.repeat(people, 50, axis=0)
    changed = (augment_limbs(many, np.random.default_rng(3)) != many).any(axis=(1, 2, 3))
    assert changed.mean() == pytest.approx(AUGMENTED_SHARE, abs=0.08)
    np.testing.assert_array_equal(augment_limbs(many, np.random.default_rng(3), share=0.0), many)


def test_a_body_without_a_trunk_stays_finite() -> None:
    flat = np.zeros((3, 2, 17, 3), np.float32)
    assert np.isfinite(swap_limbs(flat, np.random.default_rng(0), chance=1.0)).all()


def test_leaning_is_a_rigid_rotation_of_the_path(people: F32) -> None:
    swapped = lean(people, np.random.default_rng(0), degrees=20)
    apart = np.linalg.norm(people[:, :, :, None] - people[:, :, None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(swapped[:, :, :, None] - swapped[:, :, None], axis=-1), apart, atol=1e-4)
    np.testing.assert_allclose(swapped[:, :, 0].mean(axis=1), people[:, :, 0].mean(axis=1), atol=1e-4)
    many = lean(np.repeat(people[:1], 500, axis=0), np.random.default_rng(1), degrees=12)
    was, now = (x[:, 0, 10] - x[:, 0, 0] for x in (people[:1], many))
    tilt = np.degrees(
        np.arccos(np.clip((now * was).sum(-1) / np.linalg.norm(now, axis=-1) / np.linalg.norm(was, axis=-1), -1, 1))
    )
    assert 5 < tilt.mean() < 13 and swapped.dtype == np.float32
