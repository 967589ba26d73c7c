"""The table of precisions is complete and consistent."""

from __future__ import annotations

from typing import get_args

import pytest
from posemoe_edge.runtime.artefact.precision import PRECISIONS, QUANTISED, TRACED, Precision, gpu_order, source_of
from posemoe_edge.runtime.errors import UsageError


def test_every_precision_has_a_row_under_its_name() -> None:
    assert tuple(PRECISIONS) == get_args(Precision)
    assert [row.name for row in PRECISIONS.values()] == list(PRECISIONS)
    assert (*TRACED, *QUANTISED) == tuple(PRECISIONS)


def test_ranks_are_an_order() -> None:
    assert sorted(row.gpu_rank for row in PRECISIONS.values()) == list(range(len(PRECISIONS)))


def test_quantised_graphs_are_made_from_traced_ones() -> None:
    assert {name: source_of(name) for name in QUANTISED} == {"int8": "fp16", "mixed": "fp16", "int8w": "fp32"}
    with pytest.raises(UsageError, match="fp16 graph is not quantised from another one; expected one of int8, mixed, int8w"):
        source_of("fp16")


@pytest.mark.parametrize(
    ("preferred", "order"),
    [
        ("fp32", ["fp16", "fp32", "mixed", "int8"]),  # every artefact has fp32: that is no choice
        ("fp16", ["fp16", "fp32", "mixed", "int8"]),
        ("mixed", ["mixed", "fp16", "fp32", "int8"]),
    ],
)
def test_a_gpu_tries_the_preferred_precision_first(preferred: Precision, order: list[Precision]) -> None:
    assert gpu_order(["fp32", "fp16", "int8", "mixed"], preferred=preferred) == order
