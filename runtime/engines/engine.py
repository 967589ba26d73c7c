"""What every engine can do: launch a graph over rows of buffers that were bound once."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

Buffers = dict[str, NDArray[Any]]
Interface = dict[str, tuple[str, tuple[int | str, ...]]]


class Launch(Protocol):
    """A graph with all its inputs and outputs bound: call it to run it."""

    def __call__(self) -> None: ...


class Engine(Protocol):
    """An opened graph.

    ``name`` is what a user reads, e.g. ``onnxruntime-cpu``; ``metadata`` are the strings that the file carries; ``inputs`` and
    ``outputs`` are what the file says of them: name -> (dtype, shape), with "B" for a free axis.
    """

    name: str
    metadata: dict[str, str]
    inputs: Interface
    outputs: Interface

    def bind(self, inputs: Buffers, outputs: Buffers) -> Launch:
        """Bind memory to every input and output, for good. No memory may be both: a graph reads while it writes."""
        ...
