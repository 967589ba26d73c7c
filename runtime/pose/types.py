"""``Pose``: one person's joints in metres."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from ..arrays import F32

GapAction = Literal["none", "hold", "decay", "reset"]
"""What a stream did about the time since its last frame: nothing, hold the state, let it decay, or reset it."""


class ArrayOnDevice(Protocol):
    """A float32 array in GPU memory: a ``cuda.DeviceArray``, read in place by torch, CuPy, Numba and pycuda."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...

    def __array__(self) -> F32:
        """A copy on the host."""
        ...


@dataclass(frozen=True, eq=False)
class Pose:
    """One person's pose in three dimensions.

    Args:
        xyz_m: (17, 3) float32 metres relative to the hip, camera axes: x right, y down, z forward.
        score: (17,) confidence of the 2D keypoints from which the pose was computed.
        sigma_m: (17,) how far each joint is from the truth, as the model expects: the root mean square of the distance,
            metres. About 68 % of the joints are nearer than that, and 95 % nearer than twice as far. None from a model
            without it.
        t_s: capture time of the frame that the pose belongs to, in seconds.
        dt_s: seconds since this person's previous frame.
        latency_frames: how many frames the pose lies behind the newest frame that was fed.
        gap: what the stream did about the time since the previous frame.
        person: the person's id.
        xyz_m_device: the same numbers on the GPU, if the keypoints were on the GPU and were fed: (17, 3) float32, or (17, 4)
            with sigma as the fourth. The model's next launch overwrites it; read it while no other thread steps the model.
    """

    xyz_m: F32
    score: F32
    t_s: float
    dt_s: float
    latency_frames: int
    gap: GapAction
    person: int = 0
    xyz_m_device: ArrayOnDevice | None = None
    sigma_m: F32 | None = None

    def with_person(self, person: int) -> Pose:
        """The same pose under that person's id."""
        return self if person == self.person else replace(self, person=person)

    def to_json(self) -> dict[str, Any]:
        """The pose as plain numbers for JSON; positions rounded to 0.1 mm, times to a microsecond."""
        sigma = {} if self.sigma_m is None else {"sigma_m": np.round(self.sigma_m.astype(np.float64), 4).tolist()}
        return {
            "person": self.person,
            "t_s": round(float(self.t_s), 6),
            "dt_s": round(float(self.dt_s), 6),
            "latency_frames": self.latency_frames,
            "gap": self.gap,
            "xyz_m": np.round(self.xyz_m.astype(np.float64), 4).tolist(),
            "score": np.round(self.score.astype(np.float64), 4).tolist(),
            **sigma,
        }
