"""Precisions: in which numbers a graph computes, and how each kind of graph comes about."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError

Precision = Literal["fp32", "fp16", "int8", "mixed", "int8w"]


@dataclass(frozen=True)
class PrecisionInfo:
    """One row of the table ``PRECISIONS``.

    Args:
        name: as manifests, file names and the command line spell it.
        summary: for help texts, in one clause.
        made_from: the precision of the graph that quantisation turns into this one; None if PyTorch is traced.
        needs_motion: its activations are INT8, so their ranges must be observed on motion before it can be made.
        needs_budget: which of its layers are INT8 is decided by a drift budget.
        gpu_rank: place in the order in which a GPU prefers precisions, 0 first. INT8 comes late: with one stream it saves
            nothing there.
        arithmetic: how ONNX Runtime computes it on a CPU, as certificates say.
    """

    name: Precision
    summary: str
    made_from: Precision | None
    needs_motion: bool
    needs_budget: bool
    gpu_rank: int
    arithmetic: str

    @property
    def traced(self) -> bool:
        """Whether its graph is traced from PyTorch, so that PyTorch can compute it too."""
        return self.made_from is None

    @property
    def suffix(self) -> str:
        """The end of the name of its graph's file."""
        return f".{self.name}.onnx"


_ROWS = (
    PrecisionInfo(
        name="fp32",
        summary="float32",
        made_from=None,
        needs_motion=False,
        needs_budget=False,
        gpu_rank=1,
        arithmetic="FP32 (ONNX Runtime, CPU)",
    ),
    PrecisionInfo(
        name="fp16",
        summary="products in half precision",
        made_from=None,
        needs_motion=False,
        needs_budget=False,
        gpu_rank=0,
        arithmetic="FP32 sums, every FP16 result rounded to half, rest FP32 (ONNX Runtime, CPU, explicit rounding)",
    ),
    PrecisionInfo(
        name="int8",
        summary="all linear layers in INT8",
        made_from="fp16",
        needs_motion=True,
        needs_budget=False,
        gpu_rank=3,
        arithmetic="INT8 products exact, FP16 results rounded to half, rest FP32 (ONNX Runtime, CPU, explicit rounding)",
    ),
    PrecisionInfo(
        name="mixed",
        summary="as many linear layers in INT8 as a drift budget allows",
        made_from="fp16",
        needs_motion=True,
        needs_budget=True,
        gpu_rank=2,
        arithmetic="INT8 products (where INT8 is harmless) exact, FP16 results rounded to half, rest FP32 "
        "(ONNX Runtime, CPU, explicit rounding)",
    ),
    PrecisionInfo(
        name="int8w",
        summary="weights in INT8, arithmetic in float32",
        made_from="fp32",
        needs_motion=False,
        needs_budget=False,
        gpu_rank=4,
        arithmetic="INT8 weights, FP32 arithmetic (ONNX Runtime, CPU)",
    ),
)

PRECISIONS: dict[Precision, PrecisionInfo] = {row.name: row for row in _ROWS}
"""All precisions by name, in the order in which files and reports list them."""

TRACED: tuple[Precision, ...] = tuple(row.name for row in _ROWS if row.traced)
QUANTISED: tuple[Precision, ...] = tuple(row.name for row in _ROWS if not row.traced)


def source_of(precision: Precision) -> Precision:
    """The precision of the graph that is quantised to this one.

    Raises:
        UsageError: it is traced from PyTorch, not made from another graph.
    """
    source = PRECISIONS[precision].made_from
    if source is None:
        raise UsageError(f"an {precision} graph is not quantised from another one", expected=f"one of {', '.join(QUANTISED)}")
    return source


def gpu_order(precisions: Collection[Precision] = tuple(PRECISIONS), *, preferred: Precision = "fp32") -> list[Precision]:
    """The precisions in the order in which a GPU is to try them.

    Args:
        preferred: the artefact's; one other than fp32, which every artefact has, was chosen on purpose and comes first.

    >>> gpu_order()
    ['fp16', 'fp32', 'mixed', 'int8', 'int8w']
    >>> gpu_order(["fp32", "fp16", "int8"], preferred="int8")
    ['int8', 'fp16', 'fp32']
    """
    chosen = preferred != "fp32"
    return sorted(precisions, key=lambda name: (not (chosen and name == preferred), PRECISIONS[name].gpu_rank))
