"""Cross-expert knowledge aggregation (CEKA), the parts of PoseMoE's decoder, equations 12 to 18.

Each expert first attends to the other one (12, 13). The product of the two attention maps (14, 15) maps an expert through the
other one back to itself, and is fused with the expert's own self-attention (16 to 18).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from .attention import attention_map, join_heads
from .layers import EPS, FeedForward, JointAttention, Projections, Readout, TimeMixing, zero_
from .mixer import Mixer
from .modes import ExecutionMode
from .precision import at_least_fp32

CekaVariant = Literal["paper", "tcpformer"]
CekaFeedForward = Literal["each", "cross", "none"]
ApplyMap = Callable[[Tensor], Tensor]
"""A map over time as a function of values, (B, T, J, C) to (B, T, J, C)."""


class CrossExpertAttention(nn.Module):
    """Equations 16 to 18 of one branch, per head. M is the product of the two cross maps; without one, self-attention.

    paper:      F + Softmax((s M + (1 - s) Q K') / sqrt(C)) V,                     s = Sigmoid(mu),
    tcpformer:  F + ((1 - s) Softmax(Q K' / sqrt(d)) + s M) V W_out,  as the authors' earlier TCPFormer has it.
    """

    def __init__(self, dim: int, heads: int, variant: CekaVariant = "paper", *, eps: float = EPS) -> None:
        super().__init__()
        self.heads, self.variant = heads, variant
        self.project = Projections(dim, eps=eps)
        self.mu = nn.Parameter(torch.zeros(()))
        self.out = nn.Linear(dim, dim) if variant == "tcpformer" else nn.Identity()

    def forward(self, x: Tensor, aggregated: Tensor | None) -> Tensor:
        q, k, v = self.project.heads(x, None, self.heads)  # (..., H, L, d)
        cross_weight = torch.sigmoid(self.mu)  # s
        if self.variant == "tcpformer":
            weights = attention_map(q, k)
            if aggregated is not None:
                weights = cross_weight * aggregated + (1 - cross_weight) * weights
        else:
            fused = q @ k.transpose(-2, -1)  # (..., H, L, L)
            if aggregated is not None:
                fused = cross_weight * aggregated + (1 - cross_weight) * fused
            weights = torch.softmax(at_least_fp32(fused * x.shape[-1] ** -0.5), dim=-1).to(v.dtype)
        return x + self.out(join_heads(weights @ v))  # type: ignore[no-any-return]

    def zero_init_residual(self) -> None:
        if isinstance(self.out, nn.Linear):
            zero_(self.out)
            return
        dim = self.project.own.in_features  # no layer follows the values, so their projection is zeroed
        with torch.no_grad():
            self.project.own.weight[2 * dim :] = 0
            self.project.own.bias[2 * dim :] = 0


class CrossExpert(nn.Module):
    """CEKA with softmax attention, exactly as published: over joints or, with the axes swapped, over the frames of a window.

    Args:
        cross, expert: whether there is cross-attention (12, 13), and cross-expert attention (16 to 18).
        feed: a feed-forward after each attention, after the cross-attention alone, or none.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        ratio: int,
        *,
        over_time: bool = False,
        variant: CekaVariant = "paper",
        cross: bool = True,
        expert: bool = True,
        feed: CekaFeedForward = "each",
        eps: float = EPS,
    ) -> None:
        super().__init__()
        self.over_time = over_time
        if cross:
            self.cross_2d = JointAttention(dim, heads, cross=True, eps=eps)
            self.cross_depth = JointAttention(dim, heads, cross=True, eps=eps)
        if expert:
            self.expert_2d = CrossExpertAttention(dim, heads, variant, eps=eps)
            self.expert_depth = CrossExpertAttention(dim, heads, variant, eps=eps)
        self.cross, self.expert = cross, expert
        self.feed = feed_forwards(dim, ratio, cross=cross, expert=expert, feed=feed, eps=eps)

    def forward(self, f_2d: Tensor, f_depth: Tensor, mode: ExecutionMode) -> tuple[Tensor, Tensor]:
        if self.over_time:
            f_2d, f_depth = f_2d.transpose(-3, -2), f_depth.transpose(-3, -2)  # (B, J, T, C)
        via_depth = via_2d = None
        if self.cross:
            f_2d, to_depth = self.cross_2d.with_map(f_2d, f_depth)  # (12), map (..., H, L, L)
            f_2d = self.feed[0](f_2d)
            f_depth, to_2d = self.cross_depth.with_map(f_depth, f_2d)  # (13)
            f_depth = self.feed[1](f_depth)
            via_depth, via_2d = to_depth @ to_2d, to_2d @ to_depth  # (14), (15)
        if self.expert:
            f_2d = self.feed[2](self.expert_2d(f_2d, via_depth))  # (16) to (18)
            f_depth = self.feed[3](self.expert_depth(f_depth, via_2d))
        if self.over_time:
            f_2d, f_depth = f_2d.transpose(-3, -2), f_depth.transpose(-3, -2)
        return f_2d, f_depth


def feed_forwards(dim: int, ratio: int, *, cross: bool, expert: bool, feed: CekaFeedForward, eps: float) -> nn.ModuleList:
    """Feed-forwards after (12), (13), and (18) of either branch; identities where there is none."""
    presence = (*[cross and feed != "none"] * 2, *[expert and feed == "each"] * 2)
    return nn.ModuleList(FeedForward(dim, ratio, eps=eps) if present else nn.Identity() for present in presence)


class StreamingCrossExpert(nn.Module):
    """Temporal CEKA for a mixer without a softmax, where the product of two maps is two passes, one after the other:

        (M1 M2) V = M1 (M2 V), so  s mix(q_2d, k_d, mix(q_d, k_2d, V)) + (1 - s) mix(Q, K, V),  s = Sigmoid(mu),

    each pass with its own state and O(1) per frame. A norm and a gate replace the softmax of (18).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        ratio: int,
        build_mixer: Callable[[], Mixer],
        *,
        cross: bool = True,
        expert: bool = True,
        feed: CekaFeedForward = "each",
        eps: float = EPS,
    ) -> None:
        super().__init__()
        if cross:
            self.cross_2d = TimeMixing(dim, heads, build_mixer(), cross=True, eps=eps)
            self.cross_depth = TimeMixing(dim, heads, build_mixer(), cross=True, eps=eps)
        if expert:
            self.expert_2d = StreamingExpert(dim, heads, build_mixer(), eps=eps)
            self.expert_depth = StreamingExpert(dim, heads, build_mixer(), eps=eps)
        self.cross, self.expert = cross, expert
        self.feed = feed_forwards(dim, ratio, cross=cross, expert=expert, feed=feed, eps=eps)

    def forward(self, f_2d: Tensor, f_depth: Tensor, mode: ExecutionMode) -> tuple[Tensor, Tensor]:
        via_depth: ApplyMap | None = None
        via_2d: ApplyMap | None = None
        if self.cross:
            f_2d, to_depth = self.cross_2d.with_map(f_2d, mode, f_depth)  # (12)
            f_2d = self.feed[0](f_2d)
            f_depth, to_2d = self.cross_depth.with_map(f_depth, mode, f_2d)  # (13)
            f_depth = self.feed[1](f_depth)
            via_depth, via_2d = lambda v: to_depth(to_2d(v)), lambda v: to_2d(to_depth(v))
        if self.expert:
            f_2d = self.feed[2](self.expert_2d(f_2d, mode, via_depth))  # (14), (16) to (18)
            f_depth = self.feed[3](self.expert_depth(f_depth, mode, via_2d))  # (15)
        return f_2d, f_depth


class StreamingExpert(nn.Module):
    """Equations 16 to 18 of one branch, over time. The aggregated map is applied to values instead of multiplied out."""

    def __init__(self, dim: int, heads: int, mixer: Mixer, *, eps: float = EPS) -> None:
        super().__init__()
        self.project = Projections(dim, extra=1, eps=eps)
        self.mixer = mixer
        self.mu = nn.Parameter(torch.zeros(()))
        self.readout = Readout(dim, heads)

    def forward(self, x: Tensor, mode: ExecutionMode, aggregate: ApplyMap | None) -> Tensor:
        q, k, v, gate = self.project(x)
        cross_weight = torch.sigmoid(self.mu)  # s
        if aggregate is None:
            return x + self.readout(mode.mix(self.mixer, q, k, v), gate)  # type: ignore[no-any-return]
        return x + self.readout(cross_weight * aggregate(v) + (1 - cross_weight) * mode.mix(self.mixer, q, k, v), gate)  # type: ignore[no-any-return]

    def zero_init_residual(self) -> None:
        nn.init.zeros_(self.readout.weight)
