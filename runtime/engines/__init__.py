"""Engines: what executes a graph."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import get_args

from ..errors import MissingError, UsageError, missing_extra
from ..registry import nearest
from .base import Engine
from .tensorrt.plan import EngineName, Plan

__all__ = ["ENGINES", "Engine", "check_engine", "open_engine"]

ENGINES = ("onnxruntime", "onnxruntime-cuda", "tensorrt", "tensorrt-rtx", "torch")
FROM_ABOVE = "posemoe_edge.engines"  # the group of entry points


def open_engine(path: Path | bytes, *, engine: str | None = None, threads: int = 1, plan: Plan | None = None) -> Engine:
    """Open a graph with one engine.

    Args:
        path: the ONNX file, or its bytes.
        engine: a name of ``ENGINES``; None is ONNX Runtime on the CPU. What runs best here, ``choice.choose`` decides.
        threads: processor threads. One is fastest for one person: the network is narrower than a thread pool is dear.
        plan: what TensorRT runs; None finds the one of the artefact in which the file lies.
    """
    check_engine(engine)
    if engine in get_args(EngineName):
        from .select import plan_beside
        from .tensorrt.engine import TensorRtEngine

        plan = plan or plan_beside(path, engine)  # type: ignore[arg-type]
        return TensorRtEngine(plan.read(), engine=plan.key.engine)
    if engine == "onnxruntime-cuda":
        from .onnxruntime_cuda import OnnxRuntimeCudaEngine

        return OnnxRuntimeCudaEngine(path)
    if engine == "torch":
        return _from_above(engine)(path, threads=threads)
    from .onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, threads=threads)


def check_engine(engine: str | None) -> None:
    """None, or a name of ``ENGINES``."""
    if engine not in (None, *ENGINES):
        raise UsageError(f"there is no engine {engine!r}", expected=nearest(str(engine), ENGINES, cutoff=0.0))


def _from_above(engine: str) -> Callable[..., Engine]:
    """An engine of a floor above, which this one imports only where somebody asks for it."""
    found = next(iter(entry_points(group=FROM_ABOVE, name=engine)), None)
    if found is None:
        raise MissingError(
            f"nothing that is installed brings the engine {engine}",
            expected=f"the entry point {engine} in the group {FROM_ABOVE}",
            run="pip install --force-reinstall --no-deps posemoe-edge",
        )
    try:
        return found.load()  # type: ignore[no-any-return]
    except ImportError as error:
        raise missing_extra(error.name or engine, "export", "running the PyTorch reference") from None
