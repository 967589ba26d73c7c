"""A procedural walker: a Human3.6M figure on a closed path, in metres, without any recorded motion.

Joint angles of a normal adult's gait (sagittal hip and knee, as Fourier series of the gait phase) drive forward
kinematics, so that the bones keep their lengths exactly. The gait phase is proportional to the distance walked, and the
standing leg determines the pelvis' height, so that the feet hardly slide or sink.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64

# Degrees at tenths of a stride from that leg's heel strike; flexion is positive. Normal level walking.
_HIP_DEG = (28.0, 24.0, 15.0, 5.0, -5.0, -11.0, -6.0, 12.0, 27.0, 31.0)
_KNEE_DEG = (6.0, 15.0, 14.0, 8.0, 6.0, 12.0, 36.0, 60.0, 48.0, 16.0)

_ANKLE_M = 0.085  # height of a standing ankle
_SOFT_M = 0.012  # width of the smooth minimum over the ankles, at which the weight passes from one leg to the other

# Bone ends in the parent's frame, for a stature of 1.75 m: x forward, y left, z up.
_BONES_M: dict[int, tuple[float, float, float]] = {
    1: (0.0, -0.132, 0.0),
    2: (0.0, 0.0, -0.445),
    3: (0.0, 0.0, -0.445),
    4: (0.0, 0.132, 0.0),
    5: (0.0, 0.0, -0.445),
    6: (0.0, 0.0, -0.445),
    7: (-0.02, 0.0, 0.235),
    8: (0.02, 0.0, 0.255),
    9: (0.045, 0.0, 0.110),
    10: (0.0, 0.0, 0.115),
    11: (0.0, 0.150, -0.015),
    12: (0.0, 0.0, -0.285),
    13: (0.0, 0.0, -0.250),
    14: (0.0, -0.150, -0.015),
    15: (0.0, 0.0, -0.285),
    16: (0.0, 0.0, -0.250),
}


@dataclass(frozen=True)
class Walker:
    """The parameters of one person's walk; drawn by ``Walker.draw``."""

    size: float  # factor on the bones above
    vigour: float  # factor on the legs' swing
    arms: float  # factor on the arms' swing
    elbow_rad: float
    speed_m_s: float
    phase: float  # strides
    sway_rad: float  # phase of the slow changes of pace
    centre_m: tuple[float, float]
    radius_m: float
    oval: float  # relative amplitude of the path's radius
    tilt_rad: float  # direction of the oval's long axis
    start_rad: float
    turn: int  # 1 to the left, -1 to the right

    @classmethod
    def draw(cls, *, seed: int, person: int = 0) -> Walker:
        """The walker of this seed and person; the same numbers always give the same walker."""
        rng = np.random.default_rng((seed, person))
        size = float(rng.uniform(0.9, 1.08))
        vigour = float(rng.uniform(0.85, 1.1))
        return cls(
            size=size,
            vigour=vigour,
            arms=float(rng.uniform(0.7, 1.3)),
            elbow_rad=float(np.radians(rng.uniform(15, 35))),
            speed_m_s=1.22 * size * vigour * float(rng.uniform(0.85, 1.05)),
            phase=float(rng.uniform()),
            sway_rad=float(rng.uniform(0, 2 * np.pi)),
            centre_m=(float(rng.uniform(-0.2, 0.2)), float(rng.uniform(-0.2, 0.2))),
            radius_m=float(rng.uniform(0.8, 1.1)),
            oval=float(rng.uniform(0.06, 0.17)),
            tilt_rad=float(rng.uniform(0, np.pi)),
            start_rad=float(rng.uniform(0, 2 * np.pi)),
            turn=int(rng.choice((-1, 1))),
        )

    @property
    def stride_m(self) -> float:
        """Length of one stride (two steps), which the legs' swing covers, so that a standing foot does not slide."""
        return 1.38 * self.size * self.vigour

    def distance(self, t_s: F64) -> F64:
        """(T,) metres walked at (T,) seconds; the pace changes slowly, by about an eighth."""
        return self.speed_m_s * (t_s + 0.2 * np.sin(0.6 * t_s + self.sway_rad))

    def path(self, distance_m: F64) -> tuple[F64, F64]:
        """(T, 2) floor positions in metres and (T,) headings in radians after (T,) metres walked."""
        angle = np.linspace(0, 2 * np.pi, 8193)
        position, _ = self._oval(angle)
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(position, axis=0), axis=1))])
        return self._oval(np.interp((distance_m * self.turn) % length[-1], length, angle))

    def _oval(self, angle: F64) -> tuple[F64, F64]:
        """Points of the closed path, and the headings there."""
        a = angle + self.start_rad
        radius = self.radius_m * (1 + self.oval * np.cos(2 * (a - self.tilt_rad)))
        slope = -2 * self.radius_m * self.oval * np.sin(2 * (a - self.tilt_rad))
        outward = np.stack([np.cos(a), np.sin(a)], -1)
        along = np.stack([-np.sin(a), np.cos(a)], -1)
        position = np.asarray(self.centre_m) + radius[:, None] * outward
        tangent = (slope[:, None] * outward + radius[:, None] * along) * self.turn
        return position, np.arctan2(tangent[:, 1], tangent[:, 0])


def walk_world(t_s: NDArray[np.floating], *, seed: int = 0, person: int = 0) -> F64:
    """The walk of one person.

    Args:
        t_s: (T,) seconds, any instants in any order.
        seed, person: select the walk; the same numbers always give the same walk.

    Returns:
        (T, 17, 3) metres, Human3.6M-17; z is up, the floor is z = 0, the path lies around x = y = 0.
    """
    t = np.asarray(t_s, np.float64)
    walker = Walker.draw(seed=seed, person=person)
    distance_m = walker.distance(t)
    position, heading = walker.path(distance_m)
    phase = distance_m / walker.stride_m + walker.phase  # of the right leg; the left leg is half a stride later
    swing = 2 * np.pi * phase

    bones = {joint: walker.size * np.asarray(end) for joint, end in _BONES_M.items()}
    joints = np.zeros((len(t), 17, 3))

    def place_joint(child: int, parent: int, rotation: F64) -> None:
        joints[:, child] = joints[:, parent] + rotation @ bones[child]

    # At a heel strike that leg is in front, and so are its side of the pelvis and the other shoulder.
    pelvis = _yaw(heading + np.radians(5) * np.cos(swing)) @ _roll(np.radians(3.5) * np.sin(swing)) @ _pitch(np.radians(3), t)
    for hip, knee, ankle, shift, side in ((1, 2, 3, 0.0, -1), (4, 5, 6, 0.5, 1)):
        place_joint(hip, 0, pelvis)
        hip_rad = walker.vigour * _fourier(_HIP_DEG, phase + shift)
        knee_rad = _fourier(_KNEE_DEG, phase + shift)
        thigh = pelvis @ _roll(np.full_like(t, np.radians(1.5) * side)) @ _pitch(-hip_rad)
        place_joint(knee, hip, thigh)
        place_joint(ankle, knee, thigh @ _pitch(knee_rad))

    lean = np.radians(3) + np.radians(1.5) * np.cos(2 * swing + 0.5)
    low = _yaw(heading) @ _roll(-np.radians(1.5) * np.sin(swing)) @ _pitch(lean)
    chest = _yaw(heading - np.radians(7) * np.cos(swing)) @ _roll(-np.radians(1.5) * np.sin(swing)) @ _pitch(lean)
    head = _yaw(heading + np.radians(6) * np.sin(0.37 * t + walker.sway_rad)) @ _pitch(np.radians(4), t)
    place_joint(7, 0, low)
    place_joint(8, 7, chest)
    place_joint(9, 8, head)
    place_joint(10, 9, head)
    for shoulder, elbow, wrist, shift, side in ((11, 12, 13, 0.0, 1), (14, 15, 16, 0.5, -1)):
        place_joint(shoulder, 8, chest)
        forward = np.cos(swing + 2 * np.pi * shift)  # the left arm swings with the right leg
        raised = np.radians(2) + np.radians(19) * walker.arms * forward
        upper = chest @ _roll(np.full_like(t, np.radians(9) * side)) @ _pitch(-raised)
        place_joint(elbow, shoulder, upper)
        place_joint(wrist, elbow, upper @ _pitch(-(walker.elbow_rad + np.radians(11) * walker.arms * (1 + forward))))

    # The standing leg determines the pelvis' height, and the pelvis sways over it.
    low_m = -_SOFT_M * walker.size * np.logaddexp(*(-joints[:, a, 2] / (_SOFT_M * walker.size) for a in (3, 6)))
    sway_m = 0.018 * walker.size * np.sin(swing)  # over the right leg (to the right) in its first half stride
    left = np.stack([-np.sin(heading), np.cos(heading)], -1)
    joints[..., :2] += (position - sway_m[:, None] * left)[:, None]
    joints[..., 2] += (_ANKLE_M * walker.size - low_m)[:, None]
    return joints


def _fourier(table_deg: tuple[float, ...], phase: F64) -> F64:
    """The smooth periodic curve through ten equally spaced values, in radians, at phases in strides."""
    terms = np.fft.rfft(np.radians(table_deg)) / len(table_deg)
    curve = np.full_like(phase, terms[0].real)
    for k in range(1, 4):  # the higher harmonics are the table's rounding
        turn = 2 * np.pi * k * phase
        curve += 2 * (terms[k].real * np.cos(turn) - terms[k].imag * np.sin(turn))
    return curve


def _rotations(angle: F64, axis: int) -> F64:
    """(T, 3, 3) right-handed rotations by (T,) angles about one of the axes x, y, z."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    rotations = np.zeros((len(angle), 3, 3))
    rotations[:, axis, axis] = 1
    rotations[:, a, a] = rotations[:, b, b] = np.cos(angle)
    rotations[:, b, a] = np.sin(angle)
    rotations[:, a, b] = -rotations[:, b, a]
    return rotations


def _yaw(angle: F64) -> F64:
    """To the left."""
    return _rotations(angle, 2)


def _pitch(angle: F64 | float, like: F64 | None = None) -> F64:
    """The upper end forward; a bone that hangs down swings back. A constant angle is repeated to the length of ``like``."""
    return _rotations(np.broadcast_to(np.asarray(angle, np.float64), np.shape(angle if like is None else like)), 1)


def _roll(angle: F64) -> F64:
    """The left side up; a bone that hangs down swings to the left."""
    return _rotations(angle, 0)
