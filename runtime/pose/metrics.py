"""Metrics: the distance of poses from the true ones, as papers report it, in float64.

Arrays are (T, J, 3) in metres; results are in metres, metres per frame or percent. Every mean runs over the joints that
``valid`` (T, J) marks, or over all of them. ``root="keep"`` compares the coordinates as they are, so that the error of a
predicted hip counts (VideoPose3D, MixSTE, PoseRetNet); ``root="align"`` moves both hips to zero first (MotionBERT, HoT), which
lowers MPJPE by up to a seventeenth of the hip's error. A report must say which one it used.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import F64
from ..errors import FrameError
from .skeleton import H36M17, Skeleton

HipPlace = Literal["align", "keep"]
Mask = NDArray[np.bool_]

PCK_THRESHOLD_M = 0.150
AUC_THRESHOLDS_M: F64 = np.arange(31, dtype=np.float64) * 0.005
"""0, 5 ... 150 mm. No distance is below the first, so that a perfect AUC is 30 of 31: 96.8 %."""

Order = Literal["h36m17", "3dhp17"]

PCK_JOINTS: dict[tuple[str, int], tuple[int, ...]] = {
    ("h36m17", 17): tuple(range(17)),
    ("h36m17", 14): tuple(j for j in range(17) if j not in (0, 7, 9)),  # hip, spine, nose
    ("3dhp17", 17): tuple(range(17)),
    ("3dhp17", 14): tuple(range(14)),  # pelvis, spine and head come last there
}
"""(order of joints, number of joints) -> the joints that count: all, or the 14 of MPI-INF-3DHP's own evaluation."""


def mpjpe(pred: ArrayLike, truth: ArrayLike, *, valid: ArrayLike | None = None, root: HipPlace = "keep") -> float:
    """Mean distance between joints, in metres (protocol 1)."""
    p, g, mask = _checked(pred, truth, valid, root)
    return _mean(_distance(p, g), mask)


def p_mpjpe(pred: ArrayLike, truth: ArrayLike, *, valid: ArrayLike | None = None) -> float:
    """Mean distance in metres after the best similarity transform of each frame (protocol 2, Procrustes)."""
    p, g, mask = _checked(pred, truth, valid, "keep")
    return _mean(_distance(procrustes(p, g), g), mask)


def n_mpjpe(pred: ArrayLike, truth: ArrayLike, *, valid: ArrayLike | None = None, root: HipPlace = "keep") -> float:
    """Mean distance in metres after the best scale of each frame (protocol 3)."""
    p, g, mask = _checked(pred, truth, valid, root)
    size = (p * p).sum((1, 2), keepdims=True)  # (T, 1, 1)
    scale = (p * g).sum((1, 2), keepdims=True) / np.where(size > 0, size, 1.0)
    return _mean(_distance(scale * p, g), mask)


def mpjve(pred: ArrayLike, truth: ArrayLike, *, valid: ArrayLike | None = None, root: HipPlace = "keep") -> float:
    """Mean distance between joint velocities, in metres per frame; a velocity is valid if both its frames are."""
    p, g, mask = _checked(pred, truth, valid, root)
    if len(p) < 2:
        raise FrameError(f"a velocity needs two frames, there are {len(p)}")
    return _mean(_distance(np.diff(p, axis=0), np.diff(g, axis=0)), mask[1:] & mask[:-1])


def acceleration_error(pred: ArrayLike, truth: ArrayLike, *, valid: ArrayLike | None = None, root: HipPlace = "keep") -> float:
    """Mean distance between joint accelerations, in metres per frame squared, by second differences.

    An acceleration is valid if all three of its frames are. It sees jitter that hardly changes MPJPE.
    """
    p, g, mask = _checked(pred, truth, valid, root)
    return _mean(_distance(*map(_accelerations, (p, g))), mask[2:] & mask[1:-1] & mask[:-2])


def mean_acceleration(pred: ArrayLike, *, valid: ArrayLike | None = None, root: HipPlace = "keep") -> float:
    """Mean length of joint accelerations, in metres per frame squared, as in ``acceleration_error``; without a truth."""
    p, _, mask = _checked(pred, pred, valid, root)
    return _mean(np.linalg.norm(_accelerations(p), axis=-1), mask[2:] & mask[1:-1] & mask[:-2])


def _accelerations(p: F64) -> F64:
    """(T, J, 3) -> (T - 2, J, 3)."""
    if len(p) < 3:
        raise FrameError(f"an acceleration needs three frames, there are {len(p)}")
    return np.diff(p, n=2, axis=0)


def bone_jitter(pred: ArrayLike, *, skeleton: Skeleton = H36M17) -> float:
    """Mean absolute change of a bone's length between consecutive frames, over all bones, in metres per frame.

    Real bones do not change, so that no true pose is needed; rotation and translation of the pose do not count.

    Args:
        pred: (T, J, 3), T of at least 2.
    """
    p = np.asarray(pred, np.float64)
    if p.ndim != 3 or p.shape[1:] != (len(skeleton), 3) or len(p) < 2:
        raise FrameError(f"the poses have shape {p.shape}", expected=f"(T, {len(skeleton)}, 3) with T of at least 2")
    parents, children = zip(*skeleton.bones, strict=True)
    length = _distance(p[:, list(children)], p[:, list(parents)])  # (T, bones)
    return float(np.abs(np.diff(length, axis=0)).mean())


def pck(
    pred: ArrayLike,
    truth: ArrayLike,
    *,
    threshold_m: float = PCK_THRESHOLD_M,
    joints: Literal[14, 17] = 17,
    order: Order = "h36m17",
    valid: ArrayLike | None = None,
    root: HipPlace = "keep",
) -> float:
    """Percent of joints whose distance from the true position is strictly below the threshold."""
    distance, mask = _joint_distances(pred, truth, valid, root, (order, joints))
    return 100 * _mean((distance < threshold_m).astype(np.float64), mask)


def auc(
    pred: ArrayLike,
    truth: ArrayLike,
    *,
    joints: Literal[14, 17] = 17,
    order: Order = "h36m17",
    valid: ArrayLike | None = None,
    root: HipPlace = "keep",
) -> float:
    """Mean PCK over the 31 thresholds 0, 5 ... 150 mm, in percent."""
    distance, mask = _joint_distances(pred, truth, valid, root, (order, joints))
    passed = (distance[..., None] < AUC_THRESHOLDS_M).mean(-1)  # (T, J)
    return 100 * _mean(passed, mask)


def procrustes(pred: ArrayLike, truth: ArrayLike) -> F64:
    """The prediction after the similarity transform of each frame that brings it closest to the truth (without reflection).

    Minimises ``sum_j |s R p_j + t - g_j|^2`` per frame, over all of its joints.

    Args:
        pred, truth: (T, J, 3).

    Returns:
        (T, J, 3).
    """
    p, g, _ = _checked(pred, truth, None, "keep")
    p_mean, g_mean = p.mean(1, keepdims=True), g.mean(1, keepdims=True)
    p0, g0 = p - p_mean, g - g_mean
    rotation, sizes = _rotation(p0, g0)
    spread = (p0 * p0).sum((1, 2))
    scale = sizes.sum(1) / np.where(spread > 0, spread, 1.0)
    return np.asarray(scale[:, None, None] * (p0 @ np.swapaxes(rotation, 1, 2)) + g_mean)


def best_rotation(pred: ArrayLike, truth: ArrayLike) -> F64:
    """(T, 3, 3) of each frame: the rotation about the origin that brings a prediction (T, J, 3) closest to the truth."""
    p, g, _ = _checked(pred, truth, None, "keep")
    return _rotation(p, g)[0]


def _rotation(p: F64, g: F64) -> tuple[F64, F64]:
    """(T, 3, 3) rotations without reflection, and the signed singular values (T, 3) of sum_j g_j p_j^T."""
    u, sizes, vt = np.linalg.svd(np.swapaxes(g, 1, 2) @ p)
    sign = np.ones_like(sizes)
    sign[:, 2] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)  # no reflection: flip the weakest axis
    return np.asarray((u * sign[:, None, :]) @ vt), np.asarray(sizes * sign)


def _checked(pred: ArrayLike, truth: ArrayLike, valid: ArrayLike | None, root: HipPlace) -> tuple[F64, F64, Mask]:
    """Both arrays in float64 and the mask, or a ``FrameError`` about their shapes."""
    p, g = np.asarray(pred, np.float64), np.asarray(truth, np.float64)
    if p.shape != g.shape or p.ndim != 3 or p.shape[-1] != 3 or p.size == 0:
        raise FrameError(f"the prediction has shape {p.shape}, the truth {g.shape}", expected="the same (T, J, 3) for both")
    mask = np.ones(p.shape[:2], np.bool_) if valid is None else np.asarray(valid, np.bool_)
    if mask.shape != p.shape[:2]:
        raise FrameError(f"valid has shape {mask.shape}", expected=f"(T, J) = {p.shape[:2]}")
    if root == "align":
        p, g = p - p[:, :1], g - g[:, :1]
    return p, g, mask


def _joint_distances(
    pred: ArrayLike, truth: ArrayLike, valid: ArrayLike | None, root: HipPlace, choice: tuple[Order, int]
) -> tuple[F64, Mask]:
    """Distances and mask of the joints that count, (T, joints) each; ``choice`` is a key of ``PCK_JOINTS``."""
    p, g, mask = _checked(pred, truth, valid, root)
    if choice not in PCK_JOINTS or p.shape[1] != 17:
        order, count = choice
        raise FrameError(f"no rule for {count} of {p.shape[1]} joints in the order {order}", expected="14 or 17 of 17")
    joints = list(PCK_JOINTS[choice])
    return _distance(p, g)[:, joints], mask[:, joints]


def _distance(p: F64, g: F64) -> F64:
    """(T, J, 3) twice -> (T, J)."""
    return np.asarray(np.linalg.norm(p - g, axis=-1))


def _mean(values: NDArray[Any], mask: Mask) -> float:
    if not mask.any():
        raise FrameError("no joint is valid: there is nothing to average")
    return float(values[mask].mean())
