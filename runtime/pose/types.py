"""What goes in and what comes out: a ``Frame`` of 2D keypoints per person, a ``Pose`` in metres."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

GapAction = Literal["none", "hold", "decay", "reset"]
"""What a stream did about the time since its last frame: nothing, held its state, let it decay, or started anew."""


@dataclass(frozen=True, eq=False)
class Frame:
    """What a source yields: everybody seen at one instant.

    Args:
        t_s: capture time in seconds, on the source's own clock.
        people: person id -> (17, 3) keypoints, Human3.6M-17, normalised x, y, score (see ``runtime.keypoints``).
        image: (H, W, 3) uint8 BGR, where the source has pictures.
        truth_m: person id -> (17, 3) metres relative to the hip in camera axes, where the source knows it.
    """

    t_s: float
    people: dict[int, NDArray[np.float32]]
    image: NDArray[np.uint8] | None = None
    truth_m: dict[int, NDArray[np.float32]] | None = None


class ArrayOnDevice(Protocol):
    """A float32 array in GPU memory: a ``cuda.DeviceArray``, read in place by torch, CuPy, Numba and pycuda."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...

    def __array__(self) -> NDArray[np.float32]:
        """A copy on the host."""
        ...


@dataclass(frozen=True, eq=False)
class Pose:
    """One person's pose in three dimensions.

    Args:
        xyz_m: (17, 3) float32 metres relative to the hip, camera axes: x right, y down, z forward.
        score: (17,) confidence of the 2D keypoints that it was made from.
        t_s: time of the frame that the pose belongs to, in seconds.
        dt_s: seconds since this person's frame before.
        latency_frames: how many frames the pose lies behind the newest frame fed.
        gap: what the stream did about the time since the frame before.
        person: the person's id.
        xyz_m_device: the same numbers on the GPU, (17, 3) float32 behind ``__cuda_array_interface__``, if the keypoints lay
            there and were fed. The model's next launch overwrites it; read it while no other thread steps the model.
    """

    xyz_m: NDArray[np.float32]
    score: NDArray[np.float32]
    t_s: float
    dt_s: float
    latency_frames: int
    gap: GapAction
    person: int = 0
    xyz_m_device: ArrayOnDevice | None = None

    def of(self, person: int) -> Pose:
        """The same pose, as that person's."""
        return self if person == self.person else replace(self, person=person)

    def to_json(self) -> dict[str, Any]:
        """The pose as plain numbers for JSON; positions rounded to 0.1 mm, times to a microsecond."""
        return {
            "person": self.person,
            "t_s": round(float(self.t_s), 6),
            "dt_s": round(float(self.dt_s), 6),
            "latency_frames": self.latency_frames,
            "gap": self.gap,
            "xyz_m": np.round(self.xyz_m.astype(np.float64), 4).tolist(),
            "score": np.round(self.score.astype(np.float64), 4).tolist(),
        }
