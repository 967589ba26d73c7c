"""Engines: what executes a graph."""

from __future__ import annotations

import difflib
from pathlib import Path

from ..errors import UsageError
from .engine import Engine

__all__ = ["ENGINES", "Engine", "open_engine"]

ENGINES = ("onnxruntime",)


def open_engine(path: Path | bytes, *, engine: str | None = None, threads: int = 1) -> Engine:
    """Open a graph with the best engine there is.

    Args:
        path: the ONNX file, or its bytes.
        engine: a name of ``ENGINES``; None decides: ONNX Runtime on the CPU is all there is so far.
        threads: processor threads. One is fastest for one person: the network is narrower than a thread pool is dear.
    """
    if engine not in (None, *ENGINES):
        near = difflib.get_close_matches(str(engine), ENGINES, n=1, cutoff=0.0)
        raise UsageError(f"there is no engine {engine!r}", expected=near[0])
    from .onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, threads=threads)
