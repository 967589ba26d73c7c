"""Whether two ONNX graphs compute the same: by structure, bit for bit, or by their outputs within a tolerance."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...calib.graph.half_rounding import widen
from ...runtime.engines import open_engine

STREAMS = 2  # of the random batch: the state of one is kept, that of the other is reset


def same_computation(before: onnx.ModelProto, after: onnx.ModelProto, tolerance: float = 0.0) -> bool:
    """Whether nodes, attributes, weights, inputs, outputs and opsets are equal, in the same order.

    Names of nodes, documentation and metadata do not count: no engine computes with them. There is nothing to tolerate.
    """
    return _computation(before) == _computation(after)


def _computation(model: onnx.ModelProto) -> tuple[list[Any], ...]:
    graph = model.graph
    return (
        [
            (node.domain, node.op_type, [*node.input], [*node.output], [item.SerializeToString() for item in node.attribute])
            for node in graph.node
        ],
        [weight.SerializeToString() for weight in (*graph.initializer, *graph.sparse_initializer)],
        [value.SerializeToString() for value in (*graph.input, *graph.output)],
        [(opset.domain, opset.version) for opset in model.opset_import],
        [function.SerializeToString() for function in model.functions],
    )


def outputs_agree(before: onnx.ModelProto, after: onnx.ModelProto, tolerance: float) -> bool:
    """Whether the outputs of two graphs on the same random inputs differ by at most ``tolerance``.

    The difference is relative to the largest number of an output, or to 1. FP16 graphs are compared without the rounding of
    what they compute, which would hide small differences and amplify others.
    """
    outputs_before, outputs_after = (_outputs(widen(model).SerializeToString()) for model in (before, after))
    return all(
        np.abs(outputs_after[name] - values).max() <= tolerance * max(1.0, np.abs(values).max())
        for name, values in outputs_before.items()
    )


@lru_cache(maxsize=1)  # the graph after one pass is the graph before the next
def _outputs(graph: bytes) -> dict[str, NDArray[Any]]:
    """What a graph answers to seeded random inputs of ``STREAMS`` streams."""
    rng = np.random.default_rng(0)
    engine = open_engine(graph)
    inputs = {name: rng.uniform(0, 0.1, _batched(shape)).astype(dtype) for name, (dtype, shape) in engine.inputs.items()}
    if "reset" in inputs:
        inputs["reset"][:] = False, True
    outputs = {name: np.empty(_batched(shape), dtype) for name, (dtype, shape) in engine.outputs.items()}
    engine.bind(inputs, outputs)()
    return outputs


def _batched(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    return tuple(STREAMS if axis == "B" else int(axis) for axis in shape)
