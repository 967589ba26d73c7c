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
    graph and none of its speed. Modules with ``keep_fp32 = True`` and all their submodules stay as they are: rounding a weight
    to half and back would lose its digits.

    Each linear layer casts its input, so the casts are traced into the graph. No builder flag changes the precision later, and
    the same file gives the same numbers on every engine.
    """
    half = copy.deepcopy(model)
    assert isinstance(half, nn.Module)
    for layer in half_layers(half.eval()).values():
        layer.half()
        layer.register_forward_pre_hook(_inputs_to_fp16)
    return half


def half_layers(module: nn.Module, name: str = "") -> dict[str, nn.Linear]:
    """The linear layers that become half precision, by dotted name; none of a module that keeps FP32."""
    if getattr(module, "keep_fp32", False):
        return {}
    layers = {name: module} if isinstance(module, nn.Linear) else {}
    for child_name, child in module.named_children():
        layers |= half_layers(child, f"{name}.{child_name}".lstrip("."))
    return layers


def _inputs_to_fp16(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.half() for x in inputs)
