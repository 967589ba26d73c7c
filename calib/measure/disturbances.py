"""Events: what goes wrong on a robot, done to a recording, and how long a state remembers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...runtime.artefact.certificate import Recovery
from ...runtime.pose.skeleton import H36M17
from .budget import drift_mm
from .rollout import Recording

Floats = NDArray[np.float32]

LEAST_S, MOST_S = 5.0, 12.0  # of the recording that is disturbed
BEFORE_S = 2.0  # undisturbed, so that there is a state to disturb
GAP_S, LIMB_S = 2.0, 1.0
OUTLIER_FRAMES = 3
POINTS = 100  # of the distance over time: a picture shows no more
FORGOTTEN_MM = 1.0  # nobody sees a millimetre: it is less than a joint's jitter from frame to frame
ARM = tuple(H36M17.joints.index(f"right_{joint}") for joint in ("shoulder", "elbow", "wrist"))


@dataclass(frozen=True, eq=False)
class Event:
    """A disturbed recording.

    Args:
        name: what was done.
        recording: the frames that a model gets to see.
        begin, end: the first frame that differs from the undisturbed recording, and the first that does no more.
        lost: how many frames of the undisturbed recording are missing before ``end``.
    """

    name: str
    recording: Recording
    begin: int = 0
    end: int = 0
    lost: int = 0


def disturb(recording: Recording) -> list[Event]:
    """The undisturbed beginning of a recording, then what may happen to it after two seconds; nothing of a short one.

    Args:
        recording: (T, 17, 3) keypoints in the order of Human3.6M.
    """
    per_s = 1 / float(np.median(recording.dt_s))
    least, most, at, gap, limb = (round(seconds * per_s) for seconds in (LEAST_S, MOST_S, BEFORE_S, GAP_S, LIMB_S))
    if len(recording) < least:
        return []
    plain = recording.during(slice(0, most))

    outlier = plain.keypoints.copy()
    strewn = np.random.default_rng(0).uniform(-1, 1, (OUTLIER_FRAMES, len(H36M17), 2))  # all over the image, with full score
    outlier[at : at + OUTLIER_FRAMES] = np.pad(strewn, ((0, 0), (0, 0), (0, 1)), constant_values=1)
    reset = plain.reset.copy()
    reset[at] = True
    armless = plain.keypoints.copy()
    armless[at : at + limb, ARM] = 0
    seen = np.delete(np.arange(len(plain)), slice(at, at + gap))
    late = plain.dt_s.copy()
    late[at + gap] = plain.dt_s[at : at + gap + 1].sum()
    return [
        Event("nothing", plain),
        Event("outlier", replace(plain, keypoints=outlier), at, at + OUTLIER_FRAMES),
        Event("reset", replace(plain, reset=reset), at, at),
        Event("gap", Recording(plain.keypoints[seen], late[seen], plain.reset[seen]), at, at, gap),
        Event("limb missing", replace(plain, keypoints=armless), at, at + limb),
    ]


def recoveries(
    events: Sequence[Event], poses: Sequence[Floats], reference: Sequence[Floats] | None = None
) -> tuple[Recovery, ...]:
    """How far each event took the poses from the undisturbed ones, and when that was forgotten.

    Args:
        events: those of ``disturb``.
        poses: (T, J, 3) of each.
        reference: the same of the reference; None if these are its own.
    """
    return tuple(
        _recovery(event, made, poses[0], None if reference is None else reference[row])
        for row, (event, made) in enumerate(zip(events, poses, strict=True))
        if row
    )


def _recovery(event: Event, made: Floats, undisturbed: Floats, reference: Floats | None) -> Recovery:
    distance = drift_mm(made[event.begin :], undisturbed[event.begin + event.lost :]).mean(axis=-1)
    after = distance[event.end - event.begin :]
    (far,) = np.nonzero(~(after < FORGOTTEN_MM))
    forgotten = int(far[-1]) + 1 if len(far) else 0
    drift = None if reference is None else drift_mm(made[event.begin :], reference[event.begin :])
    return Recovery(
        disturbance=event.name,
        peak_mm=float(distance.max()),
        recovery_frames=forgotten if forgotten < len(after) else None,
        frames=len(after),
        drift_mean_mm=None if drift is None else float(drift.mean()),
        drift_max_mm=None if drift is None else float(drift.max()),
        distance_mm=tuple(float(f"{part.max():.3g}") for part in np.array_split(distance, min(POINTS, len(distance)))),
    )
