"""The layers between the mixers: norms, projections, feed-forward, attention over joints, mixing over time.

Features are (B, T, J, C), in a step (B, J, C); layers over joints and channels alone take either. Blocks are pre-norm and
add their own residual.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import attention_map, join_heads, split_heads
from .mixer import Mixer
from .modes import ExecutionMode
from .precision import at_least_fp32

EPS = 1e-5  # of a layer norm, where a paper or its code gives no other


class Norm(nn.LayerNorm):
    """LayerNorm that stays FP32 in a half-precision copy of the network."""

    keep_fp32 = True

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(
            at_least_fp32(x), self.normalized_shape, at_least_fp32(self.weight), at_least_fp32(self.bias), self.eps
        ).to(x.dtype)


class EndpointLinear(nn.Linear):
    """The first or last linear layer; it stays FP32, so that keypoints and poses keep all their digits."""

    keep_fp32 = True

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


def zero_(layer: nn.Linear) -> None:
    """Zeroes a layer in place: ``zero_init_residual`` does so with a block's last layer, so that the block adds nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class FeedForward(nn.Module):
    """x + W2 GELU(W1 LN(x))"""

    def __init__(self, dim: int, ratio: int, *, eps: float = EPS) -> None:
        super().__init__()
        self.norm = Norm(dim, eps)
        self.up = nn.Linear(dim, ratio * dim)
        self.down = nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(self.norm(x))))  # type: ignore[no-any-return]

    def zero_init_residual(self) -> None:
        zero_(self.down)


class MLPBlock(nn.Module):
    """x + W2 GELU(W1 GELU(LN(x))), over all joints of a frame."""

    def __init__(self, dim: int, *, eps: float = EPS) -> None:
        super().__init__()
        self.norm = Norm(dim, eps)
        self.up = nn.Linear(dim, dim)
        self.down = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(F.gelu(self.norm(x)))))  # type: ignore[no-any-return]


class LogSigma(EndpointLinear):
    """The last layer of a head for standard deviations: their logarithm, and from it metres, between 1 mm and 3 m."""

    LEAST, START, MOST = -6.9, -2.5, 1.1

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        zero_(self)

    def forward(self, x: Tensor) -> Tensor:
        return (at_least_fp32(super().forward(x)) + self.START).clamp(self.LEAST, self.MOST).exp()


class Projections(nn.Module):
    """Queries (and further outputs, such as a gate) from x; keys and values from x or from a context.

    Both are normed first, unless ``norm_context`` is off because all blocks share the context.

    Args:
        extra: further outputs of width C from x: 1 for a gate.
    """

    def __init__(
        self,
        dim: int,
        *,
        cross: bool = False,
        extra: int = 0,
        norm_context: bool = True,
        eps: float = EPS,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.norm = Norm(dim, eps)
        self.own = nn.Linear(dim, (1 + extra if cross else 3 + extra) * dim, bias)
        norm = Norm(dim, eps) if norm_context else nn.Identity()
        self.context = nn.Sequential(norm, nn.Linear(dim, 2 * dim, bias)) if cross else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """q, k, v and the extra ones, each (..., C)."""
        width = x.shape[-1]
        own = self.own(self.norm(x)).split(width, dim=-1)
        if self.context is None:
            return own  # type: ignore[no-any-return]
        return own[0], *self.context(context).split(width, dim=-1), *own[1:]

    def heads(self, x: Tensor, context: Tensor | None, heads: int) -> tuple[Tensor, ...]:
        """q, k, v as (..., H, L, d). The outputs of one matrix product are transposed together."""
        if self.context is None:
            return split_heads(self.own(self.norm(x)), 3 * heads).chunk(3, dim=-3)
        return split_heads(self.own(self.norm(x)), heads), *split_heads(self.context(context), 2 * heads).chunk(2, dim=-3)


class JointAttention(nn.Module):
    """Multi-head self- or cross-attention over the joints of each frame: SpatialMHSA, SpatialMHCA (PoseMoE, 3 and 4)."""

    def __init__(self, dim: int, heads: int, *, cross: bool = False, norm_context: bool = True, eps: float = EPS) -> None:
        super().__init__()
        self.heads = heads
        self.project = Projections(dim, cross=cross, norm_context=norm_context, eps=eps)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.with_map(x, context)[0]

    def with_map(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The block's output and its attention map (..., H, J, J), an input of cross-expert aggregation."""
        q, k, v = self.project.heads(x, context, self.heads)  # (..., H, J, d)
        weights = attention_map(q, k)
        return x + self.out(join_heads(weights @ v)), weights

    def zero_init_residual(self) -> None:
        zero_(self.out)


class Readout(nn.Module):
    """Norm of each head and gate, after a mixer without a softmax (NC-RetNet's group norm and swish gate)."""

    keep_fp32 = True

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, y: Tensor, gate: Tensor) -> Tensor:
        y = at_least_fp32(y).unflatten(-1, (self.heads, -1))  # (..., H, d)
        y = F.layer_norm(y, y.shape[-1:]).flatten(-2) * at_least_fp32(self.weight) + at_least_fp32(self.bias)
        return y.to(gate.dtype) * F.silu(gate)


class TimeMixing(nn.Module):
    """Self- or cross-mixing over time, each joint on its own: TemporalMHSA, TemporalMHCA (PoseMoE, 5 and 6), any mixer."""

    def __init__(
        self,
        dim: int,
        heads: int,
        mixer: Mixer,
        *,
        cross: bool = False,
        norm_context: bool = True,
        eps: float = EPS,
        bias: bool = True,
    ) -> None:
        super().__init__()
        streams = mixer.state_shape is not None
        self.project = Projections(dim, cross=cross, extra=int(streams), norm_context=norm_context, eps=eps, bias=bias)
        self.mixer = mixer
        self.readout = Readout(dim, heads) if streams else None
        self.out = nn.Linear(dim, dim, bias)

    def forward(self, x: Tensor, mode: ExecutionMode, context: Tensor | None = None) -> Tensor:
        return self.with_map(x, mode, context)[0]

    def with_map(
        self, x: Tensor, mode: ExecutionMode, context: Tensor | None = None
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The block's output, and a function that applies its map to other values. Each application has its own state."""
        q, k, v, *gate = self.project(x, context)
        y = mode.mix(self.mixer, q, k, v)
        if self.readout is not None:
            y = self.readout(y, *gate)
        return x + self.out(y), lambda values: mode.mix(self.mixer, q, k, values)

    def zero_init_residual(self) -> None:
        zero_(self.out)
