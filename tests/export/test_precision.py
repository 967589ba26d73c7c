"""Half precision: the islands are never half, not even for a moment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from posemoe_edge.export.precision import halve
from torch import nn


def tensors(module: nn.Module, *, inside: bool = False) -> Iterator[tuple[torch.Tensor, bool]]:
    """Every weight and buffer, persistent or not, and whether it is an island's, always in the same order."""
    inside = inside or getattr(module, "island", False)
    yield from ((tensor, inside) for tensor in module.parameters(recurse=False))
    yield from ((tensor, inside) for tensor in module.buffers(recurse=False))
    for child in module.children():
        yield from tensors(child, inside=inside)


@pytest.mark.parametrize("kind", ["retention", "dssm", "gated", "attention"])
def test_what_is_on_an_island_is_bit_for_bit_as_it_was(kind: str, tiny: Callable[[str], Any]) -> None:
    model = copy.deepcopy(tiny(kind))
    with torch.no_grad():
        for tensor, island in tensors(model):
            if island:
                tensor.mul_(1 + 1e-5)  # ones and zeros survive any rounding
    wide = list(tensors(model))
    half = list(tensors(halve(model)))
    lost = 0
    for (before, island), (after, same) in zip(wide, half, strict=True):
        assert island == same
        if island:
            assert after.dtype == before.dtype == torch.float32 and after.equal(before)
            lost += int((before.half().float() != before).sum())
        else:
            assert after.dtype == torch.float16 and after.equal(before.half())
    assert lost > 10, "numbers that half precision would not have kept"


def test_an_island_keeps_what_lies_below_it() -> None:
    class Island(nn.Module):
        island = True

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))

    half: Any = halve(nn.Sequential(nn.Linear(3, 3), Island(), nn.BatchNorm1d(3)))  # type: ignore[arg-type]
    assert {tensor.dtype for tensor in half[1].parameters()} == {torch.float32}
    assert half[0].weight.dtype == half[2].running_mean.dtype == torch.float16
    assert half[2].num_batches_tracked.dtype == torch.int64  # a count is no number to round


def test_the_model_itself_stays_wide(tiny: Callable[[str], Any]) -> None:
    model = tiny("retention")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    halve(model)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
