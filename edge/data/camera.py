"""Virtual cameras for training: position, projection, and what is in view. All arrays may have batch axes first.

World axes: metres, z up. Camera axes: metres, x right, y down, z forward. Pixels: x right, y down from the upper left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import F32, F64

IN_FRAME = 0.95  # share of all joints of a path that must be inside the image
NEAREST_M = 1.0  # least depth of a joint
_REDRAWS = 10
_STEPS_BACK = 25  # of 10 % of the distance each: at most eleven times as far


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion, or a batch of them.

    Args:
        rotation: (..., 3, 3) camera_from_world; rows are right, down, forward in world axes.
        eye_m: (..., 3) its position in the world.
        focal_px, centre_px: (..., 2) focal length and principal point, x and y.
        width_px, height_px: size of the image; Human3.6M's by default.
    """

    rotation: F32
    eye_m: F32
    focal_px: F32
    centre_px: F32
    width_px: int = 1000
    height_px: int = 1002

    def to_camera(self, joints_m: F32) -> F32:
        """World (..., 3) to camera axes (..., 3), both in metres; a batch's axes come first."""
        flat = joints_m.reshape(*self.eye_m.shape[:-1], -1, 3) - self.eye_m[..., None, :]  # one matrix product for all frames
        points: F32 = np.matmul(flat, self.rotation.swapaxes(-1, -2))
        return points.reshape(joints_m.shape)

    def project(self, points_in_camera: F32) -> F32:
        """Camera axes (..., 3) in metres to pixels (..., 2); points must be in front of the camera."""
        points = points_in_camera.reshape(*self.eye_m.shape[:-1], -1, 3)
        px: F32 = points[..., :2] / points[..., 2:] * self.focal_px[..., None, :] + self.centre_px[..., None, :]
        return px.reshape(*points_in_camera.shape[:-1], 2)

    @property
    def intrinsics(self) -> F32:
        """(..., 4) fx, fy, cx, cy where the picture is 2 wide, as keypoints are normalised."""
        focal = self.focal_px * (2 / self.width_px)
        centre = self.centre_px * (2 / self.width_px) - np.array([1, self.height_px / self.width_px])
        return np.concatenate([focal, centre], axis=-1).astype(np.float32)

    def contains(self, xy_px: F32) -> NDArray[np.bool_]:
        """(...) whether points (..., 2) in pixels are inside the image."""
        x, y = xy_px[..., 0], xy_px[..., 1]
        inside: NDArray[np.bool_] = (x >= 0) & (x < self.width_px) & (y >= 0) & (y < self.height_px)
        return inside

    def sees(self, joints_m: F32) -> NDArray[np.bool_]:
        """(...) whether a path (..., T, 17, 3), world, is in view: 95 % of the joints in the image, all deeper than 1 m."""
        points = self.to_camera(joints_m)
        inside = self.contains(self.project(points))
        near: NDArray[np.bool_] = points[..., 2].min(axis=(-2, -1)) <= NEAREST_M
        visible: NDArray[np.bool_] = ~near & (inside.mean(axis=(-2, -1)) >= IN_FRAME)
        return visible


def sample_camera(rng: np.random.Generator, path_m: F32) -> Camera:
    """A static camera like Human3.6M's for each path (..., T, 17, 3), world, metres, that has the whole path in view.

    A camera is redrawn up to ten times. If none sees the path, the last one moves backwards until it does, to at most eleven
    times its distance; for a larger path the farthest camera is returned.
    """
    root = path_m[..., 0, :]  # (..., T, 3)
    middle = (root.min(axis=-2) + root.max(axis=-2)) / 2
    camera = _draw(rng, middle)
    for _ in range(_REDRAWS):
        unseen = ~np.asarray(camera.sees(path_m))
        if not unseen.any():
            return camera
        redrawn = _draw(rng, middle[unseen])
        for name in ("rotation", "eye_m", "focal_px", "centre_px"):
            getattr(camera, name)[unseen] = getattr(redrawn, name)
    for _ in range(_STEPS_BACK):
        unseen = ~np.asarray(camera.sees(path_m))
        if not unseen.any():
            break
        forward = camera.rotation[..., 2, :]
        distance_m = np.maximum(((middle - camera.eye_m) * forward).sum(-1, keepdims=True), np.float32(NEAREST_M))
        camera.eye_m[unseen] -= (np.float32(0.1) * distance_m * forward)[unseen]
    return camera


def place_camera(
    target_m: F32,
    *,
    focal: float,
    pitch_deg: float,
    roll_deg: float,
    distance_m: float,
    azimuth_deg: float,
    aspect: float = 1.002,
) -> Camera:
    """The camera that looks at a point (3,), world, from there.

    Args:
        focal: of the picture's width.
        pitch_deg: how far it looks down.
        roll_deg: how far it is turned about its axis.
        distance_m: from the point.
        azimuth_deg: the direction from the point to the camera, about the vertical.
        aspect: height of the picture, of its width.
    """
    azimuth, pitch, roll = (float(np.radians(angle)) for angle in (azimuth_deg, pitch_deg, roll_deg))
    away = np.array([np.cos(azimuth) * np.cos(pitch), np.sin(azimuth) * np.cos(pitch), np.sin(pitch)])
    level = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    width, height = 1000, round(1000 * aspect)
    return Camera(
        rotation=_rolled(-away, level, np.array(roll)),
        eye_m=(target_m + distance_m * away).astype(np.float32),
        focal_px=np.full(2, focal * width, np.float32),
        centre_px=np.array([width / 2, height / 2], np.float32),
        width_px=width,
        height_px=height,
    )


def _draw(rng: np.random.Generator, target_m: F32) -> Camera:
    """A camera around each target (..., 3), aimed at it with a random error."""
    batch = target_m.shape[:-1]
    azimuth, height_m, distance_m = rng.uniform(0, 2 * np.pi, batch), rng.uniform(1, 2, batch), rng.uniform(2.5, 6, batch)
    x, y = target_m[..., 0] + distance_m * np.cos(azimuth), target_m[..., 1] + distance_m * np.sin(azimuth)
    eye = np.stack([x, y, height_m], axis=-1)
    forward = target_m + rng.normal(0, [0.15, 0.15, 0.10], (*batch, 3)) - eye
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    level = np.cross(forward, [0.0, 0.0, 1.0])
    level /= np.linalg.norm(level, axis=-1, keepdims=True)
    roll = rng.normal(0, np.radians(1.5), batch)[..., None]
    return Camera(
        rotation=_rolled(forward, level, roll),
        eye_m=eye.astype(np.float32),
        focal_px=rng.uniform(1145, 1150, (*batch, 2)).astype(np.float32),
        centre_px=rng.uniform(508, 516, (*batch, 2)).astype(np.float32),
    )


def _rolled(forward: F64, level: F64, roll: F64) -> F32:
    """(..., 3, 3) right, down and forward of a camera that looks ``forward``, rolled about that by radians.

    Args:
        level: (..., 3) the direction to the right of a camera that is not rolled.
        roll: (..., 1), or one angle for all.
    """
    right = np.cos(roll) * level + np.sin(roll) * np.cross(forward, level)
    return np.stack([right, np.cross(forward, right), forward], axis=-2).astype(np.float32)
