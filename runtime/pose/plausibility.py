"""Whether a pose can be somebody's: bones of lengths that people have, and that the person had before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, F64
from .skeleton import H36M17
from .types import Pose

STATURES_M = (1.0, 2.1)
"""How tall people are: from a child of four years to a tall adult."""

OF_PROPORTIONS = 0.25
"""By which share a bone may be shorter or longer than average proportions say: people differ, and lifters err."""

OF_MEDIAN = 0.4
"""By which share a bone may differ from its median in the person's last poses."""

_REMEMBERED = 64  # poses of each person
_ENOUGH = 8  # poses, before a person is compared with the past, and until the past is summed up again

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
BONE_SHARES: F64 = np.array([_SHARES[_KIND[child]] for _, child in BONES])
"""(14,) how long each bone is, as a share of the stature."""

LIMITS_M: F64 = np.stack(
    [(1 - OF_PROPORTIONS) * STATURES_M[0] * BONE_SHARES, (1 + OF_PROPORTIONS) * STATURES_M[1] * BONE_SHARES], axis=-1
)
"""(14, 2) the shortest and the longest that each bone can be, in metres."""


class BoneCheck:
    """Compares the bones of people in a run with people in general, and with the same person before.

    Args:
        metric: whether poses are in metres; others are compared with the same person only.
    """

    def __init__(self, *, metric: bool = True) -> None:
        self._metric = metric
        self._pasts: dict[int, _Past] = {}

    def check(self, poses: Mapping[int, Pose]) -> dict[int, Pose]:
        """The poses; those with bones that cannot be get the doubt "bones"."""
        if not poses:
            return {}
        for person in poses.keys() - self._pasts.keys():
            self._pasts[person] = _Past()
        pasts = [self._pasts[person] for person in poses]
        lengths_m = bone_lengths(np.stack([pose.xyz_m for pose in poses.values()]))  # (P, 14)
        doubted = np.any(self._wrong(list(poses.values()), lengths_m, pasts), axis=1)  # (P,)
        checked = dict(poses)
        for (person, pose), past, own_m, is_doubted in zip(poses.items(), pasts, lengths_m, doubted, strict=True):
            if pose.gap != "hold":  # the last pose is repeated
                past.add(own_m)
            if is_doubted:
                checked[person] = replace(pose, doubts=(*pose.doubts, "bones"))
        return checked

    def forget(self, person: int) -> None:
        """Forget a person who was lost: another one may get the id."""
        self._pasts.pop(person, None)

    def _wrong(self, poses: Sequence[Pose], lengths_m: F64, pasts: Sequence[_Past]) -> NDArray[np.bool_]:
        """(P, 14) which bones have a length that cannot be. Guessed joints are flagged as such, and say nothing here."""
        usual_m = np.stack([past.usual_m for past in pasts])
        wrong = np.abs(lengths_m - usual_m) > OF_MEDIAN * usual_m
        if self._metric:
            scales = np.array([1.0 if pose.root is None else pose.root.scale for pose in poses])
            scaled_m = lengths_m * scales[:, None]
            wrong |= (scaled_m < LIMITS_M[:, 0]) | (scaled_m > LIMITS_M[:, 1])
        seen = ~np.stack([pose.guessed for pose in poses])
        return np.asarray(wrong & seen[:, _PARENTS] & seen[:, _CHILDREN], np.bool_)


class _Past:
    """The bones of a person's last poses. ``usual_m`` (14,) are their medians, of every eighth pose; nan before."""

    def __init__(self) -> None:
        self._lengths_m: F64 = np.empty((_REMEMBERED, len(BONES)))
        self._count = 0
        self.usual_m: F64 = np.full(len(BONES), np.nan)

    def add(self, lengths_m: F64) -> None:
        """Add a pose's bones, (14,)."""
        self._lengths_m[self._count % _REMEMBERED] = lengths_m
        self._count += 1
        if self._count % _ENOUGH == 0:  # medians cost more than all the rest
            self.usual_m = np.median(self._lengths_m[: self._count], axis=0)


def bone_lengths(xyz_m: F32) -> F64:
    """(..., 14) the lengths of ``BONES`` of poses (..., 17, 3), in their units."""
    exact_m = xyz_m.astype(np.float64)
    return np.asarray(np.sqrt(np.square(exact_m[..., _CHILDREN, :] - exact_m[..., _PARENTS, :]).sum(axis=-1)), np.float64)
