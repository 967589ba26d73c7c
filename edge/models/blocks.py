"""The blocks that a topology stacks: one over the joints of a frame, one over the frames of a joint.

There are two kinds. A transformer block is attention (over time: any mixer) and a feed-forward, as in MixSTE, PoseRetNet and
MotionBERT. A gated block is HumMUSS's: diagonal state space filters between projections, and no feed-forward. A topology
works with either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from ...runtime.errors import UsageError
from .config import LifterConfig
from .dssm import DSSM, ReverseDSSM
from .layers import FeedForward, JointAttention, Norm, TimeMixing
from .mixer import Mixer
from .modes import ExecutionMode

BlockKind = Literal["transformer", "gated"]


@dataclass(frozen=True, kw_only=True)
class StackConfig(LifterConfig):
    """A lifter that stacks blocks.

    Args:
        block: the kind of block.
        bias: whether the projections around a temporal mixer, and all of those of a gated block, have one.
        expansion, reduction: n and k of a gated block.
    """

    block: BlockKind = "transformer"
    bias: bool = True
    expansion: int = 3
    reduction: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gated and self.dim % self.reduction:
            raise UsageError(f"{self.dim} channels reduced by {self.reduction}", expected="a divisor")

    @property
    def gated(self) -> bool:
        return self.block == "gated"

    def joint_block(self) -> nn.Module:
        """One block over joints, called with x."""
        return GatedJoints(self) if self.gated else TransformerJoints(self)

    def time_block(self) -> nn.Module:
        """One block over time, called with x and the execution mode."""
        return GatedTime(self) if self.gated else TransformerTime(self)


class TransformerJoints(nn.Module):
    """Attention over the joints of each frame, and a feed-forward."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.attention = JointAttention(config.dim, config.heads, eps=config.norm_eps)
        self.feed = FeedForward(config.dim, config.mlp_ratio, eps=config.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.feed(self.attention(x))  # type: ignore[no-any-return]


class TransformerTime(nn.Module):
    """A mixer over the frames of each joint, and a feed-forward."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        eps = config.norm_eps
        self.mixing = TimeMixing(config.dim, config.heads, config.build_mixer(), eps=eps, bias=config.bias)
        self.feed = FeedForward(config.dim, config.mlp_ratio, eps=eps)

    def forward(self, x: Tensor, mode: ExecutionMode) -> Tensor:
        return self.feed(self.mixing(x, mode))  # type: ignore[no-any-return]


class GatedBlock(nn.Module):
    """HumMUSS's gated DSSM block, sections 4.1 (both directions) and 4.2 (one):

    x_id = GELU(LN(x) W_id),   x_f = DSSM_f(GELU(LN(x) W_f1)) W_f2,   x_b the same from the last position to the first,
    both directions:  x + (GELU((x_f x_b) W_cb) x_id) W_out,      one:  x + (x_f x_id) W_out.
    """

    def __init__(self, config: StackConfig, *, both: bool) -> None:
        super().__init__()
        dim, inner, narrow = config.dim, config.expansion * config.dim, config.dim // config.reduction

        def filters() -> DSSM:
            mixer = config.build_mixer(dim=narrow)
            assert isinstance(mixer, DSSM)  # LifterConfig refuses gated blocks of another mixer
            return mixer

        self.norm = Norm(dim, config.norm_eps)
        self.identity = nn.Linear(dim, inner, config.bias)  # W_id
        self.ahead_in, self.ahead = nn.Linear(dim, narrow, config.bias), filters()  # W_f1
        self.ahead_out = nn.Linear(narrow, dim if both else inner, config.bias)  # W_f2
        self.both = both
        if both:
            self.back_in, self.back = nn.Linear(dim, narrow, config.bias), ReverseDSSM(filters())  # W_b1
            self.back_out = nn.Linear(narrow, dim, config.bias)  # W_b2
            self.combine = nn.Linear(dim, inner, config.bias)  # W_cb
        self.out = nn.Linear(inner, dim, config.bias)  # W_out

    def gated(self, x: Tensor, run: Callable[[Mixer, Tensor], Tensor]) -> Tensor:
        """The block; ``run`` applies a filter along the axis that the block works on."""
        normed = self.norm(x)
        mixed = self.ahead_out(run(self.ahead, F.gelu(self.ahead_in(normed))).to(x.dtype))
        if self.both:
            back = self.back_out(run(self.back, F.gelu(self.back_in(normed))).to(x.dtype))
            mixed = F.gelu(self.combine(mixed * back))
        return x + self.out(mixed * F.gelu(self.identity(normed)))  # type: ignore[no-any-return]


class GatedJoints(GatedBlock):
    """A gated block over the joints of each frame, as a sequence, in both directions."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__(config, both=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gated(x, filter_joints)


def filter_joints(mixer: Mixer, u: Tensor) -> Tensor:
    """(..., J, C) filtered along the joints."""
    if isinstance(mixer, ReverseDSSM):
        return mixer.dssm.convolve(u.flip(-2), dim=-2).flip(-2)
    assert isinstance(mixer, DSSM)
    return mixer.convolve(u, dim=-2)


class GatedTime(GatedBlock):
    """A gated block over the frames of each joint: in both directions over a window, forward alone in a stream."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__(config, both=config.lookahead)

    def forward(self, x: Tensor, mode: ExecutionMode) -> Tensor:
        ones = x.new_ones(())
        return self.gated(x, lambda mixer, u: mode.mix(mixer, ones, ones, u))
