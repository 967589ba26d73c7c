"""Optimizers: Muon for the hidden weight matrices, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..models.lifter import Lifter
from ..models.mixer import Mixer
from .recipe import Recipe


def make_optimizers(model: Lifter, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """One or two optimizers. No norm, bias, token, position or mixer's parameter decays."""
    hidden, decayed, plain = [], [], []
    mixers = {id(p) for module in model.modules() if isinstance(module, Mixer) for p in module.parameters()}
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        if p.ndim != 2 or id(p) in mixers or "position" in name or name == "tokens":
            plain.append(p)
        elif name.startswith(("embed", "head")) or not recipe.muon:
            decayed.append(p)
        else:
            hidden.append(p)
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=recipe.rate)]
    if hidden:
        muon = torch.optim.Muon(hidden, lr=recipe.muon, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw")
        optimizers.append(muon)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def set_rate(optimizers: Sequence[torch.optim.Optimizer], share: float) -> None:
    """That share of each group's peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * share


def momenta(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """All that optimizers remember, as named tensors."""
    return {
        f"{number}.{index}.{name}": value
        for number, optimizer in enumerate(optimizers)
        for index, kept in optimizer.state_dict()["state"].items()
        for name, value in kept.items()
    }


def restore(optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    """What ``momenta`` told."""
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            optimizer_number, index, key = name.split(".", 2)
            if int(optimizer_number) == number:
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
