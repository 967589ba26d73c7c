"""Optimizers: Muon for the hidden weight matrices, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..models.lifter import Lifter
from ..models.mixer import Mixer
from .recipe import Recipe


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made nearly orthogonal before each step (K. Jordan, 2024), in updates of AdamW's size.

    As ``torch.optim.Muon(adjust_lr_fn="match_rms_adamw")``, but all matrices of a shape at once and in float32: torch's takes
    one after the other in bfloat16, which was a third of an update's time on a CPU that has no bfloat16.
    """

    def __init__(self, params: Iterable[Tensor], *, lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along the gradients that are there."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append(p)
            for shape, params in shapes.items():
                grads = torch.stack([p.grad for p in params if p.grad is not None])  # (n, rows, columns)
                kept = [self.state[p].setdefault("momentum_buffer", torch.zeros_like(p)) for p in params]
                momenta = torch.stack(kept).lerp(grads, 1 - group["momentum"])
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                steps = orthogonal(grads.lerp(momenta, group["momentum"]))
                for p, memory, momentum, step in zip(params, kept, momenta, steps, strict=True):
                    memory.copy_(momentum)
                    p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step, alpha=rate)


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """(n, rows, columns) with singular values near 1 each, by Newton and Schulz's iteration with Muon's coefficients."""
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.transpose(1, 2) if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        square = x @ x.transpose(1, 2)
        x = 3.4445 * x + (2.0315 * square @ square - 4.775 * square) @ x
    return x.transpose(1, 2) if tall else x


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
        optimizers.append(Muon(hidden, lr=recipe.muon * recipe.rate, weight_decay=recipe.weight_decay))
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
