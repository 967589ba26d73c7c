"""FP16 in the graph: matrix products in half precision, everything between them in FP32."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from .lifter import ExportableLifter

FP32_NODES = "all but the products: residuals, norms, softmax, mixers with their decay and state, embedding, heads"


def to_fp16(model: ExportableLifter) -> ExportableLifter:
    """A copy whose matrix products are in half precision: linear layers with their inputs and outputs, and attention between.

    Residuals, embedding and heads stay FP32: in half precision the last digit of a pose is a quarter of a millimetre and that
    of a keypoint a tenth of a pixel, and a residual would be rounded at every block. That was most of the drift of an FP16
    graph and none of its speed. Modules with ``keep_fp32 = True`` and all their submodules stay as they are.

    Each linear layer casts its input, so the casts are traced into the graph. No builder flag changes the precision later, and
    the same file gives the same numbers on every engine.
    """
    half = copy.deepcopy(model)
    assert isinstance(half, nn.Module)
    _linear_layers_to_fp16(half.eval())
    return half


def _linear_layers_to_fp16(module: nn.Module) -> None:
    """In place, without the modules that keep FP32: rounding a weight to half and back would lose its digits."""
    if getattr(module, "keep_fp32", False):
        return
    if isinstance(module, nn.Linear):
        module.half()
        module.register_forward_pre_hook(_inputs_to_fp16)
    for child in module.children():
        _linear_layers_to_fp16(child)


def _inputs_to_fp16(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.half() for x in inputs)
