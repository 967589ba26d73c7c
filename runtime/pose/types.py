"""``Pose``: one person's joints in metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, F64
from .scale import ScaleFrom

GapAction = Literal["none", "hold", "decay", "reset"]
"""What a stream did about the time since its last frame: nothing, hold the state, let it decay, or reset it."""

Doubt = Literal["bones", "fit"]
"""Why a pose may be no real person: bones of a length that nobody has or that the person did not have before, or keypoints that
fit no body."""


class ArrayOnDevice(Protocol):
    """A float32 array in GPU memory: a ``cuda.DeviceArray``, read in place by torch, CuPy, Numba and pycuda."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...

    def __array__(self) -> F32:
        """A copy on the host."""
        ...


GUESSED_BELOW = 0.3
"""A joint whose keypoint has a lower score is flagged as guessed."""


@dataclass(frozen=True, eq=False)
class Root:
    """Where a person's hip is.

    Args:
        xyz_m: (3,) metres in camera axes: x right, y down, z forward.
        sigma_m: (3,) standard deviations of them: of the keypoints, the pose and the scale.
        residual_px: median distance of the keypoints from the projected joints: how well pose and keypoints are of one body.
        scale: factor of the person's size on the lifter's pose.
        scale_from: what the scale rests on: "prior" (adults in general), "stature", "floor", "stature+floor".
        held_s: seconds since the position was last measured. Above 0 it is the last one, since too few joints are seen, or
            they are not of one body; its standard deviation grows.
        world_from_camera: (4, 4) the camera's place in the room or on the robot; None if it is not known.
    """

    xyz_m: F32
    sigma_m: F32
    residual_px: float
    scale: float
    scale_from: ScaleFrom
    held_s: float = 0.0
    world_from_camera: F64 | None = None

    @property
    def world_m(self) -> F32 | None:
        """(3,) in the axes of the room or the robot, where the camera's place is known."""
        return None if self.world_from_camera is None else _moved(self.xyz_m, self.world_from_camera)

    def to_json(self) -> dict[str, Any]:
        """The position as plain numbers for JSON, rounded to 0.1 mm and 0.01 px."""
        world_m = self.world_m
        return {
            "xyz_m": np.round(self.xyz_m.astype(np.float64), 4).tolist(),
            "sigma_m": np.round(self.sigma_m.astype(np.float64), 4).tolist(),
            "residual_px": round(self.residual_px, 2),
            "scale": round(self.scale, 4),
            "scale_from": self.scale_from,
            "held_s": round(self.held_s, 6),
            **({} if world_m is None else {"world_m": np.round(world_m.astype(np.float64), 4).tolist()}),
        }


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
        root: where the hip is, from a pipeline that knows its camera; None elsewhere, and while nothing is known.
        doubts: from a pipeline: why the pose may be no real person; usually empty.
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
    root: Root | None = None
    doubts: tuple[Doubt, ...] = ()

    @property
    def xyz_in_camera_m(self) -> F32 | None:
        """(17, 3) the joints in the room: metres from the camera, in its axes, at the person's scale; None without a root."""
        return None if self.root is None else self.root.xyz_m + np.float32(self.root.scale) * self.xyz_m

    @property
    def xyz_in_world_m(self) -> F32 | None:
        """(17, 3) the joints in the axes of the room or the robot; None without a root or the camera's place."""
        joints_m = self.xyz_in_camera_m
        if joints_m is None or self.root is None or self.root.world_from_camera is None:
            return None
        return _moved(joints_m, self.root.world_from_camera)

    @property
    def guessed(self) -> NDArray[np.bool_]:
        """(17,) which joints the model guessed: nobody saw them in the picture, or hardly."""
        return np.asarray(self.score < GUESSED_BELOW, np.bool_)

    def _repr_png_(self) -> bytes | None:
        """The picture of the pose in a notebook; None, so that its text is shown, where Matplotlib is not installed."""
        from ..plotting.show import picture_of  # here, since it needs this module

        return picture_of(self) if np.isfinite(self.xyz_m).all() else None

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
            "guessed": self.guessed.tolist(),
            "doubts": list(self.doubts),
            **sigma,
            **({} if self.root is None else {"root": self.root.to_json()}),
        }


def _moved(xyz_m: F32, matrix: F64) -> F32:
    """Points (..., 3) moved by a (4, 4) matrix."""
    return (xyz_m.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)
