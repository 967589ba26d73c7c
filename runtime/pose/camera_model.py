"""``Camera``: what is known about a camera that looks at people: its lens, where down is, and where it is mounted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import F64
from ..errors import UsageError
from .camera import Intrinsics
from .distortion import Distortion
from .keypoints import ImageSize, Keypoints

_ASPECT_TOLERANCE = 0.01  # of the aspect: sizes are rounded to whole pixels
_LEAST_INVERTIBLE = 0.5  # of the picture
_GRID = 21  # points a side at which a distortion is tried
_QUARTER = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # axes of the picture turned clockwise, of those before


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated camera. Camera axes: x right, y down, z forward.

    Args:
        intrinsics: of its pinhole, in its pixels.
        size: of its picture.
        distortion: of its lens; None for an ideal one, or for pictures that are rectified already.
        gravity: (3,) which way is down, in camera axes, of any length; None if it is not known.
        world_from_camera: (4, 4) from camera axes to those of a robot or a room, metres; None if it is not known.
        height_m: of its centre above the floor; None if it is not known.

    Raises:
        UsageError: a vector or a matrix of another form, a principal point far out of the picture, or a distortion that
            cannot be undone in most of the picture.
    """

    intrinsics: Intrinsics
    size: ImageSize
    distortion: Distortion | None = None
    gravity: F64 | None = None
    world_from_camera: F64 | None = None
    height_m: float | None = None

    def __post_init__(self) -> None:
        if self.gravity is not None:
            object.__setattr__(self, "gravity", unit_gravity(self.gravity))
        if self.world_from_camera is not None:
            object.__setattr__(self, "world_from_camera", _rigid(self.world_from_camera))
        if self.height_m is not None and not (np.isfinite(self.height_m) and self.height_m > 0):
            raise UsageError(f"a camera {self.height_m} m above the floor", expected="a height above 0")
        x, y = self.intrinsics.cx_px / self.size.width_px, self.intrinsics.cy_px / self.size.height_px
        if not (-0.5 <= x <= 1.5 and -0.5 <= y <= 1.5):
            raise UsageError(
                f"the principal point is at {x:.2f} of the width and {y:.2f} of the height of the picture",
                expected="a point near its middle, in pixels of the picture of width and height",
            )
        if self.distortion is not None:
            columns = np.linspace(0, self.size.width_px, _GRID)
            rows = np.linspace(0, self.size.height_px, _GRID)
            grid = np.stack(np.meshgrid(columns, rows), axis=-1)
            share = float(self.distortion.undistort(self._to_plane(grid))[1].mean())
            if share < _LEAST_INVERTIBLE:
                raise UsageError(
                    f"the distortion {self.distortion.model} {list(self.distortion.coefficients)} can be undone in "
                    f"{share:.0%} of the picture only",
                    expected="coefficients of this camera, in this order",
                )

    def for_size(self, size: ImageSize) -> Camera:
        """The same camera with pictures of another resolution.

        Raises:
            UsageError: the picture has another aspect, so it was cropped, and nobody knows where.
        """
        if size == self.size:
            return self
        x, y = size.width_px / self.size.width_px, size.height_px / self.size.height_px
        if abs(x / y - 1) > _ASPECT_TOLERANCE:
            raise UsageError(
                f"the camera was calibrated at {self.size.width_px:g} x {self.size.height_px:g} px, and the picture has "
                f"{size.width_px:g} x {size.height_px:g} px, another aspect",
                expected="a calibration of this resolution, or of a multiple of it",
            )
        own = self.intrinsics
        intrinsics = Intrinsics(own.fx_px * x, own.fy_px * y, own.cx_px * x, own.cy_px * y)
        return replace(self, intrinsics=intrinsics, size=size)

    def turned(self, quarters: int) -> Camera:
        """The camera of the picture turned clockwise by so many quarters; its axes turn with the picture."""
        camera = self
        for _ in range(quarters % 4):
            camera = camera._turned()
        return camera

    def undistorted(self, keypoints: Keypoints) -> Keypoints:
        """Keypoints in pixels where a lens without distortion would have put them.

        A joint where the distortion cannot be undone gets score 0. Numbers that are not finite stay, so that the stream
        refuses the frame.
        """
        if self.distortion is None or keypoints.size is None:
            return keypoints
        camera = self.for_size(keypoints.size)
        plane, valid = self.distortion.undistort(camera._to_plane(keypoints.xy))
        points = keypoints.points.copy()
        points[:, :2] = np.where(valid[:, None], camera._to_pixels(plane), keypoints.xy)
        points[~valid & np.isfinite(points).all(axis=1), 2] = 0
        return replace(keypoints, points=points)

    def rays(self, keypoints_px: NDArray[Any]) -> F64:
        """Undistorted keypoints (..., 3), x and y in pixels, score, with x and y on the picture plane at depth 1."""
        points = np.array(keypoints_px, np.float64)
        points[..., :2] = self._to_plane(points[..., :2])
        return points

    def project(self, xyz_m: ArrayLike) -> F64:
        """Points (..., 3) in camera axes, in front of the camera, to pixels (..., 2), with its distortion."""
        points = np.asarray(xyz_m, np.float64)
        plane = points[..., :2] / points[..., 2:]
        return self._to_pixels(plane if self.distortion is None else self.distortion.distort(plane))

    def _to_plane(self, xy_px: ArrayLike) -> F64:
        own = self.intrinsics
        return np.asarray((np.asarray(xy_px, np.float64) - (own.cx_px, own.cy_px)) / (own.fx_px, own.fy_px))

    def _to_pixels(self, plane: F64) -> F64:
        own = self.intrinsics
        return np.asarray(plane * (own.fx_px, own.fy_px) + (own.cx_px, own.cy_px))

    def _turned(self) -> Camera:
        own, world = self.intrinsics, self.world_from_camera
        if world is not None:
            world = world.copy()
            world[:3, :3] = world[:3, :3] @ _QUARTER.T
        return replace(
            self,
            intrinsics=Intrinsics(own.fy_px, own.fx_px, self.size.height_px - own.cy_px, own.cx_px),
            size=ImageSize(self.size.height_px, self.size.width_px),
            distortion=None if self.distortion is None else self.distortion.turned(),
            gravity=None if self.gravity is None else _QUARTER @ self.gravity,
            world_from_camera=world,
        )


@dataclass(frozen=True, eq=False)
class FieldOfView:
    """A camera of which the horizontal field of view is known alone, for pictures of any size.

    Args:
        horizontal_deg: between the left and the right edge of the picture.
        gravity, height_m: as of a ``Camera``.
    """

    horizontal_deg: float
    gravity: F64 | None = None
    height_m: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.horizontal_deg <= 170:
            raise UsageError(f"a field of view of {self.horizontal_deg} degrees", expected="1 to 170 degrees")
        if self.gravity is not None:
            object.__setattr__(self, "gravity", unit_gravity(self.gravity))

    def for_size(self, size: ImageSize) -> Camera:
        """The camera: square pixels, its axis through the middle of the picture, no distortion."""
        focal = size.width_px / 2 / float(np.tan(np.radians(self.horizontal_deg) / 2))
        intrinsics = Intrinsics(focal, focal, size.width_px / 2, size.height_px / 2)
        return Camera(intrinsics, size, gravity=self.gravity, height_m=self.height_m)

    def turned(self, quarters: int) -> FieldOfView:
        """Of the picture turned clockwise by so many quarters: the field of view is meant of the picture as it is used."""
        if self.gravity is None:
            return self
        return replace(self, gravity=np.linalg.matrix_power(_QUARTER, quarters % 4) @ self.gravity)


def unit_gravity(gravity: ArrayLike | Sequence[float]) -> F64:
    """(3,) a vector that points down, with length 1.

    Raises:
        UsageError: not three finite numbers, or all 0.
    """
    vector = np.asarray(gravity, np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all() or np.linalg.norm(vector) == 0:
        raise UsageError(f"gravity of {vector.tolist()}", expected="x, y, z in camera axes, down, such as 0, 1, 0")
    return np.asarray(vector / np.linalg.norm(vector))


def _rigid(matrix: ArrayLike) -> F64:
    """(4, 4) a rotation and a translation, checked."""
    pose = np.asarray(matrix, np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all() or not np.allclose(pose[3], (0, 0, 0, 1)):
        raise UsageError(f"extrinsics of shape {pose.shape}", expected="a (4, 4) matrix with 0 0 0 1 as its last row")
    turn = pose[:3, :3]
    if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) or np.linalg.det(turn) < 0:
        raise UsageError("the extrinsics are no rotation and translation", expected="a rotation in the upper left 3 x 3")
    return pose.copy()
