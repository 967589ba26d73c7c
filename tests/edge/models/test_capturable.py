"""What no CUDA graph could be captured of is in no network: to wait for a number, or to bring one from the host.

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


class Watch(TorchDispatchMode):
    """Operations that a captured stream would not survive."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.foul = 0, set[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        masks = any(x.dtype == torch.bool for x in tree_leaves(args[1:]) if isinstance(x, Tensor))
        sized_by_data = torch.Tag.dynamic_output_shape in func.tags and (func is not torch.ops.aten.index.Tensor or masks)
        if torch.Tag.data_dependent_output in func.tags or sized_by_data:
            self.foul.add(f"{func} waits for the host")
        if not all(x.is_meta for x in [*given, *tree_leaves(made)] if isinstance(x, Tensor)):
            self.foul.add(f"{func} has to do with the host's memory")
        self.seen += 1
        return made


def watched(model: Lifter, *, chunk: int | None = None, rows: int = 2) -> Watch:
    """One call of what is exported of a model."""
    module = WindowGraph(model) if model.state_shape is None else (StepGraph if chunk is None else ChunkGraph)(model)
    module = module.eval().to("meta")
    inputs, outputs, _ = interface(model, chunk)
    given = {t.name: torch.zeros(rows, *map(int, t.shape[1:]), dtype=DTYPES[t.dtype], device="meta") for t in inputs}
    with torch.no_grad(), Watch() as watch:
        made = module(**given)
    shapes = [tuple(y.shape) for y in (made if isinstance(made, tuple) else (made,))]
    assert shapes == [(rows, *t.shape[1:]) for t in outputs]
    return watch


def fresh(model: Lifter) -> Lifter:
    """Of the same kind, since a model that has gone to meta does not come back."""
    return build(model.config).eval()


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("chunk", [None, 4, 70], ids=["step", "chunk", "long chunk"])
@pytest.mark.parametrize("kind", ["retention", "dssm", "lookahead", "gated", "3dhp"])
def test_a_stream_neither_waits_for_the_host_nor_asks_for_its_memory(
    kind: str, chunk: int | None, half: bool, tiny_lifter: Callable[[str], Lifter]
) -> None:
    model = fresh(tiny_lifter(kind))
    watch = watched(to_fp16(model) if half else model, chunk=chunk)
    assert watch.seen > 50 and not watch.foul


@pytest.mark.parametrize("kind", WINDOWS)
def test_nor_does_a_window(kind: str) -> None:
    watch = watched(build(config_from(SMALL | WINDOWS[kind])).eval())
    assert watch.seen > 20 and not watch.foul


def test_single_frames_do_not_either() -> None:
    watch = watched(build(config_from({"topology": "frame", "dim": 16, "layers": 2})).eval())
    assert watch.seen > 5 and not watch.foul


@pytest.mark.parametrize(
    "foul",
    [
        lambda x: x + torch.from_numpy(torch.zeros(3).numpy()).to(x.device),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x * x.new_tensor([1.0, 2.0, 3.0]).cpu(),
        lambda x: x[torch.arange(2)],
    ],
    ids=["a constant of the host", "a mask", "where it is not zero", "a tensor elsewhere", "an index of the host"],
)
def test_the_watch_sees_what_it_should(foul: Callable[[Tensor], Tensor]) -> None:
    x = torch.zeros(3, device="meta")
    with torch.no_grad(), Watch() as watch:
        try:
            foul(x)
        except (RuntimeError, NotImplementedError):
            return  # meta tensors refuse it by themselves
    assert watch.foul


def test_who_asks_for_a_number_gets_an_error() -> None:
    with pytest.raises(RuntimeError, match="meta"):
        float(torch.zeros(3, device="meta").max())
