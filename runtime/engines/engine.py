"""What every engine can do: launch a graph over rows of buffers that were bound once."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from ..errors import UsageError

Buffers = dict[str, NDArray[Any]]
ENGINES = ("onnxruntime",)


class Launch(Protocol):
    """A graph with all its inputs and outputs bound: call it to run it."""

    def __call__(self) -> None: ...


class Engine(Protocol):
    """An opened graph.

    ``name`` is what a user reads, e.g. ``onnxruntime-cpu``; ``metadata`` are the strings that the file carries.
    """

    name: str
    metadata: dict[str, str]

    def bind(self, inputs: Buffers, outputs: Buffers) -> Launch:
        """Bind memory to every input and output, for good. No memory may be both: a graph reads while it writes."""
        ...


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
