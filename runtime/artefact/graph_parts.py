"""The records that describe a graph: its tensors, its states, and the passes that made it."""

from __future__ import annotations

from typing import Literal

from .record import Record


class Tensor(Record):
    """An input or output of a graph.

    Args:
        name: as in the ONNX file.
        dtype: of its numbers, as numpy names it.
        shape: the length of every axis. The first is "B", the number of streams.
        axes: the name of every axis.
        meaning: what the numbers are, and their unit.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    axes: tuple[str, ...]
    meaning: str


class State(Record):
    """A state that a stream carries from frame to frame. The graph reads it from one tensor and writes the next one to another.

    The two must not share memory.

    Args:
        input: the name of the tensor that is read.
        output: the name of the tensor that is written.
        dtype: of both, as numpy names it.
        shape: the length of every axis of both. The first is "B", the number of streams.
        axes: the name of every axis.
        initial: the state of a new stream.
        reset: how a stream's state is cleared, in words.
    """

    input: str
    output: str
    dtype: str
    shape: tuple[int | str, ...]
    axes: tuple[str, ...]
    initial: Literal["zeros"]
    reset: str


class AppliedPass(Record):
    """A pass that the exporter applied to a graph.

    Args:
        name: of the pass.
        tolerance: the difference of outputs that was allowed, relative and absolute; 0 means the same bit for bit.
        package: that did it; None is the exporter itself.
        version: of that package.
    """

    name: str
    tolerance: float
    package: str | None = None
    version: str | None = None
