"""Where people are: the position of the hip in metres, from a pose, its keypoints as rays, and the size of the person.

The pose is known relative to the hip, and each keypoint is a ray. The translation that puts the joints onto their rays is the
solution of linear equations in three unknowns, so it is found by least squares, with joints that fit badly weighted down. A
pose that is s times as large is s times as far: the solution for the pose as it is, times the person's scale, is the position.

With joint j at p_j = (x, y, z) from the hip, its ray (u, v, 1) and the hip at t = (X, Y, Z):

    x + X - u (z + Z) = e_x,    y + Y - v (z + Z) = e_y
    Var e_x = Var e_y = (a^2 + (b sigma_j)^2) / score_j

a is the error of a keypoint, in metres at the person; sigma_j is how far the joint is from the truth by the lifter's own word.
Most of sigma_j is depth, which hardly moves a joint off its ray: b takes that part out. Without a, the hips, which are never
far from the middle of the hips, would count thirty times as much as knees, and the position would rest on how wide they seem.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64

MIN_JOINTS = 6
"""With fewer joints seen there is no position."""

NEAREST_M = 0.3
"""A solution nearer to the camera is not valid."""

MOST_MISFIT = 0.25
"""With a misfit above it, pose and keypoints are not of one body. It is the mean distance of the keypoints from the projected
joints, weighted by score, as a share of the person's size in the picture: the root mean square of the keypoints' distance from
their middle. A limit in metres would not do: of keypoints that are no body's, a lifter makes a small body near the camera."""

KEYPOINT_M, ACROSS = 0.022, 0.14
"""a and b of the equations' errors: the maximum likelihood of those below 15 cm, of validation motion before the cameras and
the detector of the training, lifted by the default model."""

POSE_SIGMA_M = 0.1
"""How far a joint of a lifter without sigma is from the truth, roughly."""

_OUTLIER = 1.5  # residuals above so many times their root mean square lose weight
_POWERS = (1, 1, 2, 2, 2, 2)  # a round each: Huber's weights first, which find the way, then weights that forget outliers


@dataclass(frozen=True, eq=False)
class Solution:
    """The position of a person whose scale is 1.

    Args:
        xyz_m: (3,) of the hip in camera axes.
        covariance: (3, 3) square metres, as the residuals and the pose's own sigma tell, without that of the scale.
        residual: the median distance of keypoints from the projected joints, on the picture plane at depth 1.
        misfit: see ``MOST_MISFIT``; 0 if too few joints are seen.
        valid: whether it is a position: enough joints, in front of the camera, near their rays.
    """

    xyz_m: F64
    covariance: F64
    residual: float
    misfit: float
    valid: bool

    @property
    def fits(self) -> bool:
        """Whether pose and keypoints are of one body; also if too few joints are seen."""
        return self.misfit <= MOST_MISFIT


def solve_roots(pose_m: F64, rays: F64, *, sigma_m: F64 | None = None) -> list[Solution]:
    """The positions of people, by iteratively reweighted least squares of all at once.

    Args:
        pose_m: (B, J, 3) metres relative to the hip, camera axes.
        rays: (B, J, 3) x and y on the undistorted picture plane at depth 1, and the score, which weights the joint.
        sigma_m: (B, J) how far each joint is from the truth relative to the hip, as the lifter says; None for joints alike.

    Returns:
        A solution for each of the B people.
    """
    x, y, z = np.moveaxis(pose_m, -1, 0)  # (B, J) each
    u, v, score = np.moveaxis(rays, -1, 0)
    variance = KEYPOINT_M**2 + np.square(ACROSS * (np.full_like(x, POSE_SIGMA_M) if sigma_m is None else sigma_m))
    seen = (score > 0) & np.isfinite(rays).all(axis=-1) & np.isfinite(pose_m).all(axis=-1)
    u, v, x, y, z = (np.where(seen, value, 0) for value in (u, v, x, y, z))
    base = np.where(seen, score, 0) / variance
    enough = seen.sum(axis=-1) >= MIN_JOINTS
    outer = _outer(u, v)
    weight, t = base, np.zeros((len(x), 3))
    normal = np.eye(3) + np.zeros((len(x), 1, 1))
    for power in _POWERS:
        normal = _normal(weight, outer, enough)
        right_x, right_y = weight * (u * z - x), weight * (v * z - y)
        sides = np.stack([right_x.sum(-1), right_y.sum(-1), -(u * right_x + v * right_y).sum(-1)], axis=-1)
        t = np.linalg.solve(normal, sides[..., None])[..., 0]  # (B, 3)
        depth = z + t[:, 2:]
        # Residuals in metres at the hip's distance: a joint that is nearer shows larger, and is not more wrong for that.
        nearer = np.abs(t[:, 2:]) / np.maximum(np.abs(depth), NEAREST_M)
        error_x, error_y = x + t[:, :1] - u * depth, y + t[:, 1:2] - v * depth
        residual_m = nearer * np.hypot(error_x, error_y)
        trust = np.minimum(1, _OUTLIER * np.sqrt(2 * variance) / np.maximum(residual_m, 1e-9))
        weight = base * trust**power * nearer**2
    median_m = np.nanmedian(np.where(seen | ~enough[:, None], residual_m, np.nan), axis=-1)
    distance = np.maximum(np.abs(t[:, 2]), 1e-6)
    away = np.where(np.abs(depth) > 1e-6, depth, 1e-6)
    misfit = np.where(enough, _misfit(u, v, np.where(seen, score, 0), error_x / away, error_y / away), 0)
    valid = enough & (misfit <= MOST_MISFIT) & (t[:, 2] >= NEAREST_M) & np.isfinite(t).all(axis=-1)
    covariance = _covariance(weight, outer, _gradients(u, v, error_x, error_y), normal)
    # The hip, from which the pose is measured, is off too, and nothing tells by how much: as a joint in the middle is.
    covariance += np.median(variance, axis=-1)[:, None, None] * np.eye(3)
    residual = median_m / distance
    return [Solution(*row) for row in zip(t, covariance, residual.tolist(), misfit.tolist(), valid.tolist(), strict=True)]


def _misfit(u: F64, v: F64, score: F64, error_u: F64, error_v: F64) -> F64:
    """(B,) see ``MOST_MISFIT``. A joint that is farther off than the person is large counts as that."""
    total = np.maximum(score.sum(-1, keepdims=True), 1e-9)
    seen, count = score > 0, np.maximum((score > 0).sum(-1, keepdims=True), 1)
    du, dv = (np.where(seen, x - np.where(seen, x, 0).sum(-1, keepdims=True) / count, 0) for x in (u, v))
    size = np.sqrt(np.maximum((du**2 + dv**2).sum(-1, keepdims=True) / count, 1e-18))  # (B, 1)
    share = np.minimum(np.hypot(error_u, error_v) / size, 1)
    return np.asarray((score * share / total).sum(-1))


def _outer(u: F64, v: F64) -> F64:
    """(B, J, 3, 3) the part of each joint in the normal equations: its two equations, each times itself."""
    one, zero = np.ones_like(u), np.zeros_like(u)
    rows = [[one, zero, -u], [zero, one, -v], [-u, -v, u * u + v * v]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _normal(weight: F64, outer: F64, enough: NDArray[np.bool_]) -> F64:
    """(B, 3, 3) the normal equations' matrix; the unit matrix for those who are not solved."""
    people, joints = weight.shape
    matrix = (weight[:, None] @ outer.reshape(people, joints, 9)).reshape(people, 3, 3)
    floor = 1e-9 * np.maximum(weight.sum(-1), 1e-12)[:, None, None] * np.eye(3)
    return np.where(enough[:, None, None], matrix + floor, np.eye(3))


def _gradients(u: F64, v: F64, error_x: F64, error_y: F64) -> F64:
    """(B, J, 3) which way each joint's errors pull the solution."""
    return np.stack([error_x, error_y, -(u * error_x + v * error_y)], axis=-1)


def _covariance(weight: F64, outer: F64, gradients: F64, normal: F64) -> F64:
    """(B, 3, 3) by the sandwich of the residuals, which holds whatever their distribution is.

    A joint pulls the solution towards itself, so that its residual is smaller than its error: by its leverage (HC3).
    """
    inverse = np.linalg.inv(normal)
    leverage = weight * (outer * inverse[:, None]).sum((-1, -2)) / 2  # (B, J)
    pulls = gradients * (weight / np.maximum(1 - leverage, 0.2))[..., None]
    return np.asarray(inverse @ (np.swapaxes(pulls, -1, -2) @ pulls) @ inverse)
