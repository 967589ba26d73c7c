"""FP16 in the graph: half-precision weights and activations, with FP32 islands."""

from __future__ import annotations

import copy

import torch
from torch import nn

from .lifter import Lifter

FP32_ISLANDS = "norms, softmax, mixers with their decay and accumulation, state, inputs and outputs"


def halve(model: Lifter) -> Lifter:
    """A copy in half precision whose islands (modules with ``island = True``) stay float32.

    The modules cast at their borders, so that the casts are part of what is traced: no builder flag decides anything later,
    and the same file means the same numbers on every engine.
    """
    half = copy.deepcopy(model)
    assert isinstance(half, nn.Module)
    half.to(torch.float16).eval()
    for module in half.modules():
        if getattr(module, "island", False):
            module.float()
    return half
