"""How well detections fit the people that are expected: by place, by size, and by pose as object keypoint similarity (OKS)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import F64
from ..pose.skeleton import Skeleton

# COCO's constants: twice the standard deviation of annotators at a joint, in square roots of the person's area. Joints that
# COCO does not have are as uncertain as its hips.
_SPREAD = {"nose": 0.052, "eye": 0.05, "ear": 0.07, "shoulder": 0.158, "elbow": 0.144, "wrist": 0.124}
_SPREAD |= {"hip": 0.214, "knee": 0.174, "ankle": 0.178}
_OTHER_SPREAD = 0.214

_LARGEST_LOG_SCALE = 0.7  # nobody doubles in size between two frames
_LEAST = 1e-9


@dataclass(frozen=True)
class Tolerance:
    """How far a detection may lie from what is expected; everything grows with the seconds for which the person was not seen.

    Args:
        place: standard deviation of the place, in square roots of the person's area, and its growth per second.
        scale: standard deviation of the logarithm of the size, and its growth per second.
        pose: growth per second of the joints' spread.
    """

    place: tuple[float, float] = (0.05, 0.3)
    scale: tuple[float, float] = (0.06, 0.1)
    pose: float = 1.5


@dataclass(frozen=True, eq=False)
class Fit:
    """N expected people compared with M detections.

    Args:
        cost: (N, M) negative logarithm of the likelihood; infinite if no joint was seen on both sides.
        log_scale: (N, M) logarithm of the detection's size by the expected one.
    """

    cost: F64
    log_scale: F64

    def better(self, other: Fit, *, extra: float = 0.0) -> Fit:
        """Of each pair whichever of two comparisons costs less; the other one's cost grows by ``extra`` first."""
        other_cost = other.cost + extra
        worse = other_cost < self.cost
        return Fit(np.minimum(self.cost, other_cost), np.where(worse, other.log_scale, self.log_scale))


def joint_spreads(skeleton: Skeleton) -> F64:
    """(J,) OKS constants of a skeleton's joints, in square roots of a person's area."""
    return np.array([_SPREAD.get(name.rpartition("_")[2], _OTHER_SPREAD) for name in skeleton.joints])


def fit(expected: F64, detected: F64, *, size_px: F64, unseen_s: F64, spreads: F64, tolerance: Tolerance | None = None) -> Fit:
    """Compare expected people with detections.

    A joint weighs as much as the lower of its two scores, so that hidden joints have no say. The pose is compared after place
    and size, by OKS.

    Args:
        expected: (N, J, 3) x, y, score where the people are expected.
        detected: (M, J, 3)
        size_px: (N,) square roots of the people's areas.
        unseen_s: (N,) seconds since each of them was seen.
        spreads: (J,) of ``joint_spreads``.
    """
    allowed = tolerance or Tolerance()
    weight = np.minimum(expected[:, None, :, 2], detected[None, :, :, 2])  # (N, M, J)
    total = weight.sum(axis=-1)
    weight = weight / np.maximum(total, _LEAST)[..., None]
    middle, detected_middle = (np.einsum("nmj,nmjc->nmc", weight, np.broadcast_to(xy, (*weight.shape, 2)))
                               for xy in (expected[:, None, :, :2], detected[None, :, :, :2]))  # fmt: skip
    pose = expected[:, None, :, :2] - middle[:, :, None]  # (N, M, J, 2)
    detected_pose = detected[None, :, :, :2] - detected_middle[:, :, None]
    radius, detected_radius = (np.sqrt((weight * (p**2).sum(-1)).sum(-1)) for p in (pose, detected_pose))
    ratio = np.maximum(detected_radius, _LEAST) / np.maximum(radius, _LEAST)
    log_scale = np.clip(np.log(ratio), -_LARGEST_LOG_SCALE, _LARGEST_LOG_SCALE)

    distance2 = ((detected_pose / np.exp(log_scale)[..., None, None] - pose) ** 2).sum(-1)  # (N, M, J) px squared
    spread_px = size_px[:, None] * (1 + allowed.pose * unseen_s)[:, None] * spreads  # (N, J)
    oks = (weight * np.exp(-distance2 / (2 * spread_px[:, None] ** 2))).sum(-1)
    shift_px = detected_middle - middle  # (N, M, 2)
    place = allowed.place[0] + allowed.place[1] * unseen_s  # (N,)
    scale = allowed.scale[0] + allowed.scale[1] * unseen_s
    cost = -np.log(oks + _LEAST) + (shift_px**2).sum(-1) / (2 * (size_px * place)[:, None] ** 2)
    cost += log_scale**2 / (2 * scale[:, None] ** 2)
    # The normal densities' own factors: without them whoever was not seen for long would fit everything.
    cost += (2 * np.log(place / allowed.place[0]) + np.log(scale / allowed.scale[0]))[:, None]
    return Fit(np.where(total > _LEAST, cost, np.inf), log_scale)
