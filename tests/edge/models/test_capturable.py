"""No network contains what a CUDA graph cannot capture: waiting for a value, or copying one from the host.

On meta tensors nothing is computed, so whoever asks for a value gets an error; and every operation is watched for memory that
lies elsewhere. That proves nothing about kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.topology import build, config_from
from posemoe_edge.export.lifter import ExportableLifter
from posemoe_edge.export.precision import to_fp16
from posemoe_edge.export.trace import DTYPES, ChunkGraph, StepGraph, WindowGraph, interface
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SMALL = {"dim": 16, "heads": 2, "layers": 2, "mixer": {"kind": "attention"}, "window": 27}
GATED = {"mixer": {"kind": "dssm", "state_size": 4}, "block": "gated", "lookahead": True, "representation": 16}
WINDOWS: dict[str, dict[str, Any]] = {
    "experts": {"topology": "moe"},
    "one after the other": {"topology": "alternating"},
    "sampled": {"topology": "moe", "pruning": {"keep": [14, 9], "layers": [0, 1]}},
    "kept": {"topology": "alternating", "pruning": {"keep": [9], "layers": [0], "interpolate": "kept"}},
    "centre": {"topology": "alternating", "pruning": {"keep": [9], "layers": [1], "recover": "none", "output": "centre"}},
    "clustered": {"topology": "alternating", "pruning": {"keep": [9], "layers": [0], "by": "tpc", "recover": "tra"}},
    "attended": {"topology": "alternating", "pruning": {"keep": [9], "layers": [1], "by": "tpa", "recover": "tra"}},
    "moved": {"topology": "dual_stream", "pruning": {"keep": [9], "layers": [0], "by": "tpmo", "recover": "tra"}},
    "both ways": {"topology": "dual_stream", "window": 9} | GATED,
    "both ways, by a transform": {"topology": "dual_stream", "window": 70} | GATED,
}


class CaptureCheck(TorchDispatchMode):
    """Records operations that a CUDA graph cannot capture."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations, self.faults = 0, set[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        masks = any(x.dtype == torch.bool for x in tree_leaves(args[1:]) if isinstance(x, Tensor))
        sized_by_data = torch.Tag.dynamic_output_shape in func.tags and (func is not torch.ops.aten.index.Tensor or masks)
        if torch.Tag.data_dependent_output in func.tags or sized_by_data:
            self.faults.add(f"{func} waits for the host")
        if not all(x.is_meta for x in [*tensors, *tree_leaves(results)] if isinstance(x, Tensor)):
            self.faults.add(f"{func} uses the host's memory")
        self.operations += 1
        return results


def checked(model: ExportableLifter, *, chunk: int | None = None, rows: int = 2) -> CaptureCheck:
    """The operations of one call of the module that is exported of a model."""
    module = WindowGraph(model) if model.state_shape is None else (StepGraph if chunk is None else ChunkGraph)(model)
    module = module.eval().to("meta")
    inputs, outputs, _ = interface(model, chunk)
    zeros = {t.name: torch.zeros(rows, *map(int, t.shape[1:]), dtype=DTYPES[t.dtype], device="meta") for t in inputs}
    check = CaptureCheck()
    with torch.no_grad(), check:
        results = module(**zeros)
    shapes = [tuple(y.shape) for y in (results if isinstance(results, tuple) else (results,))]
    assert shapes == [(rows, *t.shape[1:]) for t in outputs]
    return check


def fresh(model: Lifter) -> Lifter:
    """A new model of the same kind: a model on meta tensors has lost its weights."""
    return build(model.config).eval()


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("chunk", [None, 4, 70], ids=["step", "chunk", "long chunk"])
@pytest.mark.parametrize("kind", ["retention", "dssm", "lookahead", "gated", "3dhp"])
def test_a_stream_neither_waits_for_the_host_nor_uses_its_memory(
    kind: str, chunk: int | None, half: bool, tiny_lifter: Callable[[str], Lifter]
) -> None:
    model = fresh(tiny_lifter(kind))
    check = checked(to_fp16(model) if half else model, chunk=chunk)
    assert check.operations > 50 and not check.faults


@pytest.mark.parametrize("kind", WINDOWS)
def test_nor_does_a_window(kind: str) -> None:
    check = checked(build(config_from(SMALL | WINDOWS[kind])).eval())
    assert check.operations > 20 and not check.faults


def test_single_frames_do_not_either() -> None:
    check = checked(build(config_from({"topology": "frame", "dim": 16, "layers": 2})).eval())
    assert check.operations > 5 and not check.faults


@pytest.mark.parametrize(
    "faulty",
    [
        lambda x: x + torch.from_numpy(torch.zeros(3).numpy()).to(x.device),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x * x.new_tensor([1.0, 2.0, 3.0]).cpu(),
        lambda x: x[torch.arange(2)],
    ],
    ids=["a constant of the host", "a mask", "where it is not zero", "a tensor elsewhere", "an index of the host"],
)
def test_the_check_finds_each_fault(faulty: Callable[[Tensor], Tensor]) -> None:
    x = torch.zeros(3, device="meta")
    with torch.no_grad(), CaptureCheck() as check:
        try:
            faulty(x)
        except (RuntimeError, NotImplementedError):
            return  # meta tensors raise the error themselves
    assert check.faults


def test_reading_a_meta_tensor_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="meta"):
        float(torch.zeros(3, device="meta").max())
