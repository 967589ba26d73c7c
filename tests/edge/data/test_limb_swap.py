from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from posemoe_edge.edge.data.limb_swap import AUGMENTED_SHARE, LIMB_BONES, augment_limbs, lean, swap_limbs
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.runtime.pose.skeleton import H36M17

PARENTS = [max(parent, 0) for parent in H36M17.parents]
TRUNK = [0, 1, 4, 7, 8, 11, 14]


@pytest.fixture
def people(make_walker_clip: Callable[..., Clip]) -> NDArray[np.float32]:
    """(6, 20, 17, 3): walkers, each turned his own way."""
    made = []
    for i in range(6):
        angle = 1.1 * i
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], np.float32)
        made.append(make_walker_clip(f"{i}", 20 + 7 * i, seed=i).joints_m[7 * i :] @ turn.T)
    return np.stack(made)


def bones(joints_m: NDArray[np.float32]) -> NDArray[np.float32]:
    return joints_m - joints_m[..., PARENTS, :]


def lengths(joints_m: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.linalg.norm(bones(joints_m), axis=-1))


def angles(joints_m: NDArray[np.float32], bone: int) -> NDArray[np.float32]:
    """(B, T): what a limb's two bones enclose, whoever owns it and however he stands."""
    a, b = bones(joints_m)[..., bone, :], bones(joints_m)[..., bone + 1, :]
    return np.asarray((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1))


def test_a_crossed_body_keeps_its_trunk_and_its_bones_lengths(people: NDArray[np.float32]) -> None:
    made = swap_limbs(people, np.random.default_rng(0), chance=1.0)
    np.testing.assert_allclose(made[:, :, TRUNK], people[:, :, TRUNK], atol=1e-5)
    np.testing.assert_allclose(lengths(made), lengths(people), atol=1e-5)
    assert made.dtype == np.float32 and np.abs(made - people).max() > 0.05


def test_a_taken_limb_moves_as_one_of_the_others(people: NDArray[np.float32]) -> None:
    made = swap_limbs(people, np.random.default_rng(1), chance=1.0)
    for limb, _ in LIMB_BONES:
        was, now = angles(people, limb[0]), angles(made, limb[0])
        nearest = np.abs(now[:, None] - was[None]).max(axis=-1)  # (taker, donor)
        assert nearest.min(axis=1).max() < 1e-3
    elbow = LIMB_BONES[0][0][0]
    assert np.abs(angles(made, elbow) - angles(people, elbow)).max() > 0.05


def test_nobody_crosses_over_by_himself_or_by_no_chance(people: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(swap_limbs(people[:1], np.random.default_rng(0), chance=1.0), people[:1], atol=1e-5)
    np.testing.assert_allclose(swap_limbs(people, np.random.default_rng(0), chance=0.0), people, atol=1e-5)


def test_limbs_cross_over_as_often_as_said(people: NDArray[np.float32]) -> None:
    many = np.repeat(people[:, :1], 100, axis=0)
    elbow = LIMB_BONES[0][0][0]
    made = swap_limbs(many, np.random.default_rng(2), chance=0.3)
    changed = np.abs(angles(made, elbow) - angles(many, elbow))[:, 0] > 1e-4
    assert changed.mean() == pytest.approx(0.3 * 5 / 6, abs=0.06)  # one donor in six is himself


def test_a_share_of_the_takes_is_recombined_and_the_others_are_as_captured(people: NDArray[np.float32]) -> None:
    many = np.repeat(people, 50, axis=0)
    changed = (augment_limbs(many, np.random.default_rng(3)) != many).any(axis=(1, 2, 3))
    assert changed.mean() == pytest.approx(AUGMENTED_SHARE, abs=0.08)
    np.testing.assert_array_equal(augment_limbs(many, np.random.default_rng(3), share=0.0), many)


def test_a_body_without_a_trunk_stays_finite() -> None:
    flat = np.zeros((3, 2, 17, 3), np.float32)
    assert np.isfinite(swap_limbs(flat, np.random.default_rng(0), chance=1.0)).all()


def test_leaning_turns_a_path_as_one_body(people: NDArray[np.float32]) -> None:
    made = lean(people, np.random.default_rng(0), degrees=20)
    apart = np.linalg.norm(people[:, :, :, None] - people[:, :, None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(made[:, :, :, None] - made[:, :, None], axis=-1), apart, atol=1e-4)
    np.testing.assert_allclose(made[:, :, 0].mean(axis=1), people[:, :, 0].mean(axis=1), atol=1e-4)
    many = lean(np.repeat(people[:1], 500, axis=0), np.random.default_rng(1), degrees=12)
    was, now = (x[:, 0, 10] - x[:, 0, 0] for x in (people[:1], many))
    tilt = np.degrees(
        np.arccos(np.clip((now * was).sum(-1) / np.linalg.norm(now, axis=-1) / np.linalg.norm(was, axis=-1), -1, 1))
    )
    assert 5 < tilt.mean() < 13 and made.dtype == np.float32
