"""Conversion: which official weights each weight of a network is computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...runtime.errors import ArtefactError

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class ConvertedWeight:
    """One weight of a network, computed from official ones.

    Args:
        name: in the network's state dict.
        sources: the official names.
        convert: from the official weights, in the order of ``sources``; the weight itself by default.
    """

    name: str
    sources: tuple[str, ...]
    convert: Callable[..., Tensor] = lambda weight: weight


def convert_weight(target: ConvertedWeight, weights: Weights, shape: torch.Size) -> Tensor:
    """The weight of a network, of that shape.

    Raises:
        ArtefactError: the official weights have shapes from which it cannot be computed.
    """
    try:
        converted = target.convert(*(weights[name] for name in target.sources))
    except (RuntimeError, IndexError, ValueError):
        converted = None
    if converted is None or converted.shape != shape:
        name = target.sources[0]
        raise ArtefactError(
            f"the checkpoint's {name} has the shape {tuple(weights[name].shape)}",
            expected=f"one that makes {target.name} of {tuple(shape)}",
        )
    return converted.clone()


def without_batch_axis(weight: Tensor) -> Tensor:
    """A weight without its leading broadcast axis of length 1. A longer axis stays, and fails the check of the shape."""
    return weight.squeeze(0)


def weight_and_bias(name: str, source: str) -> Iterator[ConvertedWeight]:
    """The weight and the bias of a layer, unchanged."""
    for part in ("weight", "bias"):
        yield ConvertedWeight(f"{name}.{part}", (f"{source}.{part}",))


def self_attention(name: str, block: str, attn: str = "attn", norm: str = "norm1") -> Iterator[ConvertedWeight]:
    """A pre-norm self-attention."""
    yield from weight_and_bias(f"{name}.project.norm", f"{block}.{norm}")
    yield from weight_and_bias(f"{name}.project.own", f"{block}.{attn}.qkv")
    yield from weight_and_bias(f"{name}.out", f"{block}.{attn}.proj")


def feed_forward(name: str, block: str, mlp: str = "mlp", norm: str = "norm2") -> Iterator[ConvertedWeight]:
    """A pre-norm feed-forward."""
    yield from weight_and_bias(f"{name}.norm", f"{block}.{norm}")
    yield from weight_and_bias(f"{name}.up", f"{block}.{mlp}.fc1")
    yield from weight_and_bias(f"{name}.down", f"{block}.{mlp}.fc2")
