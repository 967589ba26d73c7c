"""The people of a run: each has a stream of the model, with ``flip`` a second one, and filters of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import overload

import numpy as np

from .any_model import AnyModel, AnyStream
from .arrays import F32
from .errors import FrameError
from .events import FrameRefused
from .model import Model
from .pose.joint_memory import HOLD_S, JointMemory, check_hold
from .pose.keypoints import Keypoints
from .pose.skeleton import H36M17
from .pose.smoothing import SMOOTHING, Smooth, Smoother
from .pose.types import Pose
from .stream import Stream

_MIRRORED = list(H36M17.mirrored)
_NEGATED_X: F32 = np.array([-1, 1, 1], np.float32)


@dataclass(frozen=True, eq=False)
class _Person:
    stream: AnyStream
    mirrored: AnyStream | None
    smoother: Smoother | None
    memory: JointMemory

    def frames(self, normalised: F32) -> dict[AnyStream, F32]:
        """What each of the person's streams is fed."""
        frames = {self.stream: normalised}
        if self.mirrored is not None:
            frames[self.mirrored] = mirrored(normalised)
        return frames

    def answer(self, answers: Mapping[AnyStream, Pose | FrameError]) -> Pose | FrameError:
        """The pose of the person's streams, or why one of them refused the frame."""
        answer = answers[self.stream]
        if self.mirrored is None or isinstance(answer, FrameError):
            return answer
        other = answers[self.mirrored]
        return other if isinstance(other, FrameError) else mean_with_mirrored(answer, other)


class PeopleLifter:
    """Lifts everybody in a frame in one launch.

    Args:
        model: has a stream for each person.
        smooth: the level of smoothing.
        hold_s: how long joints that a detector loses stay where they were; 0 is not at all.
        flip: also lift the mirrored keypoints, in streams of their own in the same launch, and average both poses.
    """

    def __init__(self, model: AnyModel, *, smooth: Smooth = "off", hold_s: float = HOLD_S, flip: bool = False) -> None:
        self.model, self.flip, self._level, self.hold_s = model, flip, SMOOTHING[smooth], check_hold(hold_s)
        self._people: dict[int, _Person] = {}
        self._seen_s: dict[int, float] = {}

    @property
    def smooths(self) -> bool:
        """Whether ``smooth_keypoints`` and ``smooth_poses`` do anything."""
        return self._level is not None

    def see(self, person: int, t_s: float) -> bool:
        """Note that a person is in the frame; whether the person is new."""
        self._seen_s[person] = t_s
        if person in self._people:
            return False
        reset_after_s = self.model.gaps.reset_after_s
        smoother = None if self._level is None else Smoother(self._level, reset_after_s=reset_after_s)
        stream = self.model.stream(person=person)
        second = self.model.stream(person=person) if self.flip else None
        self._people[person] = _Person(stream, second, smoother, JointMemory(self.hold_s))
        return True

    @property
    def people(self) -> list[int]:
        """Who has a stream."""
        return list(self._people)

    def absent(self, t_s: float) -> list[int]:
        """Who was not seen for as long as the gap policy remembers."""
        return [person for person, seen_s in self._seen_s.items() if t_s - seen_s >= self.model.gaps.lost_after_s]

    def close(self) -> None:
        """Forget everybody."""
        for person in self.people:
            self.forget(person)

    def forget(self, person: int) -> None:
        """Close a person's streams."""
        streams = self._people.pop(person)
        streams.stream.close()
        if streams.mirrored is not None:
            streams.mirrored.close()
        del self._seen_s[person]

    def swap(self, model: AnyModel) -> bool:
        """Lift with another model from now on: everybody stays, and keeps the state if it means the same there.

        Returns:
            Whether the states were kept.
        """
        keeps = self.model.shares_states_with(model)
        for person, streams in self._people.items():
            stream = moved(streams.stream, model, person=person, keeps=keeps)
            second = None if streams.mirrored is None else moved(streams.mirrored, model, person=person, keeps=keeps)
            self._people[person] = replace(streams, stream=stream, mirrored=second)
        self.model = model
        return keeps

    def smooth_keypoints(self, t_s: float, keypoints: Mapping[int, Keypoints]) -> Mapping[int, Keypoints]:
        """The keypoints of a frame, smoothed if the level says so."""
        smoothers = {person: self._people[person].smoother for person in keypoints}
        return {
            person: points if (smoother := smoothers[person]) is None else _smoothed(points, smoother, t_s)
            for person, points in keypoints.items()
        }

    def hold_joints(self, t_s: float, keypoints: Mapping[int, Keypoints]) -> dict[int, Keypoints]:
        """The keypoints of a frame, with joints that were just lost where they were."""
        return {person: self._people[person].memory.fill(points, t_s) for person, points in keypoints.items()}

    def lift(self, t_s: float, normalised: Mapping[int, F32]) -> tuple[dict[int, Pose], list[FrameRefused]]:
        """The poses by person, and whose keypoints were refused."""
        frames: dict[AnyStream, F32] = {}
        for person, points in normalised.items():
            frames |= self._people[person].frames(points)
        by_stream = self.model.step_each(frames, t=t_s)
        poses: dict[int, Pose] = {}
        refused: list[FrameRefused] = []
        for person in normalised:
            answer = self._people[person].answer(by_stream)
            if isinstance(answer, FrameError):
                refused.append(FrameRefused(person, t_s, answer))
            else:
                poses[person] = answer
        return poses, refused

    def smooth_poses(self, poses: Mapping[int, Pose]) -> dict[int, Pose]:
        """The poses, smoothed if the level says so; the model's state knows nothing of it."""
        smoothed = dict(poses)
        for person, pose in poses.items():
            smoother = self._people[person].smoother
            if smoother is not None:
                smoothed[person] = replace(pose, xyz_m=smoother.pose(pose.xyz_m, t_s=pose.t_s, reset=pose.gap == "reset"))
        return smoothed


@overload
def moved(stream: Stream, model: Model, *, person: int = 0, keeps: bool = True) -> Stream: ...
@overload
def moved(stream: AnyStream, model: AnyModel, *, person: int = 0, keeps: bool = True) -> AnyStream: ...
def moved(stream: AnyStream, model: AnyModel, *, person: int = 0, keeps: bool = True) -> AnyStream:
    """A stream of another model in the place of this one, which is closed.

    Args:
        keeps: whether it goes on with the state, which must mean the same there (``Model.shares_states_with``).
    """
    new = model.stream(person=person)
    if keeps and isinstance(stream, Stream) and isinstance(new, Stream):  # a server's states stay there
        new.restore(replace(stream.snapshot(), graph=model.identity))
    stream.close()
    return new


def _smoothed(keypoints: Keypoints, smoother: Smoother, t_s: float) -> Keypoints:
    return replace(keypoints, points=smoother.keypoints(keypoints.points, t_s=t_s))


def mirrored(joints: F32) -> F32:
    """(17, 3) normalised keypoints or metres of the mirrored person: x negated, left and right exchanged."""
    return np.asarray(joints[_MIRRORED] * _NEGATED_X)


def mean_with_mirrored(pose: Pose, other: Pose) -> Pose:
    """The mean of a pose and of the pose of the mirrored keypoints."""
    half = np.float32(0.5)
    sigma_m = None
    if pose.sigma_m is not None and other.sigma_m is not None:
        sigma_m = half * (pose.sigma_m + other.sigma_m[_MIRRORED])
    return replace(pose, xyz_m=half * (pose.xyz_m + mirrored(other.xyz_m)), sigma_m=sigma_m, xyz_m_device=None)
