"""``synthetic://walk``: people who walk in front of a camera like those of Human3.6M, with the truth beside the keypoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64
from ..bounds import check_fps, check_people
from ..errors import UsageError
from ..pose.camera import Intrinsics
from ..pose.camera_model import Camera
from ..pose.keypoints import ImageSize, Keypoints
from ..pose.skeleton import H36M17
from .base import BaseSource, People, SourceInfo
from .walker import walk_world

_BLOCK_FRAMES = 64  # frames computed at once, so that numpy's cost per call is shared
_NOISE_TIME_S = 0.08  # time constant of a detector's error


@dataclass(frozen=True)
class SyntheticCamera:
    """A camera that does not move and is aimed at the middle of the walk.

    Args:
        width_px, height_px: size of its image.
        focal_px: focal length, the same in x and y.
        centre_px: principal point x, y.
        distance_m: distance from the middle, along the world's negative y axis.
        height_m: height above the floor.
        target_m: height of the point that it is aimed at.
    """

    width_px: int = 1000
    height_px: int = 1002
    focal_px: float = 1147.0
    centre_px: tuple[float, float] = (512.0, 512.0)
    distance_m: float = 4.5
    height_m: float = 1.5
    target_m: float = 0.9

    @property
    def size(self) -> ImageSize:
        return ImageSize(self.width_px, self.height_px)

    @property
    def intrinsics(self) -> Intrinsics:
        return Intrinsics(self.focal_px, self.focal_px, *self.centre_px)

    @property
    def calibration(self) -> Camera:
        """What a calibration of it would say; the world's z is up, and its floor is z = 0."""
        world_from_camera = np.eye(4)
        world_from_camera[:3, :3] = self.camera_from_world.T
        world_from_camera[:3, 3] = self.position_m
        return Camera(
            self.intrinsics,
            self.size,
            gravity=-self.camera_from_world[:, 2],
            world_from_camera=world_from_camera,
            height_m=self.height_m,
        )

    @property
    def position_m(self) -> F64:
        """(3,) in the world."""
        return np.array([0.0, -self.distance_m, self.height_m])

    @property
    def camera_from_world(self) -> F64:
        """(3, 3) rotation: rows are the camera's x (right), y (down) and z (forward) in the world."""
        forward = np.array([0.0, self.distance_m, self.target_m - self.height_m])
        forward /= np.linalg.norm(forward)
        right = np.array([1.0, 0.0, 0.0])
        return np.stack([right, np.cross(forward, right), forward])

    def to_camera(self, world_m: NDArray[np.floating]) -> F64:
        """(..., 3) world metres, z up, to (..., 3) metres in camera axes."""
        return np.asarray((np.asarray(world_m, np.float64) - self.position_m) @ self.camera_from_world.T)

    def project(self, camera_m: NDArray[np.floating]) -> F64:
        """(..., 3) metres in camera axes to (..., 2) pixels, without lens distortion."""
        point = np.asarray(camera_m, np.float64)
        return np.asarray(point[..., :2] / point[..., 2:] * self.focal_px + np.asarray(self.centre_px))


SYNTHETIC_CAMERA = SyntheticCamera()
"""Like a camera of Human3.6M."""


class SyntheticSource(BaseSource):
    """Walking people at exact times ``i / fps``, as a detector with Human3.6M joints would see them, and the truth.

    The same seed gives the same people. Each iteration starts at the first frame.

    Args:
        people: how many, with ids 0, 1 ...
        fps: frames a second.
        seed: selects the people and their paths.
        noise_px: standard deviation of the keypoints' error in pixels. The error is correlated over about 80 ms, as a
            detector's is.
        frames: how many frames, None for no end.
        camera: sees the people.
    """

    def __init__(
        self,
        *,
        people: int = 1,
        fps: float = 50.0,
        seed: int = 0,
        noise_px: float = 0.0,
        frames: int | None = None,
        camera: SyntheticCamera = SYNTHETIC_CAMERA,
    ) -> None:
        for name, value, least in (("people", people, 1), ("seed", seed, 0), ("noise", noise_px, 0)):
            if not (np.isfinite(value) and value >= least):
                raise UsageError(f"{name}={value} is not possible", expected=f"{name} of at least {least}")
        check_fps("the walk", fps, error=UsageError)
        check_people("the walk", people, error=UsageError)
        self.people, self.fps, self.seed, self.noise_px = people, float(fps), seed, noise_px
        self.frames, self.camera = frames, camera

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("synthetic://walk", fps=self.fps, frames=self.frames, camera=self.camera.calibration)

    def __iter__(self) -> Iterator[People]:
        image_size = self.camera.size
        rngs = [np.random.default_rng((self.seed, person, 1)) for person in range(self.people)]
        errors_px = [rng.normal(size=(17, 2)) * self.noise_px for rng in rngs]
        for first in count(0, _BLOCK_FRAMES):
            block = _BLOCK_FRAMES if self.frames is None else min(_BLOCK_FRAMES, self.frames - first)
            if block <= 0:
                return
            t_s = np.arange(first, first + block) / self.fps
            walks = []
            for person in range(self.people):
                noise_px, errors_px[person] = self._noise(rngs[person], errors_px[person], block)
                walks.append(self._walk(t_s, person, noise_px))
            for i in range(block):
                yield People(
                    t_s=float(t_s[i]),
                    keypoints={
                        person: Keypoints(points_px[i], H36M17, image_size) for person, (points_px, _) in enumerate(walks)
                    },
                    truth_m={
                        person: (camera_m[i] - camera_m[i, :1]).astype(np.float32) for person, (_, camera_m) in enumerate(walks)
                    },
                    truth_root_m={person: camera_m[i, 0].astype(np.float32) for person, (_, camera_m) in enumerate(walks)},
                )

    def _walk(self, t_s: F64, person: int, noise_px: F64) -> tuple[F64, F64]:
        """One person's keypoints (T, 17, 3) in pixels, and joints (T, 17, 3) in metres in camera axes."""
        camera_m = self.camera.to_camera(walk_world(t_s, seed=self.seed, person=person))
        points_px = np.ones((len(t_s), 17, 3))
        points_px[..., :2] = self.camera.project(camera_m) + noise_px
        return points_px, camera_m

    def _noise(self, rng: np.random.Generator, error_px: F64, frames: int) -> tuple[F64, F64]:
        """The next (T, 17, 2) errors of a first-order autoregressive process, and the last of them, (17, 2)."""
        errors_px = np.zeros((frames, 17, 2))
        if self.noise_px == 0:
            return errors_px, error_px
        decay = float(np.exp(-1 / (self.fps * _NOISE_TIME_S)))
        innovations_px = rng.normal(size=errors_px.shape) * self.noise_px * np.sqrt(1 - decay**2)
        for i in range(frames):
            error_px = decay * error_px + innovations_px[i]
            errors_px[i] = error_px
        return errors_px, error_px
