"""The shapes of all tensors in a graph whose only free axis is the batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import onnx

_TRIALS = (5, 7)  # batch sizes that no other axis of a lifter is likely to be a multiple of by chance: both must agree


@dataclass(frozen=True)
class Streams:
    """An axis whose length is ``times`` times the number of streams."""

    times: int


Dim: TypeAlias = "int | Streams"
Shape: TypeAlias = "tuple[Dim, ...]"


def static_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Tensor name -> its shape. Tensors whose shape cannot be inferred are left out."""
    first, second = (_inferred(model, batch) for batch in _TRIALS)
    shapes: dict[str, Shape] = {}
    for name, of_first in first.items():
        of_second = second.get(name)
        if of_second is None or len(of_second) != len(of_first):
            continue
        dims = [_dim(a, b) for a, b in zip(of_first, of_second, strict=True)]
        known = [dim for dim in dims if dim is not None]
        if len(known) == len(dims):
            shapes[name] = tuple(known)
    return shapes


def reshape_target(shape: Shape) -> list[int] | None:
    """The second input of a Reshape to this shape; None where two axes depend on the batch."""
    if sum(isinstance(dim, Streams) for dim in shape) > 1:
        return None
    return [-1 if isinstance(dim, Streams) else dim for dim in shape]


def broadcast(*shapes: Shape) -> Shape | None:
    """The shape that an elementwise operator gives for inputs of these shapes; None where they do not fit."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result: list[Dim] = []
    for dims in zip(*padded, strict=True):
        longest = {dim for dim in dims if dim != 1}
        if len(longest) > 1:
            return None
        result.append(longest.pop() if longest else 1)
    return tuple(result)


def elements(shape: Shape) -> tuple[int, int]:
    """How many numbers a tensor has: a factor, and the power of the batch that it is multiplied by."""
    return (
        prod(dim.times if isinstance(dim, Streams) else dim for dim in shape),
        sum(isinstance(dim, Streams) for dim in shape),
    )


def _dim(first: int, second: int) -> Dim | None:
    if first == second:
        return first
    times, rest = divmod(first, _TRIALS[0])
    return Streams(times) if not rest and second == times * _TRIALS[1] else None


def _inferred(model: onnx.ModelProto, batch: int) -> dict[str, tuple[int, ...]]:
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    del sized.graph.value_info[:]
    for value in (*sized.graph.input, *sized.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = batch
    graph = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    return shapes | {name: shape for name, shape in _value_shapes((*graph.input, *graph.output, *graph.value_info))}


def _value_shapes(values: Iterable[onnx.ValueInfoProto]) -> Iterable[tuple[str, tuple[int, ...]]]:
    for value in values:
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            yield value.name, tuple(dim.dim_value for dim in dims)
