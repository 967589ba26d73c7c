"""FP16 in the graph: half-precision weights and activations, with FP32 islands."""

from __future__ import annotations

import copy

from torch import nn

from .lifter import Lifter

FP32_ISLANDS = "norms, softmax, mixers with their decay and accumulation, state, inputs and outputs"


def halve(model: Lifter) -> Lifter:
    """A copy in half precision, but for its islands: modules with ``island = True`` and all below them stay as they are.

    The modules cast at their borders, so that the casts are part of what is traced: no builder flag decides anything later,
    and the same file means the same numbers on every engine.
    """
    half = copy.deepcopy(model)
    assert isinstance(half, nn.Module)
    _halve(half.eval())
    return half


def _halve(module: nn.Module) -> None:
    """In place, down to the islands: what was half once has lost its digits for good."""
    if getattr(module, "island", False):
        return
    for parameter in module.parameters(recurse=False):
        parameter.data = parameter.data.half()
    for name, buffer in module.named_buffers(recurse=False):
        if buffer.is_floating_point():
            setattr(module, name, buffer.half())
    for child in module.children():
        _halve(child)
