"""What every engine can do: launch a graph over rows of buffers that were bound once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    from ..cuda.device import Device

Interface = dict[str, tuple[str, tuple[int | str, ...]]]


class Rows(Protocol):
    """Memory as an engine makes it: a numpy array, or on a GPU a ``DeviceArray``, which is used the same way.

    Rows are sliced, copied into each other and cleared along the first axis; ``np.array(x)`` is a copy on the host.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...

    def __setitem__(self, rows: Any, value: Any, /) -> None: ...

    def __array__(self) -> NDArray[Any]: ...


Buffers = dict[str, Any]  # name -> Rows, or an array of the host, which also a GPU's engine takes for any input and output


class BoundInference(Protocol):
    """A graph with all its inputs and outputs bound: call it to run it."""

    def __call__(self) -> None: ...


class Engine(Protocol):
    """An opened graph.

    ``name`` is what a user reads, e.g. ``onnxruntime-cpu``; ``device`` is the GPU that it runs on, None the processor;
    ``metadata`` are the strings that the file carries; ``inputs`` and ``outputs`` are what the file says of them:
    name -> (dtype, shape), with "B" for a free axis.
    """

    name: str
    metadata: dict[str, str]
    inputs: Interface
    outputs: Interface

    @property
    def device(self) -> Device | None: ...

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> Rows:
        """Memory that a launch reads and writes in place: where states live."""
        ...

    def bind(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
        """Bind memory to every input and output, for good. No memory may be both: a graph reads while it writes.

        Arrays of the host are read when the launch is called, and written before it returns.
        """
        ...

    def close(self) -> None:
        """Free what it holds of a GPU; what was bound cannot be launched any more. A second call does nothing."""
        ...
