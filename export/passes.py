"""Passes over an ONNX graph: named, simplified, stripped, and held to its contract."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
import onnxsim
from onnx import TensorProto

from ..runtime.artefact.manifest import Tensor
from ..runtime.engines import open_engine
from ..runtime.errors import ArtefactError

# What TensorRT 10.3 to 11 or a plain CPU engine will not take, or takes badly.
FORBIDDEN = frozenset({"Scan", "Loop", "If", "Attention", "Einsum", "DFT", "STFT", "GroupQueryAttention"})
DTYPES = {"float32": TensorProto.FLOAT, "bool": TensorProto.BOOL}
# A Gemm takes two axes: each would come with a Reshape before and after it, no faster, and without the layer's name.
NOT_JOINED = ("fuse_matmul_add_bias_into_gemm", "fuse_matmul_add_bias_into_gemm_batched")
SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter notes down which module a node is of


def name_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Each node named after the module that it comes from, in place: ``encoder.0.expert_2d.feed.0.up/MatMul``.

    A layer is then called the same in every precision's graph, in calibration, and in what an engine reports of itself.
    """
    seen: Counter[str] = Counter()
    for node in model.graph.node:
        scopes: list[str] = next((ast.literal_eval(entry.value) for entry in node.metadata_props if entry.key == SCOPES), [])
        module = scopes[-2].removeprefix("model").lstrip(".") if len(scopes) > 1 else ""
        name = f"{module}/{node.op_type}".lstrip("/")
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"
    return model


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Constants folded, nothing recorded about how it was made but the nodes' names; the same numbers."""
    # Its own check needs fixed shapes, and says yes where it makes none.
    simple, _ = onnxsim.simplify(model, skipped_optimizers=list(NOT_JOINED))
    if not agree(model, simple):
        raise ArtefactError("onnxsim changed what the graph computes", expected="the same outputs")
    del simple.metadata_props[:]
    del simple.graph.metadata_props[:]
    for node in simple.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del simple.graph.value_info[:]
    return simple  # type: ignore[no-any-return]


def agree(a: onnx.ModelProto, b: onnx.ModelProto) -> bool:
    """Whether two graphs answer alike, to rounding, to random inputs of two streams."""
    rng = np.random.default_rng(0)
    engines = [open_engine(model.SerializeToString()) for model in (a, b)]
    given = {name: rng.uniform(0, 0.1, _of_two(shape)).astype(dtype) for name, (dtype, shape) in engines[0].inputs.items()}
    if "reset" in given:
        given["reset"][:] = False, True  # one of the two remembers
    answers = []
    for engine in engines:
        made = {name: np.empty(_of_two(shape), dtype) for name, (dtype, shape) in engine.outputs.items()}
        engine.bind(given, made)()
        answers.append(made)
    return all(np.allclose(answers[0][name], answers[1][name], rtol=1e-3, atol=1e-3) for name in answers[0])


def _of_two(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    return tuple(2 if axis == "B" else int(axis) for axis in shape)


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


def _axis(dim: onnx.TensorShapeProto.Dimension) -> int | str:
    return "B" if dim.dim_param else dim.dim_value
