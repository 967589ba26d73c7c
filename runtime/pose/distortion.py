"""Lens distortion: where a lens puts a ray, and which ray a lens put there.

Points are on the picture plane at depth 1: x = (x_px - cx) / fx. The models and the order of their numbers are those of ROS and
OpenCV: ``plumb_bob`` k1, k2, p1, p2, k3; ``rational`` k1, k2, p1, p2, k3, k4, k5, k6; ``equidistant`` (a fisheye) k1 to k4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64
from ..errors import UsageError

DistortionModel = Literal["plumb_bob", "rational", "equidistant"]
COEFFICIENTS: dict[str, int] = {"plumb_bob": 5, "rational": 8, "equidistant": 4}

_ROUNDS = 30
_TOLERANCE = 1e-9  # on the picture plane: a millionth of a pixel
_WIDEST_RAD = np.radians(85.0)  # from the axis: the picture plane has no room for rays beyond
_NEGLIGIBLE = 1e-12  # a coefficient so small shows nowhere within the widest angle
_CLOSEST_TO_FOLD = 0.999  # of the radius where the picture folds back


@dataclass(frozen=True)
class Distortion:
    """The distortion of a lens.

    Args:
        model: ``plumb_bob``, ``rational`` or ``equidistant``.
        coefficients: its numbers; those that are left out at the end are 0.

    Raises:
        UsageError: an unknown model, too many numbers, or numbers that are not finite.
    """

    model: DistortionModel
    coefficients: tuple[float, ...]
    widest: float = field(init=False, repr=False)
    """Distance from the axis, on the plane of the undistorted picture, up to which the model can be inverted."""

    def __post_init__(self) -> None:
        if self.model not in get_args(DistortionModel):
            raise UsageError(f"no distortion model {self.model!r}", expected=" or ".join(COEFFICIENTS))
        count = COEFFICIENTS[self.model]
        if len(self.coefficients) > count or not np.isfinite(self.coefficients).all():
            raise UsageError(
                f"the distortion {self.model} of {list(self.coefficients)}", expected=f"at most {count} finite numbers"
            )
        padded = (*map(float, self.coefficients), *(0.0,) * (count - len(self.coefficients)))
        object.__setattr__(self, "coefficients", padded)
        object.__setattr__(self, "widest", self._widest())

    def distort(self, plane: NDArray[Any]) -> F64:
        """(..., 2) where the lens puts points (..., 2) of the undistorted picture plane."""
        points = np.asarray(plane, np.float64)
        if self.model == "equidistant":
            radius = np.linalg.norm(points, axis=-1, keepdims=True)
            angle = np.arctan(radius)
            bent, _ = _odd_polynomial(angle, self.coefficients)
            return np.asarray(points * np.divide(bent, radius, out=np.ones_like(radius), where=radius > 0))
        return self._brown(points)[0]

    def undistort(self, plane: NDArray[Any]) -> tuple[F64, NDArray[np.bool_]]:
        """The points (..., 2) of the undistorted plane that the lens put there, and (...) where there is such a point."""
        points = np.asarray(plane, np.float64)
        with np.errstate(all="ignore"):  # points beyond the model diverge, and are masked
            found = self._undistorted_fisheye(points) if self.model == "equidistant" else self._undistorted_brown(points)
            off = np.abs(self.distort(found) - points).max(axis=-1)
            valid = (off < _TOLERANCE) & (np.linalg.norm(found, axis=-1) <= self.widest)
        found[~valid] = points[~valid]
        return found, valid

    def turned(self) -> Distortion:
        """The distortion of the picture turned clockwise by a quarter."""
        if self.model == "equidistant":
            return self
        k1, k2, p1, p2, *rest = self.coefficients
        return Distortion(self.model, (k1, k2, p2, -p1, *rest))

    def _radial(self) -> tuple[F64, F64]:
        """Numerator and denominator of the radial factor, as polynomials in the squared radius, constant first."""
        k1, k2, _, _, k3, *below = self.coefficients
        return np.array([1, k1, k2, k3]), np.array([1.0, *below])

    def _brown(self, points: F64) -> tuple[F64, F64]:
        """Distorted points (..., 2), and the derivatives (..., 2, 2), which are symmetric."""
        above, below = self._radial()
        p1, p2 = self.coefficients[2:4]
        x, y = points[..., 0], points[..., 1]
        square = x * x + y * y
        numerator, denominator = _value(above, square), _value(below, square)
        factor = numerator / denominator
        slope = (_slope(above, square) - factor * _slope(below, square)) / denominator
        bent = np.stack(
            [
                x * factor + 2 * p1 * x * y + p2 * (square + 2 * x * x),
                y * factor + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
            ],
            axis=-1,
        )
        mixed = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        by_x = np.stack([factor + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x, mixed], axis=-1)
        by_y = np.stack([mixed, factor + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x], axis=-1)
        return bent, np.stack([by_x, by_y], axis=-2)

    def _undistorted_brown(self, points: F64) -> F64:
        """By Newton's method, kept within the radius where the model can be inverted."""
        found = self._within(points.copy())
        for _ in range(_ROUNDS):
            bent, slopes = self._brown(found)
            error = bent - points
            (a, b), (_, d) = np.moveaxis(slopes, (-2, -1), (0, 1))
            determinant = a * d - b * b
            step = np.stack([d * error[..., 0] - b * error[..., 1], a * error[..., 1] - b * error[..., 0]], axis=-1)
            found = self._within(found - step / determinant[..., None])
            if not np.nanmax(np.abs(error), initial=0) > _TOLERANCE / 100:
                break
        return found

    def _within(self, points: F64) -> F64:
        radius = np.linalg.norm(points, axis=-1, keepdims=True)
        return np.asarray(points * np.minimum(1, self.widest / np.maximum(radius, 1e-12)))

    def _undistorted_fisheye(self, points: F64) -> F64:
        bent = np.linalg.norm(points, axis=-1, keepdims=True)
        widest = np.arctan(self.widest)
        angle = np.minimum(bent, widest)
        for _ in range(_ROUNDS):
            value, slope = _odd_polynomial(angle, self.coefficients)
            angle = np.clip(angle - (value - bent) / slope, 0, widest)
        return np.asarray(points * np.divide(np.tan(angle), bent, out=np.ones_like(bent), where=bent > 0))

    def _widest(self) -> float:
        limit = float(np.tan(_WIDEST_RAD))
        if self.model == "equidistant":
            folds = _positive_roots(np.array([1, *(k * (2 * i + 3) for i, k in enumerate(self.coefficients))]))
            return min(limit, float(np.tan(min(_WIDEST_RAD, _CLOSEST_TO_FOLD * np.sqrt(min(folds, default=np.inf))))))
        above, below = self._radial()
        # The slope of r N(r^2) / D(r^2), times D^2, as a polynomial in r^2; and the poles.
        a, b = np.polynomial.Polynomial(above), np.polynomial.Polynomial(below)
        square = np.polynomial.Polynomial([0, 1])
        slope = (a + 2 * square * a.deriv()) * b - 2 * square * a * b.deriv()
        folds = [*_positive_roots(np.asarray(slope.coef, np.float64)), *_positive_roots(below)]
        return min(limit, _CLOSEST_TO_FOLD * float(np.sqrt(min(folds, default=np.inf))))


def _odd_polynomial(angle: F64, coefficients: tuple[float, ...]) -> tuple[F64, F64]:
    """angle (1 + k1 angle^2 + k2 angle^4 ...), and its slope."""
    square = angle * angle
    factors = np.array([1.0, *coefficients])
    return angle * _value(factors, square), _value(factors * (2 * np.arange(len(factors)) + 1), square)


def _value(polynomial: F64, at: F64) -> F64:
    return np.asarray(np.polynomial.polynomial.polyval(at, polynomial))


def _slope(polynomial: F64, at: F64) -> F64:
    return _value(polynomial[1:] * np.arange(1, len(polynomial)), at) if len(polynomial) > 1 else np.zeros_like(at)


def _positive_roots(polynomial: F64) -> list[float]:
    """The positive real roots of a polynomial, constant first."""
    meant = np.where(np.abs(polynomial) < _NEGLIGIBLE, 0, polynomial)
    roots = np.roots(np.trim_zeros(meant[::-1], "f"))
    return [float(root.real) for root in roots if abs(root.imag) < 1e-9 and root.real > 0]
