"""FP16 in the graph: half-precision products, everything between them in FP32."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from .lifter import ExportableLifter

FP32_NODES = "all but the products: residuals, norms, softmax, mixers with their decay and state, embedding, heads"


def to_fp16(model: ExportableLifter) -> ExportableLifter:
    """A copy whose products are in half precision: linear layers with what they take and make, and attention between them.

    What runs alongside stays wide. Of a pose in half precision the last digit would be a quarter of a millimetre, of a
    keypoint a tenth of a pixel, and a residual would be rounded at every block: that was most of the drift of an FP16 graph
    and none of its speed. Modules with ``keep_fp32 = True`` and all below them stay as they are.

    Each layer casts what it takes, so that the casts are part of what is traced: no builder flag decides anything later, and
    the same file means the same numbers on every engine.
    """
    half = copy.deepcopy(model)
    assert isinstance(half, nn.Module)
    _halve(half.eval())
    return half


def _halve(module: nn.Module) -> None:
    """In place, down to the islands: what was half once has lost its digits for good."""
    if getattr(module, "keep_fp32", False):
        return
    if isinstance(module, nn.Linear):
        module.half()
        module.register_forward_pre_hook(_narrow)
    for child in module.children():
        _halve(child)


def _narrow(module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    return tuple(x.half() for x in inputs)
