"""The passes that make a graph lean: each changes how much is computed, and nothing that comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.export.passes import (
    DROP_EXPANDS,
    FOLD_SCALES,
    FOLD_VIEWS,
    SPLIT_SLICES,
    TOKENS_AS_ROWS,
    GraphPass,
    export_passes,
    merge_products_pass,
    run_passes,
)
from posemoe_edge.export.passes.shapes import Streams, static_shapes

MERGE_PRODUCTS = merge_products_pass()
LEAN = (DROP_EXPANDS, SPLIT_SLICES, TOKENS_AS_ROWS, MERGE_PRODUCTS, FOLD_SCALES, FOLD_VIEWS)
FLOAT = TensorProto.FLOAT


def graph_of(
    nodes: list[onnx.NodeProto], weights: dict[str, Any], *, x: list[Any], y: list[Any], source: str = "x"
) -> onnx.ModelProto:
    """A graph from x, or another source, to y."""
    values = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in ((source, x), ("y", y))]
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), outputs.split(), f"{outputs.split()[0]}/{op_type}", **attributes)


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(item.op_type for item in model.graph.node)


def applied(graph_pass: GraphPass, model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph after a pass that was checked as in an export, and in float64, where no rounding hides what it changes."""
    changed, _ = run_passes(model, [graph_pass])
    onnx.checker.check_model(changed, full_check=True)
    wide = in_float64(model)
    for before, after in zip(outputs(wide), outputs(graph_pass.apply(wide)), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-10, atol=1e-10)
    return changed


def in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 graph as one that computes in float64."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    del wide.graph.value_info[:]
    for weight in wide.graph.initializer:
        if weight.data_type == FLOAT:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float64), weight.name))
    for item in wide.graph.node:
        for attribute in item.attribute:
            if item.op_type == "Cast" and attribute.i == FLOAT:
                attribute.i = TensorProto.DOUBLE
    for value in (*wide.graph.input, *wide.graph.output):
        if value.type.tensor_type.elem_type == FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return wide


def outputs(wide: onnx.ModelProto, streams: int = 3) -> list[NDArray[Any]]:
    """What a graph answers to seeded inputs by the reference evaluator; the second stream is reset."""
    rng, inputs = np.random.default_rng(0), {}
    for value in wide.graph.input:
        shape = [dim.dim_value or streams for dim in value.type.tensor_type.shape.dim]
        is_reset = value.type.tensor_type.elem_type == TensorProto.BOOL
        inputs[value.name] = np.arange(streams) == 1 if is_reset else rng.uniform(0.1, 0.9, shape)
    return ReferenceEvaluator(wide).run(None, inputs)  # type: ignore[return-value]


def test_views_in_a_row_are_one_reshape() -> None:
    nodes = [
        node("Unsqueeze", "x axis", "a"),
        node("Reshape", "a flat", "b"),
        node("Transpose", "b", "c", perm=[1, 0, 2]),  # moves an axis of length 1 alone
        node("Relu", "c", "y"),
    ]
    weights = {"axis": np.array([1]), "flat": np.array([1, -1, 6])}
    lean = applied(FOLD_VIEWS, graph_of(nodes, weights, x=["B", 2, 3], y=["B", 1, 6]))
    assert [item.op_type for item in lean.graph.node] == ["Reshape", "Relu"]


def test_a_transpose_that_moves_numbers_stays() -> None:
    nodes = [node("Transpose", "x", "a", perm=[0, 2, 1]), node("Relu", "a", "y")]
    assert kinds(applied(FOLD_VIEWS, graph_of(nodes, {}, x=["B", 2, 3], y=["B", 3, 2])))["Transpose"] == 1


def test_views_there_and_back_are_nothing() -> None:
    nodes = [node("Reshape", "x flat", "a"), node("Reshape", "a back", "b"), node("Relu", "b", "y")]
    weights = {"flat": np.array([-1, 6]), "back": np.array([-1, 2, 3])}
    lean = applied(FOLD_VIEWS, graph_of(nodes, weights, x=["B", 2, 3], y=["B", 2, 3]))
    assert [item.op_type for item in lean.graph.node] == ["Relu"]


def test_an_expand_before_an_operator_that_stretches_is_left_out() -> None:
    nodes = [node("ReduceSum", "x axes", "a", keepdims=1), node("Expand", "a shape", "b"), node("Div", "x b", "y")]
    weights = {"axes": np.array([2]), "shape": np.array([1, 1, 3])}
    assert "Expand" not in kinds(applied(DROP_EXPANDS, graph_of(nodes, weights, x=["B", 2, 3], y=["B", 2, 3])))


def test_an_expand_that_gives_the_result_its_shape_stays() -> None:
    nodes = [node("Expand", "x shape", "a"), node("Add", "a one", "b"), node("Relu", "b", "y")]
    weights = {"shape": np.array([1, 2, 3]), "one": np.ones(1, np.float32)}
    assert kinds(applied(DROP_EXPANDS, graph_of(nodes, weights, x=["B", 2, 1], y=["B", 2, 3])))["Expand"] == 1


def test_slices_of_a_tensor_are_one_split() -> None:
    nodes = [
        node("Slice", "x zero two axis", "a"),
        node("Slice", "x two end axis", "b"),
        node("ReduceSum", "b axis", "c", keepdims=1),
        node("Mul", "a c", "y"),
    ]
    weights = {"zero": np.array([0]), "two": np.array([2]), "end": np.array([np.iinfo(np.int64).max]), "axis": np.array([-1])}
    lean = kinds(applied(SPLIT_SLICES, graph_of(nodes, weights, x=["B", 5], y=["B", 2])))
    assert lean["Split"] == 1 and not lean["Slice"]


def test_slices_that_overlap_stay() -> None:
    nodes = [node("Slice", "x zero two axis", "a"), node("Slice", "x one three axis", "b"), node("Mul", "a b", "y")]
    weights = {name: np.array([i]) for i, name in enumerate(("zero", "one", "two", "three"))} | {"axis": np.array([1])}
    assert kinds(applied(SPLIT_SLICES, graph_of(nodes, weights, x=["B", 5], y=["B", 2])))["Slice"] == 2


def linear(rng: np.random.Generator, *names: str, width: int = 4) -> dict[str, Any]:
    """A weight and a bias for each name: w_name, b_name."""
    return {
        f"{kind}_{name}": rng.normal(size=shape).astype(np.float32)
        for name in names
        for kind, shape in (("w", (width, width)), ("b", (width,)))
    }


def test_a_feed_forward_reads_rows_and_its_layers_take_their_biases_along() -> None:
    nodes = [
        node("MatMul", "x w_up", "a"),
        node("Add", "a b_up", "b"),
        node("Gelu", "b", "c"),
        node("MatMul", "c w_down", "d"),
        node("Add", "b_down d", "e"),
        node("Add", "x e", "f"),
        node("Softmax", "f", "y", axis=1),  # over tokens: not on rows
    ]
    weights = linear(np.random.default_rng(0), "up", "down")
    lean = kinds(applied(TOKENS_AS_ROWS, graph_of(nodes, weights, x=["B", 3, 4], y=["B", 3, 4])))
    assert lean == {"Reshape": 2, "Gemm": 2, "Gelu": 1, "Add": 1, "Softmax": 1}


def test_layers_of_one_input_are_one_product() -> None:
    one, zero = np.linspace(0.5, 2, 4, dtype=np.float32), np.linspace(-1, 1, 4, dtype=np.float32)
    nodes = [
        node("LayerNormalization", "x one zero", "n", axis=-1),
        node("LayerNormalization", "x zero one", "m", axis=-1),
        node("Gemm", "n w_k b_k", "k"),
        node("Gemm", "m w_v b_v", "v"),
        node("Split", "k", "k1 k2", axis=1, num_outputs=2),
        node("Concat", "k2 v k1", "y", axis=1),
    ]
    weights = linear(np.random.default_rng(0), "k", "v") | {"one": one, "zero": zero}
    lean = kinds(applied(MERGE_PRODUCTS, graph_of(nodes, weights, x=["B", 4], y=["B", 8])))
    assert lean == {"LayerNormalization": 1, "Gemm": 1, "Split": 1, "Concat": 1}


def test_layers_that_become_half_are_merged_with_each_other_alone() -> None:
    nodes = [
        node("Neg", "x", "n"),
        node("Gemm", "n w_k b_k", "k"),
        node("Gemm", "n w_v b_v", "v"),
        node("Gemm", "n w_decay b_decay", "decay"),
        node("Sum", "k v decay", "y"),
    ]
    graph = graph_of(nodes, linear(np.random.default_rng(0), "k", "v", "decay"), x=["B", 4], y=["B", 4])
    assert kinds(applied(merge_products_pass(), graph))["Gemm"] == 1
    assert kinds(applied(merge_products_pass({"k", "v"}), graph))["Gemm"] == 2


def test_a_norm_that_something_else_reads_too_keeps_its_scale() -> None:
    nodes = [
        node("LayerNormalization", "x one zero", "n", axis=-1),
        node("LayerNormalization", "x zero one", "m", axis=-1),
        node("Gemm", "n w_k b_k", "k"),
        node("Gemm", "m w_v b_v", "v"),
        node("Add", "k v", "s"),
        node("Add", "s n", "y"),
    ]
    weights = linear(np.random.default_rng(0), "k", "v") | {"one": np.ones(4, np.float32) * 2, "zero": np.ones(4, np.float32)}
    lean = kinds(applied(MERGE_PRODUCTS, graph_of(nodes, weights, x=["B", 4], y=["B", 4])))
    assert lean["LayerNormalization"] == 2 and lean["Gemm"] == 2


def test_the_scale_of_attention_is_within_the_weights_of_the_queries() -> None:
    nodes = [  # two heads of one channel over three tokens
        node("Gemm", "x w_qk b_qk", "qk"),
        node("Reshape", "qk heads", "h"),  # (B, 3, 4, 1): the queries of both heads, then their keys
        node("Transpose", "h", "t", perm=[0, 2, 1, 3]),
        node("Split", "t", "q k", axis=1, num_outputs=2),
        node("Transpose", "k", "kt", perm=[0, 1, 3, 2]),
        node("MatMul", "q kt", "logits"),
        node("Mul", "logits number", "z"),
        node("Softmax", "z", "s", axis=-1),
        node("Reshape", "s flat", "r"),
        node("Gemm", "r w_out b_out", "y"),
    ]
    rng = np.random.default_rng(0)
    weights = linear(rng, "qk") | {"heads": np.array([-1, 3, 4, 1]), "flat": np.array([-1, 18]), "number": np.float32(0.7)}
    weights |= {"w_out": rng.normal(size=(18, 2)).astype(np.float32), "b_out": np.zeros(2, np.float32)}
    values = [node("Reshape", "p rows", "x")]
    model = graph_of(values + nodes, weights | {"rows": np.array([-1, 4])}, x=["B", 3, 4], y=["B", 2], source="p")
    assert "Mul" not in kinds(applied(FOLD_SCALES, model))


def test_a_number_that_multiplies_some_of_the_rows_stays() -> None:
    nodes = [
        node("Gemm", "x w_a b_a", "a"),
        node("Reshape", "a tokens", "t"),
        helper.make_node("Split", ["t", "sizes"], ["first", "rest"], "split", axis=1),
        node("Mul", "first number", "m"),
        node("Concat", "m rest", "j", axis=1),
        node("Reshape", "j rows", "y"),
    ]
    weights = linear(np.random.default_rng(0), "a") | {"number": np.full(1, 3, np.float32), "rows": np.array([-1, 12])}
    weights |= {"tokens": np.array([-1, 3, 4]), "sizes": np.array([1, 2]), "in": np.array([-1, 4])}
    model = graph_of([node("Reshape", "p in", "x"), *nodes], weights, x=["B", 12], y=["B", 12], source="p")
    assert kinds(applied(FOLD_SCALES, model))["Mul"] == 1


def test_a_number_that_multiplies_a_part_of_a_product_stays() -> None:
    nodes = [
        node("Gemm", "x w_q b_q", "q"),
        node("Reshape", "q tokens", "t"),  # (B, 1, 4)
        node("Transpose", "x3", "k", perm=[0, 2, 1]),
        node("MatMul", "k t", "p"),  # (B, 4, 4)
        helper.make_node("Split", ["p", "sizes"], ["first", "rest"], "split", axis=2),
        node("Mul", "first number", "m"),
        node("Concat", "m rest", "j", axis=2),
        node("Reshape", "j flat", "y"),
    ]
    weights = linear(np.random.default_rng(0), "q") | {"number": np.full(1, 3, np.float32), "flat": np.array([-1, 16])}
    weights |= {"tokens": np.array([-1, 1, 4]), "sizes": np.array([1, 3])}
    model = graph_of([node("Reshape", "x tokens", "x3"), *nodes], weights, x=["B", 4], y=["B", 16])
    assert kinds(applied(FOLD_SCALES, model))["Mul"] == 1


def test_norms_without_a_bias_are_shared_too() -> None:
    nodes = [
        node("LayerNormalization", "x one", "n", axis=-1),
        node("LayerNormalization", "x two", "m", axis=-1),
        node("Gemm", "n w_k b_k", "k"),
        node("Gemm", "m w_v b_v", "v"),
        node("Add", "k v", "y"),
    ]
    weights = linear(np.random.default_rng(0), "k", "v") | {"one": np.ones(4, np.float32), "two": np.full(4, 2, np.float32)}
    lean = kinds(applied(MERGE_PRODUCTS, graph_of(nodes, weights, x=["B", 4], y=["B", 4])))
    assert lean["LayerNormalization"] == lean["Gemm"] == 1


def test_an_empty_slice_is_no_part() -> None:
    nodes = [
        node("Slice", "x two two axis", "a"),
        node("Slice", "x zero two axis", "b"),
        node("Concat", "a b", "y", axis=1),
    ]
    weights = {"zero": np.array([0]), "two": np.array([2]), "axis": np.array([1])}
    assert kinds(applied(SPLIT_SLICES, graph_of(nodes, weights, x=["B", 5], y=["B", 2])))["Slice"] == 2


def test_a_number_stays_where_what_it_multiplies_is_read_unscaled_too() -> None:
    nodes = [node("Gemm", "x w_a b_a", "a"), node("Mul", "a number", "b"), node("Add", "a b", "y")]
    weights = linear(np.random.default_rng(0), "a") | {"number": np.full(1, 3, np.float32)}
    assert kinds(applied(FOLD_SCALES, graph_of(nodes, weights, x=["B", 4], y=["B", 4])))["Mul"] == 1


@pytest.mark.parametrize("kind", ["retention", "gated", "attention", "centre"])
def test_no_pass_changes_what_a_lifter_computes_in_float64(kind: str, traced: Callable[..., onnx.ModelProto]) -> None:
    model, _ = run_passes(traced(kind), export_passes()[:3])
    before, inputs = len(model.graph.node), [value.name for value in model.graph.input]
    for graph_pass in LEAN:
        model = applied(graph_pass, model)
    assert len(model.graph.node) < before
    assert [value.name for value in model.graph.input] == inputs


def test_an_fp16_graph_stays_fp16(traced: Callable[..., onnx.ModelProto]) -> None:
    model, records = run_passes(traced("retention", half=True), export_passes())
    halves = [weight for weight in model.graph.initializer if weight.data_type == TensorProto.FLOAT16]
    assert len(halves) > 20
    assert {record.name: record.tolerance for record in records}["fold_scales"] == FOLD_SCALES.half_tolerance


def test_shapes_say_which_axes_depend_on_the_batch(traced: Callable[..., onnx.ModelProto]) -> None:
    model = traced("retention")
    shapes = static_shapes(model)
    assert set(shapes) >= {output for item in model.graph.node for output in item.output}
    assert shapes["pose"] == (Streams(1), 17, 3)
    there_and_back = [node("Reshape", "x flat", "rows"), node("Reshape", "rows back", "y")]
    weights = {"flat": np.array([-1, 3]), "back": np.array([-1, 4, 3])}
    assert static_shapes(graph_of(there_and_back, weights, x=["B", 4, 3], y=["B", 4, 3]))["rows"] == (Streams(4), 3)


def test_torch_is_what_the_lean_graph_answers(
    tiny_lifter: Callable[[str], Lifter], traced: Callable[..., onnx.ModelProto]
) -> None:
    model, _ = run_passes(traced("attention"), export_passes())
    x = torch.from_numpy(np.random.default_rng(0).uniform(0.1, 0.9, (3, 9, 17, 3)))
    (pose,) = outputs(in_float64(model))
    with torch.inference_mode():
        expected = deepcopy(tiny_lifter("attention")).double()(x)
    np.testing.assert_allclose(pose, expected, rtol=1e-5, atol=1e-6)
