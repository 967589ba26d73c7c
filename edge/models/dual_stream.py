"""The dual-stream topology, both orders of joints and time side by side. MotionBERT with attention, HumMUSS with gated dssm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from .blocks import StackConfig
from .layers import EndpointLinear, Norm
from .lifter import Lifter
from .modes import ExecutionMode
from .precision import at_least_fp32


@dataclass(frozen=True, kw_only=True)
class DualStreamConfig(StackConfig):
    """A DSTformer (MotionBERT, arXiv 2210.06551) or, with gated blocks, a HumMUSS (arXiv 2404.10880).

    Args:
        representation: width of the layer before the regression head.
        positions: whether joints, and the frames of a window, have position embeddings.
    """

    topology: Literal["dual_stream"] = "dual_stream"
    representation: int = 512
    positions: bool = True


class DualStreamLayer(nn.Module):
    """Both orders side by side, combined with weights for each token: softmax([x_st, x_ts] W)."""

    def __init__(self, config: DualStreamConfig) -> None:
        super().__init__()
        self.joints_first, self.then_time = config.joint_block(), config.time_block()
        self.time_first, self.then_joints = config.time_block(), config.joint_block()
        self.weigh = nn.Linear(2 * config.dim, 2)
        nn.init.zeros_(self.weigh.weight)
        nn.init.constant_(self.weigh.bias, 0.5)

    def forward(self, x: Tensor, mode: ExecutionMode) -> Tensor:
        st = self.then_time(self.joints_first(x), mode)
        ts = self.then_joints(self.time_first(x, mode))
        weights = torch.softmax(at_least_fp32(self.weigh(torch.cat([st, ts], dim=-1))), dim=-1).to(x.dtype)
        return st * weights[..., :1] + ts * weights[..., 1:]  # type: ignore[no-any-return]


class DualStream(Lifter):
    """N layers of both streams, a norm, a tanh layer and a regression head."""

    config: DualStreamConfig

    def __init__(self, config: DualStreamConfig) -> None:
        super().__init__(config)
        dim, frames = config.dim, config.window
        self.position = nn.Parameter(torch.randn(config.joints, dim) * 0.02) if config.positions else None
        has_time_positions = config.positions and frames is not None
        self.position_time = nn.Parameter(torch.randn(frames or 0, 1, dim) * 0.02) if has_time_positions else None
        self.layers = nn.ModuleList(DualStreamLayer(config) for _ in range(config.layers))
        self.norm = Norm(dim, config.norm_eps)
        self.represent = nn.Linear(dim, config.representation)
        self.head = EndpointLinear(config.representation, 3)
        self.number_states()

    def lift(self, x: Tensor, mode: ExecutionMode) -> Tensor:
        return mode.after_head(at_least_fp32(self.head(self.represented(x, mode))))

    def represented(self, x: Tensor, mode: ExecutionMode) -> Tensor:
        """(..., J, representation): MotionBERT's motion representation, an input for heads other than the pose head."""
        x = self.embed(x.to(self.embed.weight.dtype))  # (..., J, C)
        if self.position is not None:
            x = x + self.position
        if self.position_time is not None:
            x = x + self.position_time[: x.shape[-3]]
        for index, layer in enumerate(self.layers):
            (x,) = mode.before_layer(index, x)
            x = layer(x, mode)
        return torch.tanh(self.represent(self.norm(mode.before_head(x))))
