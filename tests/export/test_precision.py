"""Half precision: matrix products are FP16, and everything else stays FP32 throughout."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from posemoe_edge.export.precision import to_fp16
from torch import nn


def tensors(module: nn.Module, *, inside: bool = False) -> Iterator[tuple[torch.Tensor, bool]]:
    """Every weight and buffer in a fixed order, and whether a linear layer owns it that is in no ``keep_fp32`` module."""
    inside = inside or getattr(module, "keep_fp32", False)
    product = isinstance(module, nn.Linear) and not inside
    yield from ((tensor, product) for tensor in module.parameters(recurse=False))
    yield from ((tensor, product) for tensor in module.buffers(recurse=False))
    for child in module.children():
        yield from tensors(child, inside=inside)


@pytest.mark.parametrize("kind", ["retention", "dssm", "gated", "attention"])
def test_tensors_outside_matrix_products_are_unchanged_bit_for_bit(kind: str, tiny_lifter: Callable[[str], Any]) -> None:
    model = copy.deepcopy(tiny_lifter(kind))
    with torch.no_grad():
        for tensor, product in tensors(model):
            if not product:
                tensor.mul_(1 + 1e-5)  # ones and zeros survive any rounding
    fp32 = list(tensors(model))
    half_model: Any = to_fp16(model)
    half = list(tensors(half_model))
    lost = 0
    for (before, product), (after, same) in zip(fp32, half, strict=True):
        assert product == same
        if product:
            assert after.dtype == torch.float16 and after.equal(before.half())
        else:
            assert after.dtype == before.dtype == torch.float32 and after.equal(before)
            lost += int((before.half().float() != before).sum())
    assert lost > 10, "numbers that half precision would not have kept"
    assert sum(product for _, product in fp32) > 10


@pytest.mark.parametrize("kind", ["retention", "dssm", "gated", "lookahead"])
def test_every_module_has_the_same_types_in_chunks_and_in_steps(kind: str, tiny_lifter: Callable[[str], Any]) -> None:
    half: Any = to_fp16(tiny_lifter(kind))

    def types_of(run: Callable[..., Any], x: torch.Tensor) -> dict[str, set[torch.dtype]]:
        types: dict[str, set[torch.dtype]] = {}

        def record_types(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(module: nn.Module, inputs: Any, outputs: Any) -> None:
                tensors = [*inputs, *(outputs if isinstance(outputs, tuple) else (outputs,))]
                types.setdefault(name, set()).update(tensor.dtype for tensor in tensors if isinstance(tensor, torch.Tensor))

            return hook

        with ExitStack() as hooks:
            for name, module in half.named_modules():
                hooks.callback(module.register_forward_hook(record_types(name)).remove)
            pose, state = run(x, half.initial_state(1), None, None)
        return types | {"pose": {pose.dtype}, "state": {state.dtype}}

    x = torch.rand(1, 4, 17, half.config.channels)
    steps = types_of(half.step, x[:, 0])
    assert types_of(half.chunk, x) == steps
    assert steps["state"] == {torch.float32} and any(torch.float16 in types for types in steps.values())


def test_keypoints_and_poses_keep_all_their_digits(tiny_lifter: Callable[[str], Any]) -> None:
    half: Any = to_fp16(tiny_lifter("retention"))
    x = torch.rand(1, 17, 3)
    assert half.embed(x).equal(tiny_lifter("retention").embed(x))
    pose, _ = half.step(x, half.initial_state(1), None, None)
    assert pose.dtype == torch.float32
    assert (pose.half().float() != pose).float().mean() > 0.9, "more digits than a half has"


def test_a_linear_layer_takes_fp32_and_returns_fp16(tiny_lifter: Callable[[str], Any]) -> None:
    half: Any = to_fp16(nn.Sequential(nn.Linear(3, 3)))  # type: ignore[arg-type]
    assert half(torch.rand(2, 3)).dtype == torch.float16


def test_keep_fp32_covers_all_submodules() -> None:
    class KeptFp32(nn.Module):
        keep_fp32 = True

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))

    half: Any = to_fp16(nn.Sequential(nn.Linear(3, 3), KeptFp32()))  # type: ignore[arg-type]
    assert {tensor.dtype for tensor in half[1].parameters()} == {torch.float32}
    assert half[0].weight.dtype == torch.float16


def test_the_model_itself_stays_fp32(tiny_lifter: Callable[[str], Any]) -> None:
    model = tiny_lifter("retention")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    to_fp16(model)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
