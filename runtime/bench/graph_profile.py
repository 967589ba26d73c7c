"""What ONNX Runtime executes of a graph: its operators, how long they take, and the shapes of its products."""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..artefact.manifest import Graph
from ..engines.onnxruntime import OnnxRuntimeEngine
from .bare_launch import BareLaunch

LAUNCHES = 20
Product: TypeAlias = tuple[int, int, int, int]
_PRODUCTS = ("MatMul", "Gemm", "FusedMatMul", "FusedGemm")


@dataclass(frozen=True)
class GraphProfile:
    """One launch of a graph by ONNX Runtime on the processor.

    Args:
        operators: how many are executed; ONNX Runtime fuses some of the file's.
        share: kind of operator -> its share of the time, the largest first.
        products: (batch, rows, inner, columns) -> how many operators multiply matrices of these shapes; a weight's batch is 1.
    """

    operators: int
    share: dict[str, float]
    products: dict[Product, int]


def profile_graph(source: bytes | Path, graph: Graph, streams: int) -> GraphProfile:
    """The mean of some launches with so many streams.

    Args:
        source: the ONNX file, or its bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        engine = OnnxRuntimeEngine(source, profile=Path(folder) / "profile")
        launch = BareLaunch(engine, graph, streams)
        for _ in range(LAUNCHES):
            launch()
        events = json.loads(engine.end_profile().read_text())
        engine.close()
    kernels = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    took: Counter[str] = Counter()
    products: Counter[Product] = Counter()
    for event in kernels:
        kind = event["args"]["op_name"]
        took[kind] += event["dur"]
        if kind in _PRODUCTS:
            inputs = [next(iter(shape.values())) for shape in event["args"]["input_type_shape"]]
            (output,) = (next(iter(shape.values())) for shape in event["args"]["output_type_shape"])
            products[_product(inputs, output)] += 1
    total = sum(took.values()) or 1
    return GraphProfile(
        operators=round(len(kernels) / LAUNCHES),
        share={kind: time / total for kind, time in took.most_common()},
        products={shape: round(count / LAUNCHES) for shape, count in products.items()},
    )


def _product(inputs: list[list[int]], output: list[int]) -> Product:
    """The matrices that an operator multiplies. A weight has two axes, or is not listed, if it was packed before."""
    first, *others = inputs
    *batch, rows, columns = output
    if all(len(shape) <= 2 for shape in others):
        return 1, rows * math.prod(batch), first[-1], columns  # all rows before the weight in one product
    inner = first[-1] if first[-2] == rows else first[-2]  # the latter is transposed
    return math.prod(batch), rows, inner, columns
