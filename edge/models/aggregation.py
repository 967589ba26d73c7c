"""Cross-expert knowledge aggregation (CEKA), the parts of PoseMoE's decoder, equations 12 to 18.

Each expert first attends to the other one (12, 13). The product of the two maps (14, 15) leads from an expert through the
other one back to itself, and is fused with the expert's own self-attention (16 to 18).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .attention import join_heads
from .forms import Form
from .layers import FeedForward, JointAttention, Projections, Readout, TimeMixing
from .mixer import Mixer
from .precision import wide


class CrossExpertAttention(nn.Module):
    """Equations 16 to 18 of one branch: F + Softmax((s M + (1 - s) Q K') / sqrt(C)) V, s = Sigmoid(mu), per head."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = Projections(dim, cross=False)
        self.mu = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, aggregated: Tensor) -> Tensor:
        q, k, v = self.project.heads(x, None, self.heads)  # (..., H, L, d)
        share = torch.sigmoid(self.mu)
        fused = share * aggregated + (1 - share) * (q @ k.transpose(-2, -1))  # (..., H, L, L)
        weights = torch.softmax(wide(fused * x.shape[-1] ** -0.5), dim=-1).to(x.dtype)
        return x + join_heads(weights @ v)


class CrossExpert(nn.Module):
    """CEKA with softmax attention, exactly as published: over joints or, with the axes exchanged, over a window's frames."""

    def __init__(self, dim: int, heads: int, ratio: int, *, over_time: bool = False) -> None:
        super().__init__()
        self.over_time = over_time
        self.cross_2d = JointAttention(dim, heads, cross=True)
        self.cross_depth = JointAttention(dim, heads, cross=True)
        self.expert_2d = CrossExpertAttention(dim, heads)
        self.expert_depth = CrossExpertAttention(dim, heads)
        self.feed = nn.ModuleList(FeedForward(dim, ratio) for _ in range(4))

    def forward(self, f_2d: Tensor, f_depth: Tensor, form: Form) -> tuple[Tensor, Tensor]:
        if self.over_time:
            f_2d, f_depth = f_2d.transpose(-3, -2), f_depth.transpose(-3, -2)  # (B, J, T, C)
        f_2d, to_depth = self.cross_2d.mapped(f_2d, f_depth)  # (12), map (..., H, L, L)
        f_2d = self.feed[0](f_2d)
        f_depth, to_2d = self.cross_depth.mapped(f_depth, f_2d)  # (13)
        f_depth = self.feed[1](f_depth)
        f_2d = self.feed[2](self.expert_2d(f_2d, to_depth @ to_2d))  # (14), (16) to (18)
        f_depth = self.feed[3](self.expert_depth(f_depth, to_2d @ to_depth))  # (15)
        if self.over_time:
            f_2d, f_depth = f_2d.transpose(-3, -2), f_depth.transpose(-3, -2)
        return f_2d, f_depth


class StreamingCrossExpert(nn.Module):
    """Temporal CEKA for a mixer without a softmax, where the product of two maps is two passes, one after the other:

        (M1 M2) V = M1 (M2 V), so  s mix(q_2d, k_d, mix(q_d, k_2d, V)) + (1 - s) mix(Q, K, V),  s = Sigmoid(mu),

    each pass with a memory of its own and O(1) per frame. A norm and a gate stand where the softmax of (18) stood.
    """

    def __init__(self, dim: int, heads: int, ratio: int, make_mixer: Callable[[], Mixer]) -> None:
        super().__init__()
        self.cross_2d = TimeMixing(dim, heads, make_mixer(), cross=True)
        self.cross_depth = TimeMixing(dim, heads, make_mixer(), cross=True)
        self.expert_2d = StreamingExpert(dim, heads, make_mixer())
        self.expert_depth = StreamingExpert(dim, heads, make_mixer())
        self.feed = nn.ModuleList(FeedForward(dim, ratio) for _ in range(4))

    def forward(self, f_2d: Tensor, f_depth: Tensor, form: Form) -> tuple[Tensor, Tensor]:
        f_2d, to_depth = self.cross_2d.mapped(f_2d, form, f_depth)  # (12)
        f_2d = self.feed[0](f_2d)
        f_depth, to_2d = self.cross_depth.mapped(f_depth, form, f_2d)  # (13)
        f_depth = self.feed[1](f_depth)
        f_2d = self.feed[2](self.expert_2d(f_2d, form, lambda v: to_depth(to_2d(v))))  # (14), (16) to (18)
        f_depth = self.feed[3](self.expert_depth(f_depth, form, lambda v: to_2d(to_depth(v))))  # (15)
        return f_2d, f_depth


class StreamingExpert(nn.Module):
    """Equations 16 to 18 of one branch, over time, with an aggregated map that is applied instead of multiplied out."""

    def __init__(self, dim: int, heads: int, mixer: Mixer) -> None:
        super().__init__()
        self.project = Projections(dim, cross=False, extra=1)
        self.mixer = mixer
        self.mu = nn.Parameter(torch.zeros(()))
        self.readout = Readout(dim, heads)

    def forward(self, x: Tensor, form: Form, aggregate: Callable[[Tensor], Tensor]) -> Tensor:
        q, k, v, gate = self.project(x)
        share = torch.sigmoid(self.mu)
        return x + self.readout(share * aggregate(v) + (1 - share) * form.mix(self.mixer, q, k, v), gate)  # type: ignore[no-any-return]
