"""Who is drawn where: poses sorted by time, with z up, in the room or side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64
from ..errors import FrameError, UsageError
from ..events import Event, PoseFrame
from ..pose.types import Pose

Poses = Pose | PoseFrame | Mapping[Any, Pose] | Iterable[Pose | Event | Mapping[Any, Pose]]
"""One person, several people in one frame, or a clip: a list of poses, of frames, or of all events of a pipeline."""

SPACING_M = 1.3
"""Between people who stand side by side, since nobody knows where they are."""

_MARGIN_M = 0.1
_CAMERA_TO_SHOWN = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # rows: right, away from the camera, up
_CAMERA_AXES = ("right (m)", "away from the camera (m)", "up (m)")
_ROOM_AXES = ("x (m)", "y (m)", "z (m)")
_EVENTS = get_args(Event)


@dataclass(frozen=True, eq=False)
class Person:
    """One person as drawn.

    Args:
        xyz_m: (17, 3) metres, z up.
        sigma_m: (17,) standard deviations; None from a model without them.
        score: (17,) of the keypoints.
        guessed: (17,) which joints the model guessed.
    """

    person: int
    xyz_m: F64
    sigma_m: F64 | None
    score: F64
    guessed: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Moment:
    """Everybody at one time."""

    t_s: float
    people: tuple[Person, ...]

    @property
    def box_m(self) -> F64:
        """(2, 3) the lower and the upper corner of the box around everybody, with their standard deviations."""
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for person in self.people:
            reach = np.zeros((len(person.xyz_m), 1)) if person.sigma_m is None else person.sigma_m[:, None]
            low = np.minimum(low, np.nanmin(person.xyz_m - reach, axis=0))
            high = np.maximum(high, np.nanmax(person.xyz_m + reach, axis=0))
        return np.stack([low - _MARGIN_M, high + _MARGIN_M])


@dataclass(frozen=True, eq=False)
class Moments:
    """All moments of what is shown, in order of time, and the labels of their three axes."""

    all: tuple[Moment, ...]
    axes: tuple[str, str, str]

    def __len__(self) -> int:
        return len(self.all)

    @property
    def box_m(self) -> F64:
        """(2, 3) the corners of the box around everything."""
        boxes = np.stack([moment.box_m for moment in self.all])
        return np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)])

    def spread(self, most: int) -> Moments:
        """At most so many moments, evenly spread, with the first and the last one."""
        chosen = np.unique(np.linspace(0, len(self.all) - 1, min(most, len(self.all))).round().astype(int))
        return Moments(tuple(self.all[i] for i in chosen), self.axes)


def moments_of(poses: Poses, *, in_room: bool | None = None) -> Moments:
    """Sort poses by time, and place everybody.

    Args:
        in_room: people stand where they are, in the axes of the room or the robot if every pose knows them, else in the
            camera's; False: about the hip, side by side. None: where they are if every pose has a root.

    Raises:
        UsageError: ``poses`` is something else.
        FrameError: there is no pose, one is not finite, two poses of a person are of the same time, or ``in_room`` is asked of
            poses without a root.
    """
    found = list(_each_pose(poses))
    if not found:
        raise FrameError("there is no pose to show", expected="at least one Pose")
    if not all(np.isfinite(pose.xyz_m).all() for pose in found):
        raise FrameError("a pose is not finite", expected="joints in metres")
    placed = all(pose.root is not None for pose in found)
    if in_room and not placed:
        raise FrameError(
            "a pose has no root, so nobody knows where the person is", expected="poses of a pipeline that knows its camera"
        )
    if in_room is None:
        in_room = placed
    in_world = in_room and all(pose.xyz_in_world_m is not None for pose in found)
    people = sorted({pose.person for pose in found})
    by_time: dict[float, dict[int, Person]] = {}
    for pose in sorted(found, key=lambda pose: (pose.t_s, pose.person)):
        at_this_time = by_time.setdefault(pose.t_s, {})
        if pose.person in at_this_time:
            raise FrameError(
                f"person {pose.person} has two poses at t = {pose.t_s:g} s",
                expected="one pose of each person at a time; model.stream(person=1) gives a stream's poses an id",
            )
        aside_m = 0.0 if in_room else SPACING_M * (people.index(pose.person) - (len(people) - 1) / 2)
        at_this_time[pose.person] = _person(pose, in_room=in_room, in_world=in_world, aside_m=aside_m)
    moments = tuple(Moment(t_s, tuple(at_this_time.values())) for t_s, at_this_time in by_time.items())
    return Moments(moments, _ROOM_AXES if in_world else _CAMERA_AXES)


def _person(pose: Pose, *, in_room: bool, in_world: bool, aside_m: float) -> Person:
    joints_m = pose.xyz_in_world_m if in_world else pose.xyz_in_camera_m if in_room else pose.xyz_m
    assert joints_m is not None
    xyz_m = joints_m.astype(np.float64)
    if not in_world:
        xyz_m = xyz_m @ _CAMERA_TO_SHOWN.T + np.array([aside_m, 0, 0])
    scale = pose.root.scale if in_room and pose.root is not None else 1.0
    sigma_m = None if pose.sigma_m is None else scale * pose.sigma_m.astype(np.float64)
    return Person(pose.person, xyz_m, sigma_m, pose.score.astype(np.float64), pose.guessed)


def _each_pose(poses: object) -> Iterator[Pose]:
    if isinstance(poses, Pose):
        yield poses
    elif isinstance(poses, PoseFrame):
        yield from poses.poses.values()
    elif isinstance(poses, Mapping):
        yield from _each_pose(list(poses.values()))
    elif isinstance(poses, _EVENTS):  # people come and go: nothing to draw
        return
    elif isinstance(poses, Iterable) and not isinstance(poses, str | bytes | np.ndarray):
        for item in poses:
            yield from _each_pose(item)
    else:
        raise UsageError(f"a {type(poses).__name__} cannot be shown", expected="a Pose, a PoseFrame, or a list of them")
