"""The registry of engines, and the function that opens a graph with one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from ..registry import Registry
from .base import Engine
from .tensorrt.plan import Plan

DEFAULT = "onnxruntime"


class EngineFactory(Protocol):
    """Opens a graph: the ONNX file, or its bytes. TensorRT's factories also take ``plan``."""

    def __call__(self, graph: Path | bytes, *, threads: int, **options: Any) -> Engine: ...


ENGINES: Registry[EngineFactory] = Registry(
    "engine",
    group="posemoe_edge.engines",
    builtin={
        "onnxruntime": f"{__package__}.onnxruntime:OnnxRuntimeEngine",
        "onnxruntime-cuda": f"{__package__}.onnxruntime_cuda:OnnxRuntimeCudaEngine",
        "tensorrt": f"{__package__}.tensorrt.open:open_tensorrt",
        "tensorrt-rtx": f"{__package__}.tensorrt.open:open_tensorrt_rtx",
    },
    own_entry_points=["torch"],  # edge/torch_backend: runtime does not import torch
)
BESIDE = ("tensorrt", "tensorrt-rtx", "torch")
"""Engines that run what lies beside a graph, its plan or its weights: they are given its path, and check what they read."""

EXTRAS = {"torch": "export"}  # engine -> the extra of posemoe-edge that brings the packages that its module imports


def open_engine(graph: Path | bytes, *, engine: str | None = None, threads: int = 1, plan: Plan | None = None) -> Engine:
    """Open a graph with one engine. ``resolve`` selects the best one for an artefact.

    Args:
        graph: the ONNX file, or its bytes.
        engine: a name in ``ENGINES``; None is ONNX Runtime on the CPU.
        threads: CPU threads. One is fastest for one person: the network is too narrow to gain from a thread pool.
        plan: the plan that TensorRT runs; None finds one in the artefact that the file belongs to.

    Raises:
        UsageError: there is no such engine, or it cannot open this kind of graph.
        MissingError: the engine's packages are not installed, or there is no plan.
        ArtefactError: the file is not a graph, or no plan fits this machine.
    """
    name = engine or DEFAULT
    options = {} if plan is None else {"plan": plan}
    return ENGINES.find(name, extra=EXTRAS.get(name))(graph, threads=threads, **options)
