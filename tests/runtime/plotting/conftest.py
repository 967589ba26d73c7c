"""Poses whose joints are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.pose.types import Pose, Root


@pytest.fixture
def make_pose() -> Callable[..., Pose]:
    """make_pose(person=1, t_s=0.5, joint_m=(0.1, 0.2, 0.3), root_m=(0, 0, 4)): joint 3 is there, others near the hip."""

    def pose(
        *,
        person: int = 0,
        t_s: float = 0.0,
        joint_m: Any = (0.0, 0.0, 0.0),
        root_m: Any = None,
        scale: float = 1.0,
        world_from_camera: Any = None,
        unseen: Any = (),
        sigma: bool = True,
    ) -> Pose:
        xyz_m = np.random.default_rng(person).uniform(-0.2, 0.2, (17, 3)).astype(np.float32)
        xyz_m[0], xyz_m[3] = 0, joint_m
        score = np.ones(17, np.float32)
        score[list(unseen)] = 0
        root = None
        if root_m is not None:
            place = np.array(root_m, np.float32)
            root = Root(place, np.full(3, 0.1, np.float32), 1.0, scale, "prior", world_from_camera=world_from_camera)
        sigma_m = np.full(17, 0.05, np.float32) if sigma else None
        return Pose(xyz_m, score, t_s, 0.02, 0, "none", person=person, sigma_m=sigma_m, root=root)

    return pose
