"""A procedural walker: a Human3.6M figure on a closed path, in metres, without any recorded motion.

Joint angles of a normal adult's gait (sagittal hip and knee, as Fourier series of the gait phase) drive forward
kinematics, so that the bones keep their lengths exactly. The phase follows the way gone, and the pelvis is carried by the
standing leg, so that the feet slide and sink little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

# Degrees at tenths of a stride from that leg's heel strike; flexion is positive. Shapes of ordinary level walking.
_HIP_DEG = (28.0, 24.0, 15.0, 5.0, -5.0, -11.0, -6.0, 12.0, 27.0, 31.0)
_KNEE_DEG = (6.0, 15.0, 14.0, 8.0, 6.0, 12.0, 36.0, 60.0, 48.0, 16.0)

_ANKLE_M = 0.085  # height of a standing ankle
_SOFT_M = 0.012  # how softly the weight passes from one leg to the other

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
    """What makes one person's walk their own; drawn by ``Walker.draw``."""

    size: float  # of the bones above
    vigour: float  # of the legs' swing
    arms: float  # of the arms' swing
    elbow_rad: float
    speed_m_s: float
    phase: float  # strides
    sway_rad: float  # phase of the slow changes of pace
    centre_m: tuple[float, float]
    radius_m: float
    oval: float  # how much the path's radius changes
    tilt_rad: float  # where the oval points to
    start_rad: float
    turn: int  # 1 to the left, -1 to the right

    @classmethod
    def draw(cls, *, seed: int, person: int = 0) -> Walker:
        """The walker of this seed and person, always the same."""
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
        """Way of one stride (two steps): what the legs' swing covers, so that standing feet stand."""
        return 1.38 * self.size * self.vigour

    def way(self, t_s: Float) -> Float:
        """Metres gone after ``t_s`` (T,): steady, with a slow change of pace of about an eighth."""
        return self.speed_m_s * (t_s + 0.2 * np.sin(0.6 * t_s + self.sway_rad))

    def path(self, way_m: Float) -> tuple[Float, Float]:
        """Where the way leads: (T, 2) floor positions in metres and (T,) headings in radians."""
        angle = np.linspace(0, 2 * np.pi, 8193)
        place, _ = self._oval(angle)
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(place, axis=0), axis=1))])
        at = np.interp((way_m * self.turn) % length[-1], length, angle)
        return self._oval(at)

    def _oval(self, angle: Float) -> tuple[Float, Float]:
        """Points of the closed path and the headings there."""
        a = angle + self.start_rad
        radius = self.radius_m * (1 + self.oval * np.cos(2 * (a - self.tilt_rad)))
        slope = -2 * self.radius_m * self.oval * np.sin(2 * (a - self.tilt_rad))
        out = np.stack([np.cos(a), np.sin(a)], -1)
        along = np.stack([-np.sin(a), np.cos(a)], -1)
        place = np.asarray(self.centre_m) + radius[:, None] * out
        tangent = (slope[:, None] * out + radius[:, None] * along) * self.turn
        return place, np.arctan2(tangent[:, 1], tangent[:, 0])


def walk_world(t_s: NDArray[np.floating], *, seed: int = 0, person: int = 0) -> Float:
    """The walk of one person.

    Args:
        t_s: (T,) seconds, any instants in any order.
        seed, person: which walk; the same numbers always give the same walk.

    Returns:
        (T, 17, 3) metres, Human3.6M-17; z is up, the floor is z = 0, the path lies around x = y = 0.
    """
    t = np.asarray(t_s, np.float64)
    walker = Walker.draw(seed=seed, person=person)
    way_m = walker.way(t)
    place, heading = walker.path(way_m)
    phase = way_m / walker.stride_m + walker.phase  # of the right leg; the left leg is half a stride later
    swing = 2 * np.pi * phase

    bones = {joint: walker.size * np.asarray(end) for joint, end in _BONES_M.items()}
    joints = np.zeros((len(t), 17, 3))

    def place_joint(child: int, parent: int, rotation: Float) -> None:
        joints[:, child] = joints[:, parent] + rotation @ bones[child]

    # The leg that strikes its heel is in front: so is its side of the pelvis, and the other shoulder.
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
        forward = np.cos(swing + 2 * np.pi * shift)  # the left arm goes with the right leg
        raised = np.radians(2) + np.radians(19) * walker.arms * forward
        upper = chest @ _roll(np.full_like(t, np.radians(9) * side)) @ _pitch(-raised)
        place_joint(elbow, shoulder, upper)
        place_joint(wrist, elbow, upper @ _pitch(-(walker.elbow_rad + np.radians(11) * walker.arms * (1 + forward))))

    # The pelvis rides as high as the standing leg carries it, and sways over it.
    low_m = -_SOFT_M * walker.size * np.logaddexp(*(-joints[:, a, 2] / (_SOFT_M * walker.size) for a in (3, 6)))
    sway_m = 0.018 * walker.size * np.sin(swing)  # over the right leg (to the right) in its first half stride
    left = np.stack([-np.sin(heading), np.cos(heading)], -1)
    joints[..., :2] += (place - sway_m[:, None] * left)[:, None]
    joints[..., 2] += (_ANKLE_M * walker.size - low_m)[:, None]
    return joints


def _fourier(table_deg: tuple[float, ...], phase: Float) -> Float:
    """The smooth periodic curve through ten equally spaced values, in radians, at phases in strides."""
    terms = np.fft.rfft(np.radians(table_deg)) / len(table_deg)
    made = np.full_like(phase, terms[0].real)
    for k in range(1, 4):  # higher harmonics are noise of the table
        turn = 2 * np.pi * k * phase
        made += 2 * (terms[k].real * np.cos(turn) - terms[k].imag * np.sin(turn))
    return made


def _turns(angle: Float, fixed: int) -> Float:
    """(T, 3, 3) right-handed rotations by (T,) angles about one of the axes x, y, z."""
    a, b = (fixed + 1) % 3, (fixed + 2) % 3
    made = np.zeros((len(angle), 3, 3))
    made[:, fixed, fixed] = 1
    made[:, a, a] = made[:, b, b] = np.cos(angle)
    made[:, b, a] = np.sin(angle)
    made[:, a, b] = -made[:, b, a]
    return made


def _yaw(angle: Float) -> Float:
    """To the left."""
    return _turns(angle, 2)


def _pitch(angle: Float | float, like: Float | None = None) -> Float:
    """Upper end forward: what hangs down swings back."""
    return _turns(np.broadcast_to(np.asarray(angle, np.float64), np.shape(angle if like is None else like)), 1)


def _roll(angle: Float) -> Float:
    """Left side up: what hangs down swings to the left."""
    return _turns(angle, 0)
