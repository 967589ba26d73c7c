"""Resection: position, orientation and intrinsics of a camera, from points of the world and their pixels.

The model is a pinhole with the distortion of Human3.6M's published calibration: with r2 = x x + y y of the undistorted
(x, y), ``(x, y) (1 + k1 r2 + k2 r2^2 + k3 r2^3 + p1 x + p2 y) + (p1, p2) r2``, then focal length and centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import F32, F64
from ...runtime.errors import UsageError
from .camera import Camera

FEWEST = 30  # points; 15 parameters are estimated
_STEPS = 100
_COMPLEX_STEP = 1e-30  # for derivatives by complex step: without a difference there is no cancellation, so they are exact
_FLAT = 1e-4  # smallest ratio of the points' least to their largest extent; flatter points determine no camera
_CONVERGED = 1e-10  # relative gain of a step below which the search ends
_OUTLIER = 3.0  # robust standard deviations beyond which a point is ignored


@dataclass(frozen=True)
class Resection:
    """A camera with distortion, and how well it fits the pixels that it was found from.

    Args:
        camera: the pinhole.
        distortion: (5,) k1, k2, k3, p1, p2 of the formula above; zero is a pinhole.
        median_px: median distance of the points from their pixels.
    """

    camera: Camera
    distortion: F32
    median_px: float

    def project(self, points_m: NDArray[Any]) -> F64:
        """World (..., 3) in metres to distorted pixels (..., 2)."""
        camera = self.camera
        rest = np.concatenate([camera.eye_m, camera.focal_px, camera.centre_px, self.distortion]).astype(np.float64)
        flat = np.asarray(points_m, np.float64).reshape(-1, 3)
        pixels: F64 = _project(np.concatenate([np.zeros(3), rest]), camera.rotation.astype(np.float64), flat)
        return pixels.reshape(*np.shape(points_m)[:-1], 2)


def resect(points_m: NDArray[Any], pixels: NDArray[Any], *, width_px: int, height_px: int) -> Resection:
    """The camera that projects the points to the pixels: a linear estimate, then least squares without outliers.

    Args:
        points_m: (N, 3) world, metres; not all in one plane.
        pixels: (N, 2).
        width_px, height_px: size of the image.

    Raises:
        UsageError: wrong shapes, too few points, points in one plane, or mirrored pixels.
    """
    points, observed = np.asarray(points_m, np.float64), np.asarray(pixels, np.float64)
    if points.ndim != 2 or points.shape[1:] != (3,) or observed.shape != (len(points), 2):
        raise UsageError(f"points {points.shape} and pixels {observed.shape} for a camera", expected="(N, 3) and (N, 2)")
    if len(points) < FEWEST or not (np.isfinite(points).all() and np.isfinite(observed).all()):
        raise UsageError(f"{len(points)} points for a camera", expected=f"at least {FEWEST}, finite")
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if spread[2] < _FLAT * spread[0]:
        raise UsageError("the points for a camera lie in one plane", expected="motion in all directions")

    rotation, guess = _linear(points, observed)
    for weighing in (False, True, True):  # each fit's errors tell the next one which points are outliers
        rotation, guess = _refine(rotation, guess, points, observed, weighing=weighing)
    error = np.linalg.norm(_project(guess, rotation, points) - observed, axis=1)
    eye, focal, centre, distortion = (guess[part].astype(np.float32) for part in np.split(np.arange(3, 15), [3, 5, 7]))
    return Resection(
        camera=Camera(rotation.astype(np.float32), eye, focal, centre, width_px, height_px),
        distortion=distortion,
        median_px=float(np.median(error)),
    )


def _project(guess: NDArray[Any], rotation: F64, points: F64) -> Any:
    """Points (N, 3) to pixels (N, 2) by (15,) parameters: a rotation vector after ``rotation``, eye, focal length, centre,
    k1 k2 k3, p1 p2."""
    x, y, z = np.moveaxis((points - guess[3:6]) @ (_turn(guess[:3]) @ rotation).T, -1, 0)
    flat = np.stack([x / z, y / z], axis=-1)
    r2 = (flat * flat).sum(axis=-1, keepdims=True)
    radial = 1 + r2 * (guess[10] + r2 * (guess[11] + r2 * guess[12]))
    distorted = flat * (radial + (flat * guess[13:]).sum(axis=-1, keepdims=True)) + guess[13:] * r2
    return distorted * guess[6:8] + guess[8:10]


def _turn(vector: NDArray[Any]) -> NDArray[Any]:
    """Cayley's rotation (3, 3) by a vector (3,), approximately in radians. Complex steps pass through it."""
    x, y, z = vector / 2
    cross = np.array([[0 * x, -z, y], [z, 0 * x, -x], [-y, x, 0 * x]])
    rotation: NDArray[Any] = np.linalg.solve(np.eye(3) - cross, np.eye(3) + cross)
    return rotation


def _linear(points: F64, observed: F64) -> tuple[F64, F64]:
    """A pinhole by the direct linear transform: rotation (3, 3) and the (15,) of ``_project``."""
    middle, size = points.mean(axis=0), points.std()
    offset, scale = observed.mean(axis=0), observed.std()
    world = np.concatenate([(points - middle) / size, np.ones((len(points), 1))], axis=1)  # (N, 4)
    u, v = ((observed - offset) / scale).T[..., None]
    zero = np.zeros_like(world)
    rows = np.concatenate([np.concatenate([world, zero, -u * world], 1), np.concatenate([zero, world, -v * world], 1)])
    matrix = np.linalg.svd(rows, full_matrices=False)[2][-1].reshape(3, 4)
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]], [0, 0, 1]]) @ matrix
    matrix[:, :3] /= size
    matrix[:, 3] -= matrix[:, :3] @ middle
    matrix *= np.sign(np.linalg.det(matrix[:, :3]))
    eye = -np.linalg.solve(matrix[:, :3], matrix[:, 3])

    flip = np.eye(3)[::-1]  # K R by the QR decomposition of the flipped transpose
    q, r = np.linalg.qr((flip @ matrix[:, :3]).T)
    inner, rotation = flip @ r.T @ flip, flip @ q.T
    signs = np.sign(np.diag(inner))
    inner, rotation = inner * signs / (inner[2, 2] * signs[2]), signs[:, None] * rotation
    if np.median((points - eye) @ rotation[2]) <= 0 or np.linalg.det(rotation) < 0:
        raise UsageError("the pixels are a mirror image of the points", expected="x to the right, y down")
    return rotation, np.concatenate([np.zeros(3), eye, np.diag(inner)[:2], inner[:2, 2], np.zeros(5)])


def _refine(rotation: F64, guess: F64, points: F64, observed: F64, *, weighing: bool) -> tuple[F64, F64]:
    """Levenberg-Marquardt least squares; ``weighing`` ignores the points whose error at the start makes them outliers."""
    weight = np.ones((len(points), 1))
    if weighing:
        error = np.linalg.norm(_project(guess, rotation, points) - observed, axis=1, keepdims=True)
        limit = _OUTLIER * 1.4826 * np.median(error)
        weight = np.where(error <= limit, 1.0, 0.0)

    def residual(rotation: F64, guess: NDArray[Any]) -> NDArray[Any]:
        error: NDArray[Any] = (weight * (_project(guess, rotation, points) - observed)).ravel()
        return error

    damping, error = 1e-3, residual(rotation, guess)
    for _ in range(_STEPS):
        steps = guess + 1j * _COMPLEX_STEP * np.eye(len(guess))
        slope = np.stack([residual(rotation, step).imag / _COMPLEX_STEP for step in steps], axis=1)  # (2 N, 15)
        size = np.linalg.norm(slope, axis=0)
        slope /= size
        normal, downhill = slope.T @ slope, slope.T @ error
        while True:
            step = guess - np.linalg.solve(normal + damping * np.eye(len(guess)), downhill) / size
            tried = residual(rotation, step)
            if tried @ tried < error @ error or damping > 1e6:
                break
            damping *= 4
        if damping > 1e6:
            break  # no step is better: the minimum is reached
        gain = 1 - (tried @ tried) / (error @ error)
        rotation, guess, error = _turn(step[:3]) @ rotation, np.concatenate([np.zeros(3), step[3:]]), tried
        damping = max(damping / 8, 1e-12)
        if gain < _CONVERGED:
            break
    return rotation, guess
