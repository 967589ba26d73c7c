"""The names of an official checkpoint's weights, without what wrappers around the network added to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...runtime.errors import ArtefactError

# Parts that a wrapper puts into a name, wherever: torch.compile, FSDP, activation checkpointing, Lightning's strategies.
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
PARALLEL = "module"  # DataParallel's, DistributedDataParallel's and AveragedModel's, in front of a name
COUNTERS = {"n_averaged"}  # AveragedModel's own buffer
FAMILY_MARKS = {
    "motionbert": ("joints_embed.weight", "blocks_st.0.norm1_s.weight"),
    "poseretnet": ("TTEblocks.0.attn.retentions.0.W_Q", "TTEblocks.0.attn.W_G"),
    "mixste": ("Temporal_pos_embed", "TTEblocks.0.attn.qkv.weight"),
}
"""Family -> weights that only its checkpoints have, whatever their sizes."""


def clean_state_dict(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors by the names of the published code: without the prefixes of wrappers, in any order, or one that all share.

    Where other networks lie beside (a loss, a discriminator), the weights are those below the only prefix that holds the marks
    of a family.

    Raises:
        ArtefactError: an entry that is no tensor of finite real numbers, or a weight that is there twice.
    """
    weights: dict[str, Tensor] = {}
    for name, weight in state_dict.items():
        if not isinstance(name, str) or not isinstance(weight, Tensor):
            raise ArtefactError(f"the state dict holds {type(weight).__name__} at {name!r}", expected="tensors by name")
        parts = [part for part in name.split(".") if part not in WRAPPERS]
        while len(parts) > 1 and parts[0] == PARALLEL:
            parts = parts[1:]
        short = ".".join(parts)
        if short in COUNTERS:
            continue
        if short in weights:
            raise ArtefactError(f"the checkpoint holds {short} twice, under DataParallel's name and without", expected="one")
        weights[short] = weight
    weights = _below_the_network(_without_shared_prefix(weights))
    for name, weight in weights.items():
        _check_numbers(name, weight)
    return weights


def guess_family(weights: Mapping[str, Tensor]) -> str | None:
    """The family whose marks are among the names; None for none."""
    return next((family for family, marks in FAMILY_MARKS.items() if any(mark in weights for mark in marks)), None)


def _without_shared_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    while len(weights) > 1 and all("." in name for name in weights):
        first = {name.partition(".")[0] for name in weights}
        if len(first) > 1:
            break
        weights = {name.partition(".")[2]: weight for name, weight in weights.items()}
    return weights


def _below_the_network(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    if guess_family(weights):
        return weights
    marks = [mark for of_family in FAMILY_MARKS.values() for mark in of_family]
    prefixes = {name.removesuffix(mark) for name in weights for mark in marks if name.endswith(f".{mark}")}
    if len(prefixes) > 1:
        listed = ", ".join(sorted(prefix.rstrip(".") for prefix in prefixes))
        raise ArtefactError(f"the checkpoint holds {len(prefixes)} networks: {listed}", expected="a checkpoint of one of them")
    for prefix in prefixes:
        return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
    return weights


def _check_numbers(name: str, weight: Tensor) -> None:
    if not weight.is_floating_point():
        raise ArtefactError(f"the checkpoint's {name} holds {weight.dtype}", expected="floating-point numbers")
    if weight.is_meta:
        raise ArtefactError(f"the checkpoint's {name} has a shape and no numbers", expected="finite numbers")
    if not bool(torch.isfinite(weight).all()):
        raise ArtefactError(f"the checkpoint's {name} holds {weight.dtype} that is not finite", expected="finite numbers")
