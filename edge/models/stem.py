"""The stem of our PoseMoE: an MLP over all joints of a frame, from which the experts start."""

from __future__ import annotations

from torch import Tensor, nn

from .config import LifterConfig
from .layers import EndpointLinear, LogSigma, MLPBlock, Norm
from .modes import ExecutionMode
from .precision import at_least_fp32
from .refinement import BoneRefinement


class PoseStem(nn.Module):
    """A residual MLP over all joints of a frame, refined over time: features of each joint, and a guess of the pose.

    Args:
        config: of the lifter, with C channels a joint.
        width: of the MLP.
        over_time: whether the guess is refined by what was guessed before.
    """

    BLOCKS, TIME_LAYERS = 2, 2

    def __init__(self, config: LifterConfig, width: int, *, over_time: bool) -> None:
        super().__init__()
        joints, eps = config.joints, config.norm_eps
        self.joints = joints
        self.embed = EndpointLinear(joints * config.input_channels, width)
        self.blocks = nn.Sequential(*(MLPBlock(width, eps=eps) for _ in range(self.BLOCKS)))
        self.norm = Norm(width, eps)
        self.features = nn.Sequential(nn.Linear(width, width // 4), nn.Linear(width // 4, joints * config.dim))
        self.head = EndpointLinear(width, joints * 3)
        self.sigma: nn.Module | None = None
        self.refine: BoneRefinement | None = None
        if over_time:
            self.sigma = nn.Sequential(Norm(width, eps), LogSigma(width, joints)) if config.sigma else None
            self.refine = BoneRefinement(config, dim=config.dim, layers=self.TIME_LAYERS, sigma=config.sigma)

    def forward(self, x: Tensor, mode: ExecutionMode) -> tuple[Tensor, Tensor]:
        """(..., J, C) features and (..., J, 3) metres, from what the network sees, (..., J, input channels)."""
        whole = self.blocks(self.embed(x.flatten(-2)))  # (..., width)
        h = self.norm(whole)
        features = self.features(h).to(h.dtype).unflatten(-1, (self.joints, -1))
        guess = at_least_fp32(self.head(h)).unflatten(-1, (self.joints, 3))
        if self.refine is not None:
            sigma = None if self.sigma is None else self.sigma(whole.detach())  # (..., J)
            refined, guess = self.refine(x, guess, sigma, mode)
            features = features + refined.to(features.dtype)
        return features, guess
