"""The protocols of an engine: it binds memory to a graph once, and launches the graph as often as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from numpy.typing import DTypeLike

from ..cuda.device import Device
from .buffers import Buffers, Interface, Rows


class BoundInference(Protocol):
    """A graph with all its inputs and outputs bound: call it to run it."""

    def __call__(self) -> None: ...


class Engine(Protocol):
    """An opened graph.

    ``name`` is the engine and its processor, for example ``onnxruntime-cpu``; ``device`` is the GPU that it runs on, None on a
    CPU; ``metadata`` are the ONNX file's metadata; ``inputs`` and ``outputs`` are the graph's interface according to the file.
    """

    name: str
    metadata: dict[str, str]
    inputs: Interface
    outputs: Interface

    @property
    def device(self) -> Device | None: ...

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> Rows:
        """Memory that a launch reads and writes in place: where states are kept."""
        ...

    def bind(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
        """Bind memory to every input and output, permanently. Inputs and outputs must not overlap.

        Host arrays are read when the launch is called, and written before it returns.
        """
        ...

    def close(self) -> None:
        """Release the GPU. Bound launches cannot be called any more. Idempotent."""
        ...
