"""Lower bounds of a launch, measured on this machine: its products alone, its bytes alone, its operators' starts alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...runtime.bench import Product
from ...runtime.engines import BoundInference
from ...runtime.engines.onnxruntime import OnnxRuntimeEngine

CHAIN = 256  # operators of one number each
REPEATS = 15


@dataclass(frozen=True)
class Floors:
    """Milliseconds of one launch, each bound by itself.

    Args:
        products_ms: a graph of nothing but the products of matrices, by the same engine.
        bytes_ms: the weights read once and the states read and written, at the rate of a copy of as many bytes.
        starts_ms: as many operators that compute next to nothing.
        gflop_s, gb_s, start_us: the rates that these rest on.
    """

    products_ms: float
    bytes_ms: float
    starts_ms: float
    gflop_s: float
    gb_s: float
    start_us: float

    @property
    def by_name(self) -> dict[str, float]:
        """The bounds in milliseconds: products, bytes, starts."""
        return {"products": self.products_ms, "bytes": self.bytes_ms, "starts": self.starts_ms}

    @property
    def bound_by(self) -> str:
        """Which bound is the highest."""
        return max(self.by_name, key=lambda name: self.by_name[name])


def measure_floors(products: Mapping[Product, int], *, moved_bytes: int, operators: int, threads: int = 1) -> Floors:
    """The floors of a graph.

    Args:
        products: (batch, rows, inner, columns) -> how many.
        moved_bytes: that a launch reads and writes at least: weights, states before and after.
        operators: that a launch executes.
        threads: of the engine.
    """
    operations = sum(2 * int(np.prod(product)) * count for product, count in products.items())
    products_s, bytes_per_s, start_s = _products_s(products, threads), _copy_rate(moved_bytes), _start_s()
    return Floors(
        products_ms=1000 * products_s,
        bytes_ms=1000 * moved_bytes / bytes_per_s,
        starts_ms=1000 * operators * start_s,
        gflop_s=operations / products_s / 1e9 if operations else 0.0,
        gb_s=bytes_per_s / 1e9,
        start_us=1e6 * start_s,
    )


def _products_s(products: Mapping[Product, int], threads: int) -> float:
    """Seconds of a launch with these products alone, each by a weight of its own."""
    if not products:
        return 0.0
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    for product, count in products.items():
        batch, rows, inner, columns = product
        x = "x" + "_".join(map(str, product))
        inputs[x] = rng.normal(size=(batch, rows, inner)).astype(np.float32)
        for _ in range(count):
            y, w = f"y{len(nodes)}", f"w{len(nodes)}"
            shape = (inner, columns) if batch == 1 else (batch, inner, columns)
            weights.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), w))
            nodes.append(helper.make_node("MatMul", [x, w], [y]))
            outputs[y] = np.empty((batch, rows, columns), np.float32)
    return _least_s(_launch(nodes, inputs, outputs, weights, threads=threads))


def _start_s() -> float:
    """Seconds of one operator that computes one number, within a launch of many."""
    nodes = [helper.make_node("Neg", [f"t{i}"], [f"t{i + 1}"]) for i in range(CHAIN)]
    return _least_s(_launch(nodes, {"t0": np.ones(1, np.float32)}, {f"t{CHAIN}": np.empty(1, np.float32)})) / CHAIN


def _launch(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    weights: Sequence[onnx.TensorProto] = (),
    *,
    threads: int = 1,
) -> BoundInference:
    """A graph of these nodes, bound to these arrays."""
    read, written = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in side.items()]
        for side in (inputs, outputs)
    )
    graph = helper.make_graph(nodes, "floor", read, written, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return OnnxRuntimeEngine(model.SerializeToString(), threads=threads).bind(inputs, outputs)


def _copy_rate(moved_bytes: int) -> float:
    """Bytes read and written a second by a copy that moves as many: what fits into a cache is faster."""
    source = np.ones(moved_bytes // 8, np.float32)
    target = np.empty_like(source)
    return 2 * source.nbytes / _least_s(lambda: np.copyto(target, source))


def _least_s(run: Callable[[], object]) -> float:
    """The shortest of some runs: other programs only add to it."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times[1:])
