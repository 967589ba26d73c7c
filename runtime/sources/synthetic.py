"""``synthetic://walk``: people who walk in front of a Human3.6M-like camera, with the truth beside the keypoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..pose.keypoints import normalise_screen
from ..pose.types import Frame
from .base import BaseSource
from .walker import walk_world

__all__ = ["CAMERA", "Camera", "SyntheticSource", "walk_world"]

_BLOCK = 64  # frames made at once: numpy's cost per call is shared by them
_NOISE_TIME_S = 0.08  # how long a detector's error lasts

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A camera that stands still and looks at the middle of the walk.

    Args:
        width_px, height_px: size of its image.
        focal_px: focal length, the same in x and y.
        centre_px: principal point x, y.
        distance_m: how far it stands from the middle, on the world's negative y axis.
        height_m: how high it hangs.
        target_m: height of the point that it looks at.
    """

    width_px: int = 1000
    height_px: int = 1002
    focal_px: float = 1147.0
    centre_px: tuple[float, float] = (512.0, 512.0)
    distance_m: float = 4.5
    height_m: float = 1.5
    target_m: float = 0.9

    @property
    def camera_from_world(self) -> Float:
        """(3, 3) rotation: rows are the camera's x (right), y (down) and z (forward) in the world."""
        forward = np.array([0.0, self.distance_m, self.target_m - self.height_m])
        forward /= np.linalg.norm(forward)
        right = np.array([1.0, 0.0, 0.0])
        return np.stack([right, np.cross(forward, right), forward])

    def to_camera(self, world_m: NDArray[np.floating]) -> Float:
        """(..., 3) world metres, z up, to (..., 3) metres in camera axes."""
        place = np.array([0.0, -self.distance_m, self.height_m])
        return np.asarray((np.asarray(world_m, np.float64) - place) @ self.camera_from_world.T)

    def project(self, camera_m: NDArray[np.floating]) -> Float:
        """(..., 3) metres in camera axes to (..., 2) pixels, without lens distortion."""
        point = np.asarray(camera_m, np.float64)
        return np.asarray(point[..., :2] / point[..., 2:] * self.focal_px + np.asarray(self.centre_px))


CAMERA = Camera()


class SyntheticSource(BaseSource):
    """Walking people, the same ones for the same seed, at exact times ``i / fps``.

    Args:
        people: how many, with ids 0, 1 ...
        fps: frames a second.
        seed: who walks and where.
        noise_px: standard deviation of the keypoints' error in pixels; an error lasts some 80 ms, as a detector's does.
        frames: how many frames, None for no end.
        camera: who looks.
    """

    def __init__(
        self,
        *,
        people: int = 1,
        fps: float = 50.0,
        seed: int = 0,
        noise_px: float = 0.0,
        frames: int | None = None,
        camera: Camera = CAMERA,
    ) -> None:
        for name, value, least in (("people", people, 1), ("seed", seed, 0), ("noise", noise_px, 0)):
            if not (np.isfinite(value) and value >= least):
                raise UsageError(f"{name}={value} makes no walk", expected=f"{name} of at least {least}")
        if not (np.isfinite(fps) and fps > 0):
            raise UsageError(f"fps={fps} makes no walk", expected="fps above 0")
        self.people, self.seed, self.noise_px, self.camera = people, seed, noise_px, camera
        self.fps: float | None = float(fps)
        self.frames = frames
        self._rate = float(fps)

    def __iter__(self) -> Iterator[Frame]:
        """From the first frame on, each time."""
        rngs = [np.random.default_rng((self.seed, person, 1)) for person in range(self.people)]
        errors_px = [rng.normal(size=(17, 2)) * self.noise_px for rng in rngs]
        for first in count(0, _BLOCK):
            size = _BLOCK if self.frames is None else min(_BLOCK, self.frames - first)
            if size <= 0:
                return
            t_s = np.arange(first, first + size) / self._rate
            made = []
            for person in range(self.people):
                noise_px, errors_px[person] = self._noise(rngs[person], errors_px[person], size)
                made.append(self._person(t_s, person, noise_px))
            for i in range(size):
                yield Frame(
                    t_s=float(t_s[i]),
                    people={person: keypoints[i] for person, (keypoints, _) in enumerate(made)},
                    truth_m={person: truth[i] for person, (_, truth) in enumerate(made)},
                )

    def _person(self, t_s: Float, person: int, noise_px: Float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One person's keypoints (T, 17, 3), normalised, and truth (T, 17, 3) in metres relative to the hip."""
        camera_m = self.camera.to_camera(walk_world(t_s, seed=self.seed, person=person))
        px = np.ones((len(t_s), 17, 3))
        px[..., :2] = self.camera.project(camera_m) + noise_px
        keypoints = normalise_screen(px, width_px=self.camera.width_px, height_px=self.camera.height_px)
        return keypoints, (camera_m - camera_m[:, :1]).astype(np.float32)

    def _noise(self, rng: np.random.Generator, error_px: Float, size: int) -> tuple[Float, Float]:
        """The next (T, 17, 2) errors, each a fading memory of the one before it, and the last of them."""
        made_px = np.zeros((size, 17, 2))
        if self.noise_px == 0:
            return made_px, error_px
        keep = float(np.exp(-1 / (self._rate * _NOISE_TIME_S)))
        fresh_px = rng.normal(size=made_px.shape) * self.noise_px * np.sqrt(1 - keep**2)
        for i in range(size):
            error_px = keep * error_px + fresh_px[i]
            made_px[i] = error_px
        return made_px, error_px
