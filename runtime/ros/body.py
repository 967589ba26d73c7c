"""A person as REP 155 (ROS4HRI) has it: a frame for the body, and in it one for each part of the body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import F64
from ..pose.quaternion import quaternion_xyzw
from ..pose.skeleton import H36M17
from .figure import Figure
from .template import Words

PARTS = {
    "torso": "thorax",
    "head": "head",
    **{
        f"{side[0]}_{part}": f"{side}_{part}"
        for side in ("left", "right")
        for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    },
}
"""The main links of REP 155's model of a body, but for ``body`` itself -> the joint where each is."""

_JOINTS = [H36M17.joints.index(name) for name in PARTS.values()]
_THORAX, _LEFT_HIP, _RIGHT_HIP = (H36M17.joints.index(name) for name in ("thorax", "left_hip", "right_hip"))
_LEAST_M = 1e-6  # of a length that has a direction


@dataclass(frozen=True, eq=False)
class Body:
    """The frames of one person at one instant.

    Args:
        person: the person's id.
        t_ns: capture time.
        hip_m: (3,) the mid point of the hips in the camera's optical axes.
        turn_xyzw: (4,) the body in those axes, as a quaternion: x to the front, y to the left, z to the head.
        parts_m: (14, 3) where ``PARTS`` are in the axes of the body.
    """

    person: int
    t_ns: int
    hip_m: F64
    turn_xyzw: F64
    parts_m: F64

    DOUBLES: ClassVar[int] = 3 + 4 + 3 * len(PARTS)
    WORDS: ClassVar[int] = 0

    @classmethod
    def from_numbers(cls, person: int, t_ns: int, doubles: F64, words: Words) -> Body:
        """The body of these ``doubles``."""
        return cls(person, t_ns, doubles[:3], doubles[3:7], doubles[7:].reshape(-1, 3))

    @property
    def doubles(self) -> F64:
        return np.concatenate([self.hip_m, self.turn_xyzw, self.parts_m.ravel()])

    @property
    def words(self) -> Words:
        return np.zeros(0, np.uint32)

    @classmethod
    def of(cls, figure: Figure) -> Body:
        """The body of a figure: upright along the trunk, its left where the left hip is."""
        xyz_m = figure.xyz_m
        axes = body_axes(xyz_m)
        parts_m = (xyz_m[_JOINTS] - xyz_m[0]) @ axes
        return cls(figure.person, figure.t_ns, xyz_m[0], quaternion_xyzw(axes), parts_m)

    @property
    def name(self) -> str:
        """``p3``. A part of a topic's name may not begin with a digit, and REP 155 names topics by it."""
        return body_name(self.person)


def body_name(person: int) -> str:
    """What ROS4HRI knows a person's body by.

    >>> body_name(3)
    'p3'
    """
    return f"p{person}"


def body_axes(xyz_m: F64) -> F64:
    """(3, 3) the axes of a body as columns: to the front, to the left, to the head.

    A figure without a trunk stands upright, and one without hips faces the camera.
    """
    up = _direction(xyz_m[_THORAX] - xyz_m[0], otherwise=(0.0, -1.0, 0.0))
    for across in (xyz_m[_LEFT_HIP] - xyz_m[_RIGHT_HIP], np.array([1.0, 0, 0]), np.array([0, 0, 1.0])):
        across = across - (across @ up) * up
        if np.linalg.norm(across) > _LEAST_M:
            break
    left = across / np.linalg.norm(across)
    return np.stack([np.cross(left, up), left, up], axis=1)


def _direction(vector: F64, *, otherwise: Sequence[float]) -> F64:
    length = np.linalg.norm(vector)
    return np.asarray(vector / length if length > _LEAST_M else otherwise, np.float64)
