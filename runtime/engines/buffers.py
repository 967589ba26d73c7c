"""What an engine binds: memory for each input and output, and the check that it fits the graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..cuda.array import share_memory
from ..errors import UsageError

Shape = tuple[int | str, ...]
Interface = dict[str, tuple[str, Shape]]
"""A graph's inputs or outputs: name -> (dtype, shape), with "B" for the free batch axis."""

Buffers = dict[str, Any]
"""Name -> ``Rows``, or a host array, which an engine on a GPU accepts for every input and output too."""


class Rows(Protocol):
    """Memory that an engine allocates: a numpy array, or on a GPU a ``DeviceArray``, which is used the same way.

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


def check_buffers(inputs: Buffers, input_interface: Interface, outputs: Buffers, output_interface: Interface) -> int:
    """The number of rows, if every tensor is bound to memory of its type and shape and no memory is bound twice.

    An engine on a GPU does not report wrong memory; it crashes.

    Raises:
        UsageError: a tensor has no memory, or memory of another type or shape.
    """
    rows = max((len(x) for x in inputs.values()), default=0)
    for buffers, interface in ((inputs, input_interface), (outputs, output_interface)):
        if set(buffers) != set(interface):
            raise UsageError(f"memory for {', '.join(sorted(buffers))}", expected=", ".join(sorted(interface)))
        for name, (dtype, shape) in interface.items():
            bound, bound_dtype = buffers[name], np.dtype(buffers[name].dtype).name
            if bound_dtype != dtype or tuple(bound.shape) != (rows, *shape[1:]):
                raise UsageError(f"{name} of {bound_dtype} {tuple(bound.shape)}", expected=f"{dtype} {shape}")
    check_disjoint(inputs.values(), outputs.values())
    return rows


def check_disjoint(inputs: Iterable[Any], outputs: Iterable[Any]) -> None:
    """No output overlaps an input: a graph reads while it writes, so the result would be wrong without an error."""
    outputs = list(outputs)
    for x in inputs:
        for y in outputs:
            assert not share_memory(x, y), "a state bound as both input and output is wrong silently"
