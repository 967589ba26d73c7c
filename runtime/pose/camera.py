"""A camera's intrinsics, and keypoints normalised by them: as rays that do not depend on size, place or zoom of the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32
from ..errors import UsageError

NOMINAL_FOCAL = 2.0
"""Focal length of the nominal camera, whose picture is 2 wide. Normalised keypoints are where it would see them."""


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera without distortion.

    Args:
        fx_px, fy_px: focal lengths.
        cx_px, cy_px: principal point, from the upper left of the picture.

    Raises:
        UsageError: a number that is not finite, or a focal length that is not above 0.
    """

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float

    def __post_init__(self) -> None:
        values = (self.fx_px, self.fy_px, self.cx_px, self.cy_px)
        if not all(map(math.isfinite, values)) or self.fx_px <= 0 or self.fy_px <= 0:
            raise UsageError(f"intrinsics of fx, fy, cx, cy {values}", expected="finite pixels, focal lengths above 0")

    @classmethod
    def nominal(cls, width_px: float, height_px: float) -> Intrinsics:
        """Those of an unknown camera: its focal length is the picture's longer side, its axis goes through the middle."""
        focal = max(width_px, height_px)
        return cls(focal, focal, width_px / 2, height_px / 2)

    def where_picture_is_2_wide(self, width_px: float, height_px: float) -> F32:
        """(4,) fx, fy, cx, cy in the coordinates of keypoints that are normalised by the picture's size."""
        scale = 2 / width_px
        centre = (self.cx_px * scale - 1, self.cy_px * scale - height_px / width_px)
        return np.array([self.fx_px * scale, self.fy_px * scale, *centre], np.float32)


def normalise_by_camera(keypoints_px: NDArray[Any], intrinsics: Intrinsics) -> F32:
    """Pixels to keypoints normalised by the camera: where a nominal camera in its place would see them.

    x = 2 (x_px - cx) / fx, y = 2 (y_px - cy) / fy: for a nominal camera with a picture in landscape the same as
    ``normalise_screen``.

    Args:
        keypoints_px: (..., J, 3) x and y in pixels, score in [0, 1].

    Returns:
        (..., J, 3) float32 x, y, score; a joint of score 0 becomes exactly (0, 0, 0).
    """
    points = np.asarray(keypoints_px, np.float64)
    focal, centre = (intrinsics.fx_px, intrinsics.fy_px), (intrinsics.cx_px, intrinsics.cy_px)
    normalised = np.empty(points.shape, np.float32)
    with np.errstate(over="ignore"):  # what is past float32 is infinite, and refused as such
        normalised[..., :2] = (points[..., :2] - centre) / focal * NOMINAL_FOCAL
        normalised[..., 2] = points[..., 2]
    normalised[points[..., 2] == 0] = 0
    return normalised


def renormalise_by_camera(keypoints: F32, intrinsics: F32) -> F32:
    """Keypoints that were normalised by the picture's size, normalised by the camera instead.

    Args:
        keypoints: (..., J, 3) normalised x, y, score; a missing joint is (0, 0, 0) and stays so.
        intrinsics: (..., 4) fx, fy, cx, cy where the picture is 2 wide.
    """
    normalised = keypoints.copy()
    normalised[..., :2] = (keypoints[..., :2] - intrinsics[..., None, 2:]) / intrinsics[..., None, :2] * NOMINAL_FOCAL
    normalised[keypoints[..., 2] == 0] = 0
    return normalised
