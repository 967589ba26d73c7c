"""The router of PoseMoE: how much of each expert goes into either branch (equations 10 and 11)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .layers import EPS, Norm, zero_
from .precision import at_least_fp32


class PoseRouter(nn.Module):
    """Each branch is a weighted sum of both experts, with weights for each token (equations 10 and 11).

    The published gate reads features whose size grows from layer to layer, so that its softmax saturates: an expert whose
    weight is 0 everywhere is dead, and no gradient brings it back. A bounded gate reads normed features, begins with equal
    weights, and cuts its logits smoothly at ``BOUND``: each weight stays between 1 / (1 + e^(2 BOUND)) and the rest, and no
    expert can die.
    """

    BOUND = 1.5  # weights from 4.7 % to 95.3 %

    def __init__(
        self,
        dim: int,
        reads: Literal["together", "in_turn"] = "together",
        gate: Literal["raw", "bounded"] = "raw",
        *,
        eps: float = EPS,
    ) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * dim, 4)  # F_FC^2D and F_FC^D, two weights each
        self.reads = reads
        self.norm_2d: Norm | None = None
        self.norm_depth: Norm | None = None
        if gate == "bounded":
            self.norm_2d, self.norm_depth = Norm(dim, eps), Norm(dim, eps)
            zero_(self.gate)

    def forward(self, f_2d: Tensor, f_depth: Tensor) -> tuple[Tensor, Tensor]:
        to_2d, to_depth = self._mix_experts(f_2d, f_depth)
        if self.reads == "in_turn":
            to_depth = self._mix_experts(to_2d, f_depth)[1]
        return to_2d, to_depth

    def _mix_experts(self, f_2d: Tensor, f_depth: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sums of both experts, for either branch."""
        weights = self.weights(f_2d, f_depth).to(f_2d.dtype)
        mixed = weights[..., :1] * f_2d[..., None, :] + weights[..., 1:] * f_depth[..., None, :]  # (..., J, branch, C)
        return mixed[..., 0, :], mixed[..., 1, :]

    def weights(self, f_2d: Tensor, f_depth: Tensor) -> Tensor:
        """(..., J, branch, expert) the share of each expert in either branch, float32."""
        if self.norm_2d is None or self.norm_depth is None:
            logits = at_least_fp32(self.gate(torch.cat([f_2d, f_depth], dim=-1)))
        else:
            logits = self.gate(torch.cat([self.norm_2d(f_2d), self.norm_depth(f_depth)], dim=-1))
            logits = self.BOUND * torch.tanh(at_least_fp32(logits) / self.BOUND)
        return torch.softmax(logits.unflatten(-1, (2, 2)), dim=-1)
