"""Accuracy of a rollout: its poses compared with the true ones, where those are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...runtime.arrays import F32
from ...runtime.artefact.certificate import Accuracy
from ...runtime.pose.metrics import bone_jitter, mpjpe, mpjve
from .recording import Recording


def measure_accuracy(poses: Sequence[F32], recordings: Sequence[Recording]) -> Accuracy | None:
    """MPJPE with both hips at zero, MPJVE and bone jitter, over every frame of all recordings.

    None if a truth is not known, or if nobody is seen in two frames in a row.

    The step from the last frame of one person to the first of the next is no motion: such pairs of frames have no velocity
    and no jitter.

    Args:
        poses: (T, 17, 3 or 4) metres of each recording, in the order of Human3.6M, as its truth.
    """
    frames: list[int] = []
    errors: list[float] = []
    pairs: list[int] = []
    velocity_errors: list[float] = []
    jitters: list[float] = []
    for lifted, recording in zip(poses, recordings, strict=True):
        if recording.truth is None:
            return None
        for span in recording.person_spans():
            p, g = lifted[span, :, :3], recording.truth[span]
            frames.append(len(p))
            errors.append(mpjpe(p, g, root="align"))
            if len(p) > 1:
                pairs.append(len(p) - 1)
                velocity_errors.append(mpjve(p, g, root="align"))
                jitters.append(bone_jitter(p))
    if not pairs:
        return None
    return Accuracy(
        mpjpe_mm=1000 * float(np.average(errors, weights=frames)),
        mpjve_mm=1000 * float(np.average(velocity_errors, weights=pairs)),
        bone_jitter_mm=1000 * float(np.average(jitters, weights=pairs)),
    )
