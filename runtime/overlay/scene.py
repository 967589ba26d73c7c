"""People in three dimensions, seen from a viewpoint that stays where it is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..arrays import F64, ImageBgr
from ..pose.skeleton import H36M17
from ..pose.types import Pose
from .brush import EDGE, FAINT_INK, GRID, GUESSED, Brush, Colour
from .figure2d import colour_of

_TURN_RAD, _DOWN_RAD = math.radians(28), math.radians(14)
_SPACING_M = 1.3  # between people who stand side by side
_TALLEST_M = 2.1  # with raised arms
_REACH_M = 0.7  # of a person, to each side
_GRID_M = 0.5
_FARTHEST_M = 12.0  # a position beyond that is shown there, so that an error does not shrink everybody for good
_USED = 0.84  # of the panel's height and width
_STEEP = 0.97  # of gravity along the camera's axis: within 14 degrees of it
_SHADOW: Colour = (18, 15, 13)


class Scene:
    """Draws people on a floor, each standing on the lowest joint, from in front and a little above.

    Where the camera is known, people stand where they are in the room; otherwise side by side, in the order of the picture.
    The part of the floor that is shown grows with what was needed so far, and does not shrink.

    Args:
        brush: draws.
        gravity: (3,) unit, down, in camera axes; people stand upright by it. None takes the camera for level.
    """

    def __init__(self, brush: Brush, *, gravity: F64 | None = None) -> None:
        self._brush = brush
        self._level = np.eye(3) if gravity is None else level_axes(gravity)  # (3, 3)
        self._row: list[int] = []  # the ids of the people, from left to right
        self._spots: dict[int, F64] = {}  # person id -> (2,) metres to the right and away, where the person was last
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)  # of the floor, metres

    def draw(self, image: ImageBgr, poses: Mapping[int, Pose], places: Mapping[int, float]) -> None:
        """Draw onto the whole of a picture (H, W, 3); without people only the floor.

        Args:
            poses: person id -> pose.
            places: person id -> how far to the right the person is; whoever comes or goes brings the row into this order.
        """
        spots = self._in_the_room(poses) or self._in_a_row(poses, places)
        for spot in spots.values() or [np.zeros(2)]:
            self._low, self._high = np.minimum(self._low, spot - _REACH_M), np.maximum(self._high, spot + _REACH_M)
        scale, middle = self._frame(image)
        self._draw_floor(image, scale, middle)
        for person in sorted(spots, key=lambda person: -spots[person][1]):  # distant people first
            x_m, z_m = spots[person]
            self._draw_person(image, poses[person], spots[person], scale, middle)
            tag, _ = _project(np.array([[x_m, 0.0, z_m - _REACH_M]]), scale, middle)
            self._brush.tag(image, str(person), tag[0])

    def draw_nobody(self, image: ImageBgr) -> None:
        """Say that nobody is seen."""
        text, height = "nobody", 18
        left = (image.shape[1] - self._brush.width_of(text, height=height)) / 2
        self._brush.words(image, text, (left, image.shape[0] / 2), FAINT_INK, height=height)

    def _in_the_room(self, poses: Mapping[int, Pose]) -> dict[int, F64]:
        """Where people stand before the camera; without those of whom it was never known."""
        for person, pose in poses.items():
            if pose.root is not None and np.isfinite(pose.root.xyz_m).all():
                place_m = self._level @ pose.root.xyz_m.astype(np.float64)
                self._spots[person] = np.clip(place_m[[0, 2]], -_FARTHEST_M, _FARTHEST_M)
        return {person: self._spots[person] for person in poses if person in self._spots}

    def _in_a_row(self, poses: Mapping[int, Pose], places: Mapping[int, float]) -> dict[int, F64]:
        if set(self._row) != set(poses):
            self._row = sorted(poses, key=lambda person: (places.get(person, 0.0), person))
        middle = (len(self._row) - 1) / 2
        return {person: np.array([(k - middle) * _SPACING_M, 0.0]) for k, person in enumerate(self._row)}

    def _frame(self, image: ImageBgr) -> tuple[float, F64]:
        """Pixels of a metre, and the pixel of the origin, at which the floor and the people on it fill the picture."""
        (x0, z0), (x1, z1) = self._low, self._high
        corners = np.array([[x, y, z] for x in (x0, x1) for y in (0, -_TALLEST_M) for z in (z0, z1)])
        points, _ = _project(corners, 1.0, np.zeros(2))
        low, high = points.min(axis=0), points.max(axis=0)
        size = np.array([image.shape[1], image.shape[0]])
        scale = float((_USED * size / (high - low)).min())
        return scale, size / 2 - scale * (low + high) / 2

    def _draw_floor(self, image: ImageBgr, scale: float, middle: F64) -> None:
        """Squares of half a metre."""
        (x0, z0), (x1, z1) = np.floor(self._low / _GRID_M) * _GRID_M, np.ceil(self._high / _GRID_M) * _GRID_M
        xs, zs = np.arange(x0, x1 + 1e-6, _GRID_M), np.arange(z0, z1 + 1e-6, _GRID_M)
        for start, end in [((x, z0), (x, z1)) for x in xs] + [((x0, z), (x1, z)) for z in zs]:
            line, _ = _project(np.array([[start[0], 0, start[1]], [end[0], 0, end[1]]]), scale, middle)
            self._brush.line(image, line[0], line[1], GRID, 1)

    def _draw_person(self, image: ImageBgr, pose: Pose, spot: F64, scale: float, middle: F64) -> None:
        if not np.isfinite(pose.xyz_m).all():
            return
        xyz = pose.xyz_m.astype(np.float64) @ self._level.T
        xyz = xyz + np.array([spot[0], -float(xyz[:, 1].max()), spot[1]])  # y is down: the lowest joint is on the floor
        shadow, _ = _project(xyz * (1, 0, 1), scale, middle)
        points, depth = _project(xyz, scale, middle)
        width = max(2, round(0.016 * scale))
        for a, b in H36M17.bones:
            self._brush.line(image, shadow[a], shadow[b], _SHADOW, width)
        guessed = pose.guessed
        for a, b in sorted(H36M17.bones, key=lambda bone: -float(depth[list(bone)].sum())):  # distant bones first
            colour = GUESSED if guessed[a] or guessed[b] else colour_of(H36M17, b)
            self._brush.line(image, points[a], points[b], EDGE, width + 3)
            self._brush.line(image, points[a], points[b], colour, width)
        for joint in np.argsort(-depth):
            colour = GUESSED if guessed[joint] else colour_of(H36M17, int(joint))
            self._brush.dot(image, points[joint], EDGE, 0.8 * width + 1.5)
            self._brush.dot(image, points[joint], colour, 0.8 * width)


def level_axes(gravity: F64) -> F64:
    """(3, 3) rows: right, down and forward of a level observer who looks where the camera looks, in camera axes.

    Args:
        gravity: (3,) unit, down, in camera axes.
    """
    ahead = np.array([0.0, 0.0, 1.0])
    if abs(gravity[2]) > _STEEP:  # the camera looks straight down or up: the top or the bottom of its picture is ahead
        ahead = np.array([0.0, -np.sign(gravity[2]), 0.0])
    forward = ahead - (ahead @ gravity) * gravity
    forward /= np.linalg.norm(forward)
    return np.stack([np.cross(gravity, forward), gravity, forward])


def _project(xyz_m: F64, scale: float, middle: F64) -> tuple[F64, F64]:
    """(J, 3) metres, x right, y down, z away, to (J, 2) pixels and (J,) distance from the viewer; without perspective."""
    cos, sin = math.cos(_TURN_RAD), math.sin(_TURN_RAD)
    x, y, z = xyz_m[:, 0], xyz_m[:, 1], xyz_m[:, 2]
    x, z = cos * x + sin * z, -sin * x + cos * z
    cos, sin = math.cos(_DOWN_RAD), math.sin(_DOWN_RAD)
    down, away = cos * y - sin * z, sin * y + cos * z
    return scale * np.stack([x, down], 1) + middle, away
