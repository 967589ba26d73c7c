"""What ROS is shown of a pose: one figure with a place and a colour for each joint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import F32, F64
from ..overlay.brush import GUESSED, Colour
from ..overlay.figure2d import colour_of
from ..pose.skeleton import H36M17
from ..pose.types import Pose
from .template import Words

DOUBTFUL_ALPHA = 0.3

_LATEST_NS = (2**31 - 1) * 10**9  # a stamp of ROS counts seconds in 31 bits


@dataclass(frozen=True, eq=False)
class Figure:
    """One person at one instant.

    Args:
        person: the person's id.
        t_ns: capture time.
        xyz_m: (17, 3) metres in the camera's optical axes; about the hip where it is not known where the person is.
        rgba: (17, 4) red, green, blue, alpha of each joint, from 0 to 1.
    """

    person: int
    t_ns: int
    xyz_m: F64
    rgba: F32

    DOUBLES: ClassVar[int] = len(H36M17) * 3
    WORDS: ClassVar[int] = len(H36M17) * 4

    @classmethod
    def from_numbers(cls, person: int, t_ns: int, doubles: F64, words: Words) -> Figure:
        """The figure of these ``doubles`` and ``words``."""
        return cls(person, t_ns, doubles.reshape(-1, 3), words.view(np.float32).reshape(-1, 4))

    @property
    def doubles(self) -> F64:
        return self.xyz_m.ravel()

    @property
    def words(self) -> Words:
        """The bits of the colours."""
        return self.rgba.view(np.uint32).ravel()

    @classmethod
    def of(cls, pose: Pose) -> Figure:
        """Left is blue, right orange, and guessed joints are grey; who may be nobody is translucent."""
        joints_m = pose.xyz_in_camera_m
        rgba = np.ones((len(H36M17), 4), np.float32)
        rgba[:, :3] = np.where(pose.guessed[:, None], _rgb(GUESSED), _JOINT_RGB)
        rgba[:, 3] = DOUBTFUL_ALPHA if pose.doubts else 1
        xyz_m = pose.xyz_m if joints_m is None else joints_m
        return cls(pose.person, stamp_ns(pose.t_s), xyz_m.astype(np.float64), rgba)


def _rgb(colour: Colour) -> F32:
    """Red, green, blue from 0 to 1 of OpenCV's colour."""
    return (np.array(colour[::-1]) / 255).astype(np.float32)


_JOINT_RGB = np.array([_rgb(colour_of(H36M17, joint)) for joint in range(len(H36M17))])  # (17, 3)


def stamp_ns(t_s: float) -> int:
    """A capture time in nanoseconds, within what a stamp of ROS can hold: 0 to 2038; 0 for a time that is no number."""
    if math.isnan(t_s):
        return 0
    return round(min(max(t_s * 1e9, 0), _LATEST_NS))
