"""A single-frame baseline: the pose from one frame, without time (Martinez et al., ICCV 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from .config import LifterConfig
from .layers import EndpointLinear, LogSigma, MLPBlock, Norm
from .lifter import Lifter
from .mixer import MixerConfig
from .modes import ExecutionMode
from .precision import at_least_fp32
from .refinement import BoneRefinement
from .sigma_head import SigmaFactor


@dataclass(frozen=True, kw_only=True)
class FrameConfig(LifterConfig):
    """A residual MLP over all joints of one frame; ``mlp_ratio`` is not used.

    Args:
        mixer: of the blocks that refine the pose over time; None lifts each frame by itself.
        mix_dim: channels of a bone in those blocks, in ``heads`` heads.
        time_layers: how many blocks.
    """

    topology: Literal["frame"] = "frame"
    mixer: MixerConfig | None = None
    window: int | None = 1
    heads: int = 1
    mix_dim: int = 64
    time_layers: int = 2


class FrameLifter(Lifter):
    """Lifts each frame from all of its joints, and with a mixer refines the pose by what was guessed before."""

    config: FrameConfig

    def __init__(self, config: FrameConfig) -> None:
        super().__init__(config)
        self.embed = EndpointLinear(config.joints * config.input_channels, config.dim)
        self.blocks = nn.Sequential(*(MLPBlock(config.dim, eps=config.norm_eps) for _ in range(config.layers)))
        self.head = nn.Sequential(Norm(config.dim, config.norm_eps), EndpointLinear(config.dim, 3 * config.joints))
        self.sigma = (
            nn.Sequential(Norm(config.dim, config.norm_eps), LogSigma(config.dim, config.joints)) if config.sigma else None
        )
        self.refine: BoneRefinement | None = None
        self.sigma_factor: SigmaFactor | None = None
        if config.mixer is not None:
            self.refine = BoneRefinement(config, dim=config.mix_dim, layers=config.time_layers, sigma=config.sigma)
            self.sigma_factor = SigmaFactor(config.mix_dim, config.joints, eps=config.norm_eps) if config.sigma else None
        self.number_states()

    def scale_sigma(self, factors: Tensor) -> None:
        if self.sigma is None:
            return super().scale_sigma(factors)
        last = self.sigma[-1]
        assert isinstance(last, LogSigma)
        with torch.no_grad():
            (last.bias if self.sigma_factor is None else self.sigma_factor.log_scale).add_(factors.log())

    def lift(self, x: Tensor, mode: ExecutionMode) -> Tensor:
        h = self.blocks(self.embed(x.to(self.embed.weight.dtype).flatten(-2)))  # (..., C)
        pose = at_least_fp32(self.head(h)).unflatten(-1, (self.config.joints, 3))
        sigma = self.sigma(h.detach()) if self.sigma is not None else None  # (..., J)
        if self.refine is not None:
            features, pose = self.refine(x, pose, sigma, mode)
            if sigma is not None and self.sigma_factor is not None:
                sigma = sigma * self.sigma_factor(features)
        return mode.after_head(pose if sigma is None else torch.cat([pose, sigma[..., None]], dim=-1))
