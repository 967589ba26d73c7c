"""Refinement of a pose over time: a guess of the pose of one frame, corrected by what each joint did before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import LifterConfig
from .layers import EndpointLinear, FeedForward, Norm, TimeMixing, zero_
from .modes import ExecutionMode
from .precision import at_least_fp32


class JointRefinement(nn.Module):
    """Blocks over time in which each joint sees its own past: features of the joints, and corrections of the guess.

    All joints share the blocks and none sees another, so that the blocks learn how joints move and how detectors err. Blocks
    over whole poses learn the poses of the training set by heart instead: their error fell in training and rose on others.

    Args:
        config: of the lifter: its mixer, heads and input.
        dim: channels of a joint.
        layers: of a mixer and a feed-forward network each.
    """

    def __init__(self, config: LifterConfig, *, dim: int, layers: int) -> None:
        super().__init__()
        eps = config.norm_eps
        self.embed = EndpointLinear(3 + config.input_channels, dim)
        self.position = nn.Parameter(torch.zeros(config.joints, dim))
        self.mixers = nn.ModuleList(TimeMixing(dim, config.heads, config.build_mixer(dim=dim), eps=eps) for _ in range(layers))
        self.feeds = nn.ModuleList(FeedForward(dim, 2, eps=eps) for _ in range(layers))
        self.norm = Norm(dim, eps)
        self.head = EndpointLinear(dim, 3)

    def forward(self, x: Tensor, guess: Tensor, mode: ExecutionMode) -> tuple[Tensor, Tensor]:
        """Features (..., J, C), and corrections (..., J, 3) in metres.

        Args:
            x: (..., J, input channels) what the network sees.
            guess: (..., J, 3) metres.
        """
        features = self.embed(torch.cat([guess, x.to(guess.dtype)], dim=-1)) + self.position
        for mix, feed in zip(self.mixers, self.feeds, strict=True):
            features = feed(mix(features, mode))
        return features, at_least_fp32(self.head(self.norm(features)))

    def zero_init_residual(self) -> None:
        """Correct nothing yet."""
        zero_(self.head)
