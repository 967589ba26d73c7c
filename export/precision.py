"""FP16 in the graph: half-precision weights and activations, with FP32 islands."""

from __future__ import annotations

import copy

import torch

from ..edge.models.layers import Norm, Readout
from ..edge.models.mixer import Mixer
from ..edge.models.posemoe import PoseMoE

ISLANDS = (Mixer, Norm, Readout)
FP32_ISLANDS = "norms, softmax, mixers with their decay and accumulation, state, inputs and outputs"


def halve(model: PoseMoE) -> PoseMoE:
    """A copy in half precision whose islands stay float32.

    The modules cast at their borders (``wide``), so that the casts are part of what is traced: no builder flag decides
    anything later, and the same file means the same numbers on every engine.
    """
    half = copy.deepcopy(model).to(torch.float16)
    for module in half.modules():
        if isinstance(module, ISLANDS):
            module.float()
    return half.eval()
