"""Softmax attention: over the joints of a frame, and over the frames of a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .mixer import Mixer, MixerConfig
from .precision import at_least_fp32
from .timing import Timing
from .validation import check_literals


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(..., L, C) -> (..., H, L, d)"""
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)  # type: ignore[no-any-return]


def join_heads(x: Tensor) -> Tensor:
    """(..., H, L, d) -> (..., L, C)"""
    return x.transpose(-3, -2).flatten(-2)


def attention_map(q: Tensor, k: Tensor) -> Tensor:
    """softmax(q k' / sqrt(d)), (..., H, L, L) from (..., H, L, d); the softmax is computed in FP32."""
    logits = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    return torch.softmax(at_least_fp32(logits), dim=-1).to(q.dtype)


class Attention(Mixer):
    """PoseMoE's and MixSTE's temporal attention: softmax over the whole window, past and future.

    It carries no state from window to window, so it has ``forward`` alone and is streamed as a sliding window.
    """

    kind: ClassVar[str] = "attention"

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    @property
    def state_shape(self) -> None:
        return None

    def forward(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> Tensor:
        q, k, v = (split_heads(x.transpose(1, 2), self.heads) for x in (q, k, v))  # (B, J, H, T, d)
        return join_heads(attention_map(q, k) @ v).transpose(1, 2)  # (B, T, J, C)


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(MixerConfig):
    """Softmax attention over a window. It has no settings of its own."""

    kind: Literal["attention"] = "attention"

    def __post_init__(self) -> None:
        check_literals(self)

    def build(self, *, dim: int, heads: int, joints: int) -> Attention:
        return Attention(heads)
