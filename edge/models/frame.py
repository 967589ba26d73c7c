"""A single-frame baseline: the pose from one frame, without time (Martinez et al., ICCV 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from .config import LifterConfig
from .layers import EndpointLinear, LogSigma, MLPBlock, Norm, PoseTimeMixing
from .lifter import Lifter
from .mixer import MixerConfig
from .modes import ExecutionMode
from .precision import at_least_fp32


@dataclass(frozen=True, kw_only=True)
class FrameConfig(LifterConfig):
    """A residual MLP over all joints of one frame; ``mlp_ratio`` is not used.

    Args:
        mixer: mixes the poses of different frames, after the first block; None lifts each frame by itself.
        mix_dim: channels a joint of that mixer, in ``heads`` heads.
    """

    topology: Literal["frame"] = "frame"
    mixer: MixerConfig | None = None
    window: int | None = 1
    heads: int = 1
    mix_dim: int = 64


class FrameLifter(Lifter):
    """Lifts each frame from all of its joints: by itself, or with what a mixer carries over time."""

    config: FrameConfig

    def __init__(self, config: FrameConfig) -> None:
        super().__init__(config)
        self.embed = EndpointLinear(config.joints * config.input_channels, config.dim)
        self.blocks = nn.Sequential(*(MLPBlock(config.dim, eps=config.norm_eps) for _ in range(config.layers)))
        self.time = None
        if config.mixer is not None:
            mixer = config.build_mixer(dim=config.mix_dim)
            self.time = PoseTimeMixing(config.dim, config.joints, config.mix_dim, config.heads, mixer, eps=config.norm_eps)
        self.head = nn.Sequential(Norm(config.dim, config.norm_eps), EndpointLinear(config.dim, 3 * config.joints))
        self.sigma = (
            nn.Sequential(Norm(config.dim, config.norm_eps), LogSigma(config.dim, config.joints)) if config.sigma else None
        )
        self.number_states()

    def scale_sigma(self, factors: Tensor) -> None:
        if self.sigma is None:
            return super().scale_sigma(factors)
        last = self.sigma[-1]
        assert isinstance(last, LogSigma)
        with torch.no_grad():
            last.bias.add_(factors.log())

    def lift(self, x: Tensor, mode: ExecutionMode) -> Tensor:
        features = self.embed(x.to(self.embed.weight.dtype).flatten(-2))  # (..., C)
        features = self.blocks[0](features)
        if self.time is not None:
            features = self.time(features, mode)
        features = self.blocks[1:](features)
        pose = at_least_fp32(self.head(features)).unflatten(-1, (self.config.joints, 3))
        if self.sigma is not None:
            pose = torch.cat([pose, self.sigma(features.detach())[..., None]], dim=-1)
        return mode.after_head(pose)
