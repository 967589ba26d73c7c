"""How a PoseMoE uses its experts: their shares in the router, and the gradients that reach them. No expert may die unseen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..models.lifter import Lifter
from ..models.posemoe import EncoderLayer, PoseMoE
from ..models.router import PoseRouter


def expert_shares(model: Lifter, keypoints: Tensor) -> list[dict[str, float]]:
    """The mean share of the 2D expert in either branch, one entry for each layer with a router; the depth expert has the rest.

    Args:
        keypoints: (B, T, J, channels), lifted from an initial state.
    """
    shares: list[dict[str, float]] = []

    def record(router: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        assert isinstance(router, PoseRouter)
        mean = router.weights(*inputs)[..., 0].mean(dim=(0, 1, 2))  # (branch,) of (B, T, J, branch)
        shares.append({"2d_in_2d": round(float(mean[0]), 4), "2d_in_depth": round(float(mean[1]), 4)})

    routers = [module for module in model.modules() if isinstance(module, PoseRouter)]
    if not routers:
        return []
    hooks = [router.register_forward_hook(record) for router in routers]
    try:
        with torch.no_grad():
            model(keypoints)
    finally:
        for hook in hooks:
            hook.remove()
    return shares


def expert_gradients(model: Lifter) -> list[dict[str, float]]:
    """The norm of the gradients that the last update left in each expert's weights, one entry for each layer."""
    if not isinstance(model, PoseMoE):
        return []
    layers = [layer for layer in model.encoder if isinstance(layer, EncoderLayer)]
    return [{"2d": _gradient_norm(layer.expert_2d), "depth": _gradient_norm(layer.expert_depth)} for layer in layers]


def _gradient_norm(module: nn.Module) -> float:
    squares = [parameter.grad.square().sum() for parameter in module.parameters() if parameter.grad is not None]
    return float(f"{float(torch.stack(squares).sum().sqrt()) if squares else 0.0:.3g}")
