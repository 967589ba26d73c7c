"""A single-frame baseline: the pose from one frame, without time (Martinez et al., ICCV 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from .config import LifterConfig
from .layers import EndpointLinear, Norm
from .lifter import Lifter
from .modes import ExecutionMode
from .precision import at_least_fp32


@dataclass(frozen=True, kw_only=True)
class FrameConfig(LifterConfig):
    """A residual MLP over all joints of one frame; ``heads`` and ``mlp_ratio`` are not used."""

    topology: Literal["frame"] = "frame"
    mixer: None = None
    window: int | None = 1
    heads: int = 1


class FrameBlock(nn.Module):
    """x + W2 GELU(W1 GELU(LN(x)))"""

    def __init__(self, config: FrameConfig) -> None:
        super().__init__()
        self.norm = Norm(config.dim, config.norm_eps)
        self.up = nn.Linear(config.dim, config.dim)
        self.down = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(F.gelu(self.norm(x)))))  # type: ignore[no-any-return]


class FrameLifter(Lifter):
    """Lifts each frame independently, from all of its joints."""

    config: FrameConfig

    def __init__(self, config: FrameConfig) -> None:
        super().__init__(config)
        self.embed = EndpointLinear(config.joints * config.channels, config.dim)
        self.blocks = nn.Sequential(*(FrameBlock(config) for _ in range(config.layers)))
        self.head = nn.Sequential(Norm(config.dim, config.norm_eps), EndpointLinear(config.dim, 3 * config.joints))

    def lift(self, x: Tensor, mode: ExecutionMode) -> Tensor:
        features = self.embed(x.to(self.embed.weight.dtype).flatten(-2))  # (..., C)
        return mode.after_head(at_least_fp32(self.head(self.blocks(features))).unflatten(-1, (self.config.joints, 3)))
