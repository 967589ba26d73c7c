"""Disturbances: what goes wrong on a robot, applied to a recording, and how long the state takes to recover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...runtime.arrays import F32
from ...runtime.artefact.certificate import Recovery
from ...runtime.pose.skeleton import H36M17
from .budget import drift_mm
from .recording import Recording

MIN_S, MAX_S = 5.0, 12.0  # of the recording that is disturbed
BEFORE_S = 2.0  # undisturbed, so that there is a state to disturb
GAP_S, LIMB_S = 2.0, 1.0
OUTLIER_FRAMES = 3
POINTS = 100  # of the distance over time: a plot shows no more
RECOVERED_MM = 1.0  # less than a joint's jitter from frame to frame
ARM = tuple(H36M17.joints.index(f"right_{joint}") for joint in ("shoulder", "elbow", "wrist"))


@dataclass(frozen=True, eq=False)
class Disturbance:
    """A disturbed recording.

    Args:
        name: what was done: ``outlier``, ``gap`` ...; ``nothing`` for the undisturbed recording.
        recording: the frames that a model sees.
        begin, end: the first frame that differs from the undisturbed recording, and the first after it that equals it again.
        lost: how many frames of the undisturbed recording are missing before ``end``.
    """

    name: str
    recording: Recording
    begin: int = 0
    end: int = 0
    lost: int = 0


def disturb(recording: Recording) -> list[Disturbance]:
    """The undisturbed beginning of a recording, then the same with each disturbance after two seconds.

    Empty for a recording shorter than 5 s.

    Args:
        recording: (T, 17, 3) keypoints in the order of Human3.6M.
    """
    fps = 1 / float(np.median(recording.dt_s))
    shortest, longest, at, gap, limb = (round(seconds * fps) for seconds in (MIN_S, MAX_S, BEFORE_S, GAP_S, LIMB_S))
    if len(recording) < shortest:
        return []
    plain = recording.during(slice(0, longest))

    outlier = plain.keypoints.copy()
    # All over the image, with full confidence.
    scattered = np.random.default_rng(0).uniform(-1, 1, (OUTLIER_FRAMES, len(H36M17), 2))
    outlier[at : at + OUTLIER_FRAMES] = np.pad(scattered, ((0, 0), (0, 0), (0, 1)), constant_values=1)
    reset = plain.reset.copy()
    reset[at] = True
    armless = plain.keypoints.copy()
    armless[at : at + limb, ARM] = 0
    seen = np.delete(np.arange(len(plain)), slice(at, at + gap))
    dt_s = plain.dt_s.copy()
    dt_s[at + gap] = plain.dt_s[at : at + gap + 1].sum()
    return [
        Disturbance("nothing", plain),
        Disturbance("outlier", replace(plain, keypoints=outlier), at, at + OUTLIER_FRAMES),
        Disturbance("reset", replace(plain, reset=reset), at, at),
        Disturbance("gap", replace(plain.during(seen), dt_s=dt_s[seen]), at, at, gap),
        Disturbance("limb missing", replace(plain, keypoints=armless), at, at + limb),
    ]


def measure_recoveries(
    disturbances: Sequence[Disturbance], poses: Sequence[F32], reference: Sequence[F32] | None = None
) -> tuple[Recovery, ...]:
    """How far each disturbance took the poses from the undisturbed ones, and after how many frames they were back.

    Args:
        disturbances: the result of ``disturb``.
        poses: (T, J, 3) metres for each of them.
        reference: the reference's poses for each of them; None if ``poses`` are the reference's own.
    """
    return tuple(
        _recovery(disturbance, disturbed, poses[0], None if reference is None else reference[row])
        for row, (disturbance, disturbed) in enumerate(zip(disturbances, poses, strict=True))
        if row
    )


def _recovery(disturbance: Disturbance, disturbed: F32, undisturbed: F32, reference: F32 | None) -> Recovery:
    begin = disturbance.begin
    distance = drift_mm(disturbed[begin:], undisturbed[begin + disturbance.lost :]).mean(axis=-1)
    after = distance[disturbance.end - begin :]
    (not_recovered,) = np.nonzero(~(after < RECOVERED_MM))
    recovery_frames = int(not_recovered[-1]) + 1 if len(not_recovered) else 0
    drift = None if reference is None else drift_mm(disturbed[begin:], reference[begin:])
    return Recovery(
        disturbance=disturbance.name,
        peak_mm=float(distance.max()),
        recovery_frames=recovery_frames if recovery_frames < len(after) else None,
        frames=len(after),
        drift_mean_mm=None if drift is None else float(drift.mean()),
        drift_max_mm=None if drift is None else float(drift.max()),
        distance_mm=tuple(float(f"{part.max():.3g}") for part in np.array_split(distance, min(POINTS, len(distance)))),
    )
