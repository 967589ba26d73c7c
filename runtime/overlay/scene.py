"""People in three dimensions, seen from a viewpoint that stays where it is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..arrays import F64, ImageBgr
from ..pose.skeleton import H36M17
from ..pose.types import Pose
from .brush import EDGE, FAINT_INK, GRID, GUESSED, Brush, Colour
from .figure2d import GUESSED_BELOW, colour_of

_TURN_RAD, _DOWN_RAD = math.radians(28), math.radians(14)
_SPACING_M = 1.3  # between people who stand side by side
_TALLEST_M = 2.2  # with raised arms
_GRID_M = 0.5
_SHADOW: Colour = (18, 15, 13)


class Scene:
    """Draws people side by side on a floor, each standing on the lowest joint, from in front and a little above.

    Poses are relative to the hip, so where the people are in the room is not shown. The row gets longer with the number of
    people, and not shorter again.

    Args:
        brush: draws.
    """

    def __init__(self, brush: Brush) -> None:
        self._brush = brush
        self._row: list[int] = []  # the ids of the people, from left to right
        self._most = 1

    def draw(self, image: ImageBgr, poses: Mapping[int, Pose], places: Mapping[int, float]) -> None:
        """Draw onto the whole of a picture (H, W, 3); without people only the floor.

        Args:
            poses: person id -> pose.
            places: person id -> how far to the right the person is; whoever comes or goes brings the row into this order.
        """
        if set(self._row) != set(poses):
            self._row = sorted(poses, key=lambda person: (places.get(person, 0.0), person))
        self._most = max(self._most, len(self._row))
        height, width = image.shape[:2]
        scale = min(0.86 * height / _TALLEST_M, 0.94 * width / (_SPACING_M * self._most + 0.4))
        middle = np.array([width / 2, 0.5 * height + 0.4 * scale * _TALLEST_M])
        self._draw_floor(image, scale, middle)
        for k, person in enumerate(self._row):
            x_m = (k - (len(self._row) - 1) / 2) * _SPACING_M
            self._draw_person(image, poses[person], x_m, scale, middle)
            tag, _ = _project(np.array([[x_m, 0.0, -0.75]]), scale, middle)
            self._brush.tag(image, str(person), tag[0])

    def _draw_floor(self, image: ImageBgr, scale: float, middle: F64) -> None:
        """Squares of half a metre, as far as the row of people reaches."""
        half_x = math.ceil(_SPACING_M * self._most / 2 / _GRID_M) * _GRID_M + _GRID_M / 2
        half_z = 1.0
        xs, zs = np.arange(-half_x, half_x + 1e-6, _GRID_M), np.arange(-half_z, half_z + 1e-6, _GRID_M)
        ends = [((x, -half_z), (x, half_z)) for x in xs] + [((-half_x, z), (half_x, z)) for z in zs]
        for start, end in ends:
            line, _ = _project(np.array([[start[0], 0, start[1]], [end[0], 0, end[1]]]), scale, middle)
            self._brush.line(image, line[0], line[1], GRID, 1)

    def _draw_person(self, image: ImageBgr, pose: Pose, x_m: float, scale: float, middle: F64) -> None:
        xyz = pose.xyz_m.astype(np.float64)
        if not np.isfinite(xyz).all():
            return
        xyz = xyz + np.array([x_m, -float(xyz[:, 1].max()), 0.0])  # y is down: the lowest joint is on the floor
        shadow, _ = _project(xyz * (1, 0, 1), scale, middle)
        points, depth = _project(xyz, scale, middle)
        width = max(2, round(0.016 * scale))
        for a, b in H36M17.bones:
            self._brush.line(image, shadow[a], shadow[b], _SHADOW, width)
        guessed = pose.score < GUESSED_BELOW
        for a, b in sorted(H36M17.bones, key=lambda bone: -float(depth[list(bone)].sum())):  # distant bones first
            colour = GUESSED if guessed[a] or guessed[b] else colour_of(H36M17, b)
            self._brush.line(image, points[a], points[b], EDGE, width + 3)
            self._brush.line(image, points[a], points[b], colour, width)
        for joint in np.argsort(-depth):
            colour = GUESSED if guessed[joint] else colour_of(H36M17, int(joint))
            self._brush.dot(image, points[joint], EDGE, 0.8 * width + 1.5)
            self._brush.dot(image, points[joint], colour, 0.8 * width)

    def draw_nobody(self, image: ImageBgr) -> None:
        """Say that nobody is seen."""
        text, height = "nobody", 18
        left = (image.shape[1] - self._brush.width_of(text, height=height)) / 2
        self._brush.words(image, text, (left, image.shape[0] / 2), FAINT_INK, height=height)


def _project(xyz_m: F64, scale: float, middle: F64) -> tuple[F64, F64]:
    """(J, 3) metres, x right, y down, z away, to (J, 2) pixels and (J,) distance from the viewer; without perspective."""
    cos, sin = math.cos(_TURN_RAD), math.sin(_TURN_RAD)
    x, y, z = xyz_m[:, 0], xyz_m[:, 1], xyz_m[:, 2]
    x, z = cos * x + sin * z, -sin * x + cos * z
    cos, sin = math.cos(_DOWN_RAD), math.sin(_DOWN_RAD)
    down, away = cos * y - sin * z, sin * y + cos * z
    return scale * np.stack([x, down], 1) + middle, away
