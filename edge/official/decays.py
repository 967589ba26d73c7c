"""The decays of an official PoseRetNet, and the skeleton that they were made for."""

from __future__ import annotations

import torch
from torch import Tensor

from ...runtime.errors import ArtefactError, UsageError
from ..models.retention import DISTANCES, one_minus_gamma
from .conversion import Weights
from .options import Options
from .shapes import DATASETS, part_count

GAMMA = "TTEblocks.{}.attn.retentions.{}.gamma"  # layer, head


def skeleton_and_distances(weights: Weights, options: Options, heads: int) -> tuple[str, str]:
    """The skeleton and the table of distances of a PoseRetNet.

    They follow from the decays where those differ between joints, and from the options elsewhere.

    Raises:
        ArtefactError: decays that were trained, or that are not between 0 and 1.
        UsageError: options that contradict the decays, or decays of no known skeleton.
    """
    _check_decays(weights, heads)
    dataset_skeleton = options.choice("dataset", DATASETS)
    joint_related = options.flag("joint_related", True)
    gammas = [weights[GAMMA.format(0, head)] for head in range(heads) if GAMMA.format(0, head) in weights]
    same_for_all_joints = all(gamma.numel() == 1 or bool((gamma == gamma.flatten()[0]).all()) for gamma in gammas)
    if len(gammas) < heads or same_for_all_joints:  # missing decays are reported with all missing weights
        return dataset_skeleton or "h36m17", "uniform"
    if not joint_related:
        raise UsageError("the configuration says joint_related false", expected="true, as the decays have it")
    skeleton = _skeleton_of(gammas, heads, gamma_divider=options.number("gamma_divider", 8))
    if skeleton is None and dataset_skeleton is None:
        raise UsageError("the decays are of no known skeleton", expected="dataset, or the gamma_divider of its training")
    if skeleton is not None and dataset_skeleton not in (None, skeleton):
        raise UsageError("the configuration says another dataset", expected=f"the one of {skeleton}, as the decays have it")
    name = skeleton or dataset_skeleton or "h36m17"
    return name, name


def _skeleton_of(gammas: list[Tensor], heads: int, *, gamma_divider: float) -> str | None:
    """The skeleton whose distances give these decays, one (J,) tensor for each head; None for none."""
    for skeleton in DATASETS.values():
        forgets = one_minus_gamma(heads, DISTANCES[skeleton]) * 8 / gamma_divider  # (J, H)
        if all(
            gamma.shape == forget.shape and torch.allclose(gamma.double(), 1 - forget, atol=1e-6)
            for gamma, forget in zip(gammas, forgets.T, strict=True)
        ):
            return skeleton
    return None


def _check_decays(weights: Weights, heads: int) -> None:
    """Every layer has the decays of layer 0, between 0 and 1. Missing ones are reported with all missing weights."""
    for layer in range(part_count(weights, "TTEblocks.")):
        for head in range(heads):
            name = GAMMA.format(layer, head)
            gamma, first = weights.get(name), weights.get(GAMMA.format(0, head))
            if gamma is None or first is None:
                continue
            if not torch.equal(gamma, first):
                raise ArtefactError(f"{name} differs from layer 0's", expected="decays that were not trained")
            if not bool(((gamma > 0) & (gamma < 1)).all()):
                raise ArtefactError(f"{name} is not between 0 and 1", expected="decays below 1")
