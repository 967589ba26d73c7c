"""Renames: what becomes of an official weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...runtime.errors import ArtefactError

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Rename:
    """One weight of ours, made of official ones."""

    ours: str
    official: tuple[str, ...]
    made: Callable[..., Tensor] = lambda weight: weight


def shaped(rename: Rename, weights: Weights, shape: torch.Size) -> Tensor:
    """The weight that a rename makes; an ArtefactError where the official ones have shapes that do not make it."""
    try:
        made = rename.made(*(weights[name] for name in rename.official))
    except (RuntimeError, IndexError, ValueError):
        made = None
    if made is None or made.shape != shape:
        name = rename.official[0]
        raise ArtefactError(
            f"the checkpoint's {name} has the shape {tuple(weights[name].shape)}",
            expected=f"one that makes {rename.ours} of {tuple(shape)}",
        )
    return made.clone()


def first(weight: Tensor) -> Tensor:
    """The one row of a weight with a batch axis for broadcasting. More rows stay, and have the wrong shape."""
    return weight.squeeze(0)


def both(ours: str, official: str) -> Iterator[Rename]:
    """Weight and bias."""
    for part in ("weight", "bias"):
        yield Rename(f"{ours}.{part}", (f"{official}.{part}",))


def attention(ours: str, block: str, attn: str = "attn", norm: str = "norm1") -> Iterator[Rename]:
    """A pre-norm self-attention."""
    yield from both(f"{ours}.project.norm", f"{block}.{norm}")
    yield from both(f"{ours}.project.own", f"{block}.{attn}.qkv")
    yield from both(f"{ours}.out", f"{block}.{attn}.proj")


def feed(ours: str, block: str, mlp: str = "mlp", norm: str = "norm2") -> Iterator[Rename]:
    """A pre-norm feed-forward."""
    yield from both(f"{ours}.norm", f"{block}.{norm}")
    yield from both(f"{ours}.up", f"{block}.{mlp}.fc1")
    yield from both(f"{ours}.down", f"{block}.{mlp}.fc2")
