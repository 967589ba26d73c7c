"""Optimizers: Muon for the hidden weight matrices, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..models.lifter import Lifter
from ..models.mixer import Mixer
from .inflate import trunk_parameters
from .recipe import Recipe

KINDS = ("hidden", "decayed", "plain")


class Muon(torch.optim.Optimizer):
    """Momentum SGD with nearly orthogonal updates (K. Jordan, 2024), scaled to the size of AdamW's.

    The same as ``torch.optim.Muon(adjust_lr_fn="match_rms_adamw")``, but for all matrices of a shape at once and in float32.
    Torch's processes one matrix after the other in bfloat16, which took a third of an update on a CPU without bfloat16.
    """

    def __init__(self, params: Iterable[Any], *, lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step; parameters without a gradient do not change."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append(p)
            for shape, params in shapes.items():
                grads = torch.stack([p.grad for p in params if p.grad is not None])  # (n, rows, columns)
                buffers = [self.state[p].setdefault("momentum_buffer", torch.zeros_like(p)) for p in params]
                momenta = torch.stack(buffers).lerp(grads, 1 - group["momentum"])
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                steps = orthogonal(grads.lerp(momenta, group["momentum"]))
                for p, buffer, momentum, step in zip(params, buffers, momenta, steps, strict=True):
                    buffer.copy_(momentum)
                    p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step, alpha=rate)


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """Matrices (n, rows, columns) with all singular values near 1, by the Newton-Schulz iteration with Muon's coefficients."""
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.transpose(1, 2) if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        square = x @ x.transpose(1, 2)
        x = 3.4445 * x + (2.0315 * square @ square - 4.775 * square) @ x
    return x.transpose(1, 2) if tall else x


def make_optimizers(model: Lifter, recipe: Recipe, *, capturable: bool = False) -> list[torch.optim.Optimizer]:
    """AdamW and, for the hidden matrices, Muon. Norms, biases, tokens, positions and mixers do not decay.

    With ``recipe.trunk_rate`` 0, the weights of the trunk require no gradient any more.

    Args:
        capturable: a CUDA graph will replay the steps of AdamW: what changes from step to step, such as the rate, is kept on
            the GPU.
    """
    # (kind, in the trunk) -> parameters
    groups: dict[tuple[str, bool], list[Tensor]] = {(kind, old): [] for kind in KINDS for old in (False, True)}
    mixers = {id(p) for module in model.modules() if isinstance(module, Mixer) for p in module.parameters()}
    slow = trunk_parameters(model) if recipe.trunk_rate != 1 else frozenset()
    for name, p in model.named_parameters():
        in_trunk = name in slow
        if in_trunk and not recipe.trunk_rate:
            p.requires_grad_(False)
        if not p.requires_grad:
            continue
        if p.ndim != 2 or id(p) in mixers or "position" in name or name == "tokens":
            kind = "plain"
        elif name.startswith(("embed", "head", "sigma", "stem")) or not recipe.muon:
            kind = "decayed"
        else:
            kind = "hidden"
        groups[kind, in_trunk].append(p)

    def parameter_group(kind: str, in_trunk: bool) -> dict[str, Any]:
        rate = recipe.rate * (recipe.trunk_rate if in_trunk else 1.0) * (recipe.muon if kind == "hidden" else 1.0)
        decay = 0.0 if kind == "plain" else recipe.weight_decay
        return {"params": groups[kind, in_trunk], "lr": rate, "weight_decay": decay}

    of_adamw = [
        parameter_group(kind, in_trunk) for in_trunk in (False, True) for kind in ("decayed", "plain") if groups[kind, in_trunk]
    ]
    of_muon = [parameter_group("hidden", in_trunk) for in_trunk in (False, True) if groups["hidden", in_trunk]]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(of_adamw, lr=recipe.rate, capturable=capturable)]
    if of_muon:
        optimizers.append(Muon(of_muon, lr=recipe.muon * recipe.rate, weight_decay=recipe.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
            if capturable:
                group["lr"] = torch.tensor(group["lr"], device=group["params"][0].device)
    return optimizers


def set_rate(optimizers: Sequence[torch.optim.Optimizer], share: float) -> None:
    """Set each group's learning rate to that share of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            rate = group["initial_lr"] * share
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def optimizer_states(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The states of the optimizers as named tensors: ``OPTIMIZER.PARAMETER.NAME``."""
    return {
        f"{number}.{index}.{name}": value
        for number, optimizer in enumerate(optimizers)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def load_optimizer_states(optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    """Set the states to what ``optimizer_states`` returned."""
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            optimizer_number, index, key = name.split(".", 2)
            if int(optimizer_number) == number:
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
