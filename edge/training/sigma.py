"""Calibration of the standard deviations that a lifter gives, on people that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...runtime.arrays import F64
from ...runtime.pose.skeleton import H36M17
from ..data.sequences import PoseSequence
from ..lifting import lift_sequence, target_poses
from ..models.lifter import Lifter

WITHIN = {1.0: 0.683, 2.0: 0.954}  # factor of sigma -> share of the joints within it, of a half-normal distance


def calibrate_sigma(model: Lifter, sequences: Sequence[PoseSequence], *, block: int = 81) -> dict[str, float]:
    """Scale each joint's standard deviation, in place, until as many joints lie within it as should.

    A network knows the people that it was trained on better than others, and so its standard deviations are too small. The
    factor of a joint is the geometric mean of the two that make 68.3 % lie within one and 95.4 % within two of them. The
    root, which is always exact, keeps its own.

    Args:
        sequences: of people who are not in the training set, and not in the one that accuracy is reported on either.

    Returns:
        The factor of each joint.

    Raises:
        UsageError: the lifter gives no standard deviation.
    """
    ratios = []
    for sequence in sequences:
        lifted, truth = lift_sequence(model, sequence, block=block), target_poses(model, sequence)
        error_m = np.linalg.norm((lifted[..., :3] - lifted[:, :1, :3]) - (truth - truth[:, :1]), axis=-1)
        ratios.append(error_m / lifted[..., 3] if lifted.shape[-1] > 3 else error_m)
    ratio: F64 = np.concatenate(ratios).astype(np.float64)  # (frames, J)
    needed = [np.maximum(np.quantile(ratio, share, axis=0), 1e-6) / within for within, share in WITHIN.items()]
    factors = np.exp(np.mean(np.log(needed), axis=0))
    factors[0] = 1.0
    model.scale_sigma(torch.from_numpy(factors).to(next(model.parameters())))
    return dict(zip(H36M17.joints, factors.round(3).tolist(), strict=True))
