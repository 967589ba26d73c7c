"""Engines: what executes a graph."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import get_args

from ..errors import UsageError
from ..plans import EngineName, Plan
from .engine import Engine

__all__ = ["ENGINES", "Engine", "check_engine", "open_engine"]

ENGINES = ("onnxruntime", "onnxruntime-cuda", "tensorrt", "tensorrt-rtx")


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
        from .choice import plan_beside
        from .tensorrt import TensorRtEngine

        plan = plan or plan_beside(path, engine)  # type: ignore[arg-type]
        return TensorRtEngine(plan.read(), engine=plan.key.engine)
    if engine == "onnxruntime-cuda":
        from .onnxruntime_cuda import OnnxRuntimeCudaEngine

        return OnnxRuntimeCudaEngine(path)
    from .onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, threads=threads)


def check_engine(engine: str | None) -> None:
    """None, or a name of ``ENGINES``."""
    if engine not in (None, *ENGINES):
        near = difflib.get_close_matches(str(engine), ENGINES, n=1, cutoff=0.0)
        raise UsageError(f"there is no engine {engine!r}", expected=near[0])
