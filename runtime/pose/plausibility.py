"""Whether a pose can be somebody's: bones of lengths that people have, and that the person had before."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64
from .skeleton import H36M17
from .types import Pose

STATURES_M = (1.0, 2.1)
"""People are so tall, from a child of four years on."""

OF_PROPORTIONS = 0.25
"""A bone may be so much shorter or longer than the proportions of the body say: people differ, and lifters see none exactly."""

OF_MEDIAN = 0.4
"""A bone may differ by so much from what it was in the person's last poses."""

_REMEMBERED = 64  # poses of each person
_ENOUGH = 8  # poses, before a person is compared with the past

# Bone, by its child joint -> its share of the stature (Winter, Biomechanics and Motor Control of Human Movement; the trunk is
# divided as Human3.6M divides it). Nose and head are left out: where a detector sees them differs more than bones do.
_SHARES = {
    "hip": 0.075, "knee": 0.245, "ankle": 0.246, "spine": 0.14, "thorax": 0.145, "shoulder": 0.09, "elbow": 0.175,
    "wrist": 0.146,
}  # fmt: skip

_KIND = {child: H36M17.joints[child].rpartition("_")[2] for _, child in H36M17.bones}
BONES = tuple(bone for bone in H36M17.bones if _KIND[bone[1]] in _SHARES)
"""(parent, child) joints of the 14 bones that are checked."""

_PARENTS, _CHILDREN = (np.array(ends) for ends in zip(*BONES, strict=True))
_SHARE = np.array([_SHARES[_KIND[child]] for _, child in BONES])
LIMITS_M: F64 = np.stack(
    [(1 - OF_PROPORTIONS) * STATURES_M[0] * _SHARE, (1 + OF_PROPORTIONS) * STATURES_M[1] * _SHARE], axis=-1
)
"""(14, 2) the shortest and the longest that each bone can be, in metres."""


class BoneCheck:
    """Compares the bones of people in a run with people in general, and with the same person before.

    Args:
        metric: whether poses are in metres; others are compared with the same person only.
    """

    def __init__(self, *, metric: bool = True) -> None:
        self._metric = metric
        self._lengths_m: dict[int, deque[F64]] = {}  # person -> (14,) of the last poses

    def check(self, poses: Mapping[int, Pose]) -> dict[int, Pose]:
        """The poses; those with bones that cannot be get the doubt "bones"."""
        return {person: self._check(person, pose) for person, pose in poses.items()}

    def forget(self, person: int) -> None:
        """Forget a person who was lost: another one may get the id."""
        self._lengths_m.pop(person, None)

    def _check(self, person: int, pose: Pose) -> Pose:
        lengths_m = bone_lengths(pose)
        past = self._lengths_m.setdefault(person, deque(maxlen=_REMEMBERED))
        doubted = self._wrong(pose, lengths_m, past).any()
        if pose.gap != "hold":  # the last pose is repeated
            past.append(lengths_m)
        return replace(pose, doubts=(*pose.doubts, "bones")) if doubted else pose

    def _wrong(self, pose: Pose, lengths_m: F64, past: deque[F64]) -> NDArray[np.bool_]:
        """(14,) which bones have a length that cannot be. Guessed joints are flagged as such, and say nothing here."""
        wrong = np.zeros(len(lengths_m), np.bool_)
        if self._metric:
            scaled_m = lengths_m * (1.0 if pose.root is None else pose.root.scale)
            wrong |= (scaled_m < LIMITS_M[:, 0]) | (scaled_m > LIMITS_M[:, 1])
        if len(past) >= _ENOUGH:
            usual_m = np.median(np.stack(past), axis=0)
            wrong |= np.abs(lengths_m - usual_m) > OF_MEDIAN * usual_m
        guessed = pose.guessed
        return np.asarray(wrong & ~guessed[_PARENTS] & ~guessed[_CHILDREN], np.bool_)


def bone_lengths(pose: Pose) -> F64:
    """(14,) the lengths of ``BONES``, in the units of the pose."""
    xyz_m = pose.xyz_m.astype(np.float64)
    return np.asarray(np.linalg.norm(xyz_m[_CHILDREN] - xyz_m[_PARENTS], axis=-1))
