"""The alternating topology: blocks over joints and over time by turns. MixSTE with attention, PoseRetNet with retention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from .blocks import StackConfig
from .layers import EPS, EndpointLinear, Norm
from .lifter import Lifter
from .modes import ExecutionMode
from .precision import at_least_fp32


@dataclass(frozen=True, kw_only=True)
class AlternatingConfig(StackConfig):
    """A MixSTE (arXiv 2203.00859) or, with retention, a PoseRetNet (ECCV 2024)."""

    topology: Literal["alternating"] = "alternating"


class Alternating(Lifter):
    """N pairs of a block over joints and a block over time.

    One norm follows every block over joints, another one every block over time, each shared by all layers. Embeddings of
    joint positions are added first; embeddings of time positions, which only a window has, before the first block over time.
    """

    config: AlternatingConfig

    def __init__(self, config: AlternatingConfig) -> None:
        super().__init__(config)
        dim = config.dim
        self.position = nn.Parameter(torch.randn(config.joints, dim) * 0.02)
        self.position_time = None if config.window is None else nn.Parameter(torch.randn(config.window, 1, dim) * 0.02)
        self.over_joints = nn.ModuleList(config.joint_block() for _ in range(config.layers))
        self.over_time = nn.ModuleList(config.time_block() for _ in range(config.layers))
        self.norm_joints = Norm(dim, config.norm_eps)
        self.norm_time = Norm(dim, config.norm_eps)
        self.head = nn.Sequential(Norm(dim, EPS), EndpointLinear(dim, 3))
        self.number_states()

    def lift(self, x: Tensor, mode: ExecutionMode) -> Tensor:
        x = self.embed(x.to(self.embed.weight.dtype)) + self.position  # (..., J, C)
        for layer, (joints, time) in enumerate(zip(self.over_joints, self.over_time, strict=True)):
            if layer > 0:
                (x,) = mode.before_layer(layer, x)
            x = self.norm_joints(joints(x))
            if layer == 0:
                if self.position_time is not None:
                    x = x + self.position_time[: x.shape[-3]]
                (x,) = mode.before_layer(0, x)
            x = self.norm_time(time(x, mode))
        return mode.after_head(at_least_fp32(self.head(mode.before_head(x))))
