"""Accuracy of a rollout: its poses against the truth, where that is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...runtime.artefact.certificate import Accuracy
from ...runtime.pose.metrics import bone_jitter, mpjpe, mpjve
from .rollout import Recording


def accuracy(poses: Sequence[NDArray[np.float32]], recordings: Sequence[Recording]) -> Accuracy | None:
    """MPJPE with both hips at zero, MPJVE and bone jitter, every frame of all recordings counted once; None without the truth.

    From the last frame of one person to the first of the next is no motion: those pairs of frames have no velocity and no
    jitter.

    Args:
        poses: (T, 17, 3) metres of each recording, in the order of Human3.6M, as its truth.
    """
    frames: list[int] = []
    errors: list[float] = []
    pairs: list[int] = []
    speeds: list[float] = []
    jitters: list[float] = []
    for made, recording in zip(poses, recordings, strict=True):
        if recording.truth is None:
            return None
        for span in recording.spans():
            p, g = made[span], recording.truth[span]
            frames.append(len(p))
            errors.append(mpjpe(p, g, root="align"))
            if len(p) > 1:
                pairs.append(len(p) - 1)
                speeds.append(mpjve(p, g, root="align"))
                jitters.append(bone_jitter(p))
    if not pairs:
        return None
    return Accuracy(
        mpjpe_mm=1000 * float(np.average(errors, weights=frames)),
        mpjve_mm=1000 * float(np.average(speeds, weights=pairs)),
        bone_jitter_mm=1000 * float(np.average(jitters, weights=pairs)),
    )
