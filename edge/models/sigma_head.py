"""Heads that give each joint a standard deviation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import EPS, EndpointLinear, LogSigma, Norm, zero_
from .precision import at_least_fp32


class SigmaHead(nn.Module):
    """The standard deviation of each joint, from the features of both branches. Its gradient does not reach them."""

    def __init__(self, dim: int, joints: int, *, eps: float = EPS) -> None:
        super().__init__()
        self.norm = Norm(2 * dim, eps)
        self.hidden = nn.Linear(2 * dim, dim)
        self.log_sigma = LogSigma(dim, 1)
        self.log_scale = nn.Parameter(torch.zeros(joints, 1))  # of each joint

    def forward(self, f_2d: Tensor, f_depth: Tensor) -> Tensor:
        """(..., J, 1) metres."""
        features = torch.cat([at_least_fp32(f_2d), at_least_fp32(f_depth)], dim=-1).detach()
        sigma: Tensor = self.log_sigma(F.gelu(self.hidden(self.norm(features))))
        return sigma * self.log_scale.exp()


class SigmaFactor(nn.Module):
    """A factor on the standard deviation of each joint, from features over time. Its gradient does not reach them."""

    MOST_LOG = 3.0

    def __init__(self, dim: int, joints: int, *, eps: float = EPS) -> None:
        super().__init__()
        self.norm = Norm(dim, eps)
        self.out = EndpointLinear(dim, 1)
        self.log_scale = nn.Parameter(torch.zeros(joints))

    def forward(self, features: Tensor) -> Tensor:
        """(..., J) from (..., J, C)"""
        log = at_least_fp32(self.out(self.norm(features.detach())))[..., 0]
        return (log.clamp(-self.MOST_LOG, self.MOST_LOG) + self.log_scale).exp()

    def zero_init_residual(self) -> None:
        """Change nothing yet."""
        zero_(self.out)
