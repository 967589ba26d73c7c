"""The last pass: it changes nothing and refuses a graph that breaks the contract with the runtime."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx
from onnx import TensorProto

from ...runtime.artefact.graph_parts import Tensor
from ...runtime.errors import ArtefactError
from .agreement import same_computation
from .graph_pass import GraphPass

# Operations that TensorRT 10.3 to 11 or ONNX Runtime's CPU cannot run, or run badly.
FORBIDDEN_OPS = frozenset({"Scan", "Loop", "If", "Attention", "Einsum", "DFT", "STFT", "GroupQueryAttention"})
ELEMENT_TYPES = {"float32": TensorProto.FLOAT, "bool": TensorProto.BOOL}

Signature = list[tuple[str, int, tuple[int | str, ...]]]  # name, element type and shape of each input or output


def contract_pass(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> GraphPass:
    """``check_contract`` as a pass."""

    def checked(model: onnx.ModelProto) -> onnx.ModelProto:
        check_contract(model, inputs, outputs)
        return model

    return GraphPass("check_contract", checked, same_computation)


def check_contract(model: onnx.ModelProto, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Check that the graph is valid ONNX of allowed operations, with exactly these inputs and outputs, and one free axis.

    Raises:
        ArtefactError: the graph uses an operation that is not allowed, or has other inputs or outputs.
    """
    onnx.checker.check_model(model, full_check=True)
    ops, domains = {node.op_type for node in model.graph.node}, {node.domain for node in model.graph.node}
    refused = sorted(ops & FORBIDDEN_OPS | domains - {"", "ai.onnx"})
    if refused:
        raise ArtefactError(f"the graph uses {', '.join(refused)}", expected="plain real ONNX operations")
    for kind, values, tensors in (("inputs", model.graph.input, inputs), ("outputs", model.graph.output, outputs)):
        actual, expected = _signature(values), [(t.name, ELEMENT_TYPES[t.dtype], t.shape) for t in tensors]
        if actual != expected:
            raise ArtefactError(f"the graph's {kind} are {actual}", expected=str(expected))


def _signature(values: Iterable[onnx.ValueInfoProto]) -> Signature:
    types = ((value.name, value.type.tensor_type) for value in values)
    return [(name, type_.elem_type, tuple(_axis(dim) for dim in type_.shape.dim)) for name, type_ in types]


def _axis(dim: onnx.TensorShapeProto.Dimension) -> int | str:
    return "B" if dim.dim_param else dim.dim_value
