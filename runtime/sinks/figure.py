"""What viewers are shown of a person: the place and the colour of each joint, in the room and in the picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, ImageBgr
from ..overlay.brush import GUESSED, Colour
from ..overlay.figure2d import colour_of, lines_of
from ..pose.keypoints import Keypoints, to_pixels
from ..pose.skeleton import H36M17
from ..pose.types import GUESSED_BELOW, Pose

BONES = np.array(H36M17.bones)  # (16, 2) parent and child
SPACING_M = 1.3
"""Between people who stand side by side."""

_SOLID, _DOUBTFUL = 255, 90  # alpha


@dataclass(frozen=True, eq=False)
class Figure2d:
    """A person's keypoints as drawn over the picture, those of them that were seen.

    Args:
        joints_px: (N, 2).
        joint_rgba: (N, 4) uint8.
        lines_px: (M, 2, 2) both ends of each line between two of them.
        line_rgba: (M, 4) uint8.
    """

    joints_px: NDArray[np.floating]
    joint_rgba: NDArray[np.uint8]
    lines_px: NDArray[np.floating]
    line_rgba: NDArray[np.uint8]

    @classmethod
    def of(cls, keypoints: Keypoints, image: ImageBgr | None) -> Figure2d | None:
        """The figure; None of normalised keypoints without a picture, since its size says where in it they are."""
        points, skeleton = keypoints.points, keypoints.skeleton
        if keypoints.size is None:
            if image is None:
                return None
            points = to_pixels(points, width_px=image.shape[1], height_px=image.shape[0])
        seen = np.isfinite(points).all(axis=1) & (points[:, 2] > 0)
        guessed = points[:, 2] < GUESSED_BELOW
        joints = np.flatnonzero(seen).tolist()
        lines = [(a, b) for a, b in lines_of(skeleton) if seen[a] and seen[b]]
        joint_colours = [GUESSED if guessed[joint] else colour_of(skeleton, joint) for joint in joints]
        line_colours = [GUESSED if guessed[a] or guessed[b] else colour_of(skeleton, a, b) for a, b in lines]
        lines_px = points[np.array(lines, int).reshape(-1, 2), :2]
        return cls(points[joints, :2], rgba(joint_colours), lines_px, rgba(line_colours))


@dataclass(frozen=True, eq=False)
class Figure3d:
    """One person as drawn: left blue, right orange, guessed grey, and translucent where the pose is doubted.

    Args:
        xyz_m: (17, 3) metres in camera axes: where the joints are, or about the hip if that is not known.
        joint_rgba: (17, 4) uint8.
        bone_rgba: (16, 4) uint8, in the order of ``BONES``.
    """

    xyz_m: F32
    joint_rgba: NDArray[np.uint8]
    bone_rgba: NDArray[np.uint8]

    @classmethod
    def of(cls, pose: Pose) -> Figure3d:
        """The figure of a pose, in the colours of ``runtime/overlay``."""
        alpha = _DOUBTFUL if pose.doubts else _SOLID
        guessed = pose.guessed
        joints = [GUESSED if guessed[joint] else colour_of(H36M17, joint) for joint in range(len(H36M17))]
        bones = [GUESSED if guessed[a] or guessed[b] else colour_of(H36M17, b) for a, b in H36M17.bones]
        xyz_m = pose.xyz_in_camera_m
        return cls(pose.xyz_m if xyz_m is None else xyz_m, rgba(joints, alpha), rgba(bones, alpha))

    @property
    def bones_m(self) -> F32:
        """(16, 2, 3) both ends of each bone."""
        ends_m: F32 = self.xyz_m[BONES]
        return ends_m


class Row:
    """Gives people whose place in the room is not known a place side by side; nobody moves when another one goes."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}  # person id -> number of the place

    def offsets_m(self, people: Iterable[int]) -> dict[int, float]:
        """Person id -> metres to the right, of these people; the places of all others are free."""
        self._places = {person: self._places[person] for person in people if person in self._places}
        for person in people:
            if person not in self._places:
                taken = set(self._places.values())
                self._places[person] = next(k for k in range(len(taken) + 1) if k not in taken)
        return {person: SPACING_M * place for person, place in self._places.items()}


def rgba(colours: Iterable[Colour], alpha: int = _SOLID) -> NDArray[np.uint8]:
    """(N, 4) red, green, blue, alpha of OpenCV's colours."""
    return np.array([(red, green, blue, alpha) for blue, green, red in colours], np.uint8).reshape(-1, 4)
