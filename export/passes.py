"""Passes over an ONNX graph: simplified, stripped, and held to its contract."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnxsim
from onnx import TensorProto

from ..runtime.errors import ArtefactError
from ..runtime.manifest import Tensor

# What TensorRT 10.3 to 11 or a plain CPU engine will not take, or takes badly.
FORBIDDEN = frozenset({"Scan", "Loop", "If", "Attention", "Einsum", "DFT", "STFT", "GroupQueryAttention"})
DTYPES = {"float32": TensorProto.FLOAT, "bool": TensorProto.BOOL}


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Constants folded, nothing recorded about how it was made."""
    # Batched MatMul + Add stays as it is: as a Gemm it needs a Reshape before and one behind.
    simple, same = onnxsim.simplify(model, skipped_optimizers=["fuse_matmul_add_bias_into_gemm"])
    if not same:
        raise ArtefactError("onnxsim changed what the graph computes", expected="the same outputs")
    del simple.metadata_props[:]
    del simple.graph.metadata_props[:]
    for node in simple.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del simple.graph.value_info[:]
    return simple  # type: ignore[no-any-return]


def check_contract(model: onnx.ModelProto, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """The graph is valid, has exactly these inputs and outputs, one free axis, and none of the forbidden operations."""
    onnx.checker.check_model(model, full_check=True)
    bad = sorted(
        {node.op_type for node in model.graph.node} & FORBIDDEN | {n.domain for n in model.graph.node} - {"", "ai.onnx"}
    )
    if bad:
        raise ArtefactError(f"the graph uses {', '.join(bad)}", expected="plain real ONNX operations")
    for kind, found, expected in (("inputs", model.graph.input, inputs), ("outputs", model.graph.output, outputs)):
        seen = [(v.name, v.type.tensor_type.elem_type, tuple(_axis(d) for d in v.type.tensor_type.shape.dim)) for v in found]
        wanted = [(t.name, DTYPES[t.dtype], t.shape) for t in expected]
        if seen != wanted:
            raise ArtefactError(f"the graph's {kind} are {seen}", expected=str(wanted))


def add_metadata(model: onnx.ModelProto, entries: dict[str, str]) -> None:
    """Strings that travel inside the file."""
    for key, value in sorted(entries.items()):
        model.metadata_props.add(key=key, value=value)


def _axis(dim: onnx.TensorShapeProto.Dimension) -> int | str:
    return "B" if dim.dim_param else dim.dim_value
