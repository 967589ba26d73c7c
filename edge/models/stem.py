"""The stem of our PoseMoE: an MLP over all joints of a frame, from which the experts start."""

from __future__ import annotations

from torch import Tensor, nn

from .config import LifterConfig
from .layers import EndpointLinear, MLPBlock, Norm, PoseTimeMixing
from .modes import ExecutionMode
from .precision import at_least_fp32


class PoseStem(nn.Module):
    """A residual MLP over all joints of a frame, with a mixer over time: features of each joint, and a guess of the pose.

    Args:
        config: of the lifter, with C channels a joint.
        width: of the MLP.
        over_time: whether the mixer mixes whole poses after the first block.
    """

    BLOCKS = 2

    def __init__(self, config: LifterConfig, width: int, *, over_time: bool) -> None:
        super().__init__()
        joints, eps = config.joints, config.norm_eps
        self.joints = joints
        self.embed = EndpointLinear(joints * config.input_channels, width)
        self.blocks = nn.Sequential(*(MLPBlock(width, eps=eps) for _ in range(self.BLOCKS)))
        self.time = None
        if over_time:
            self.time = PoseTimeMixing(width, joints, config.dim, config.heads, config.build_mixer(), eps=eps)
        self.norm = Norm(width, eps)
        self.features = nn.Sequential(nn.Linear(width, width // 4), nn.Linear(width // 4, joints * config.dim))
        self.head = EndpointLinear(width, joints * 3)

    def forward(self, x: Tensor, mode: ExecutionMode) -> tuple[Tensor, Tensor]:
        """(..., J, C) features and (..., J, 3) metres, from what the network sees, (..., J, input channels)."""
        h = self.blocks[0](self.embed(x.flatten(-2)))  # (..., width)
        if self.time is not None:
            h = self.time(h, mode)
        h = self.norm(self.blocks[1:](h))
        features = self.features(h).to(h.dtype).unflatten(-1, (self.joints, -1))
        return features, at_least_fp32(self.head(h)).unflatten(-1, (self.joints, 3))
