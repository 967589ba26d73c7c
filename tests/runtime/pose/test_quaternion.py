"""A quaternion turns vectors as its rotation does."""

from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.runtime.pose.quaternion import quaternion_xyzw


@pytest.mark.parametrize("seed", range(5))
def test_a_quaternion_turns_as_its_rotation_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    *axis, w = quaternion_xyzw(rotation)
    for v in np.eye(3):
        turned = v + 2 * np.cross(axis, np.cross(axis, v) + w * v)
        np.testing.assert_allclose(turned, rotation @ v, atol=1e-12)


@pytest.mark.parametrize(
    ("diagonal", "quaternion"), [((1, -1, -1), (1, 0, 0, 0)), ((-1, 1, -1), (0, 1, 0, 0)), ((1, 1, 1), (0, 0, 0, 1))]
)
def test_half_a_turn_and_none_have_quaternions_too(diagonal: tuple[int, ...], quaternion: tuple[int, ...]) -> None:
    assert quaternion_xyzw(np.diag(np.array(diagonal, np.float64))).tolist() == list(quaternion)
