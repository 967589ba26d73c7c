"""INT8 in the graph: TensorRT's rules, and exactly the numbers of integer arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from posemoe_edge.calib.graph.layers import LinearLayer, find_layers
from posemoe_edge.calib.measure.observer import TensorStats
from posemoe_edge.calib.quantize.qdq import insert_qdq, linear_weights
from posemoe_edge.calib.quantize.quantized_linear import QuantizedLinear, quantize_layers, quantize_weights
from posemoe_edge.runtime.artefact.manifest import read_manifest

K, N = 16, 24
RNG = np.random.default_rng(0)
NORM_WEIGHT, NORM_BIAS = RNG.uniform(0.5, 3, K), RNG.normal(size=K)
WEIGHT, SECOND, BIAS = RNG.normal(size=(K, N)), RNG.normal(size=(N, K)), RNG.normal(size=N)


def small_graph(half: bool, *, gemm: bool = False) -> onnx.ModelProto:
    """norm -> product -> GELU -> product, as the export writes it: x (B, 16) float32 -> y (B, 16) float32."""
    kind, dtype = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    second = SECOND.T if gemm else SECOND
    weights = {"weight": WEIGHT, "bias": BIAS, "second": second}
    initializers = [numpy_helper.from_array(array.astype(dtype), name) for name, array in weights.items()]
    initializers += [
        numpy_helper.from_array(array.astype(np.float32), name) for name, array in (("nw", NORM_WEIGHT), ("nb", NORM_BIAS))
    ]
    product = helper.make_node("Gemm", ["gelu", "second"], ["out"], "down/Gemm", transB=1)
    if not gemm:
        product = helper.make_node("MatMul", ["gelu", "second"], ["out"], "down/MatMul")
    nodes = [
        helper.make_node("LayerNormalization", ["x", "nw", "nb"], ["normed"], "norm/LayerNormalization"),
        helper.make_node("Cast", ["normed"], ["narrow"], "up/Cast", to=kind),
        helper.make_node("MatMul", ["narrow", "weight"], ["product"], "up/MatMul"),
        helper.make_node("Add", ["product", "bias"], ["sum"], "up/Add"),
        helper.make_node("Gelu", ["sum"], ["gelu"], "Gelu"),
        product,
        helper.make_node("Cast", ["out"], ["y"], "Cast", to=TensorProto.FLOAT),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", K]) for name in "xy")
    graph = helper.make_graph(nodes, "small", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto, x: NDArray[Any], *outputs: str) -> list[NDArray[Any]]:
    model = onnx.load_from_string(model.SerializeToString())
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results: list[NDArray[Any]] = session.run(list(outputs) or ["y"], {"x": x})
    return results


def rows(seed: int = 1, count: int = 400) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(size=(count, K)).astype(np.float32)


def relative_error(actual: NDArray[Any], exact: NDArray[Any]) -> float:
    """The mean absolute error, relative to the mean absolute exact value."""
    return float(np.abs(actual - exact).mean() / np.abs(exact).mean())


def quantize_small(model: onnx.ModelProto) -> tuple[tuple[LinearLayer, ...], dict[str, QuantizedLinear]]:
    layers, observed = find_layers(model), {}
    for layer in layers:
        observed[layer.name] = TensorStats(calls=1)
        observed[layer.name].add(run(model, rows(), layer.activation)[0].astype(np.float32), np.random.default_rng(0))
    return layers, quantize_layers(layers, linear_weights(model, layers), observed, "minmax")


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("gemm", [False, True], ids=["matmul", "gemm"])
def test_the_graph_still_computes_nearly_the_same(half: bool, gemm: bool) -> None:
    fp32 = small_graph(False, gemm=gemm)
    _, quantized = quantize_small(fp32)
    model = small_graph(half, gemm=gemm)
    rewritten = insert_qdq(model, find_layers(model), quantized)
    onnx.checker.check_model(rewritten, full_check=True)
    exact, actual = run(fp32, rows(2))[0], run(rewritten, rows(2))[0]
    assert 0 < relative_error(actual, exact) < 0.02


def test_a_product_sums_integers_exactly() -> None:
    model = small_graph(False)
    layers, quantized = quantize_small(model)
    rewritten = insert_qdq(model, layers[:1], quantized)
    up, x = quantized["up"], rows(3)
    by_name = {w.name: numpy_helper.to_array(w) for w in rewritten.graph.initializer}
    node = next(node for node in rewritten.graph.node if node.op_type == "QuantizeLinear")
    smoothed, int8_values, summed = run(rewritten, x, node.input[0], node.output[0], "sum")
    nearest = np.clip(np.round(smoothed / up.activation_scale), -127, 127)
    assert (int8_values == nearest).mean() > 0.999 and np.abs(int8_values - nearest).max() <= 1  # a tie may round either way
    integers = int8_values.astype(np.int64) @ up.qweight.astype(np.int64)
    assert up.bias is not None
    expected = integers * up.activation_scale * up.weight_scale + up.bias + by_name["bias"]
    np.testing.assert_allclose(summed, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_graph_follows_the_rules_of_tensorrt(precision: Any, retention_artefact: Path) -> None:
    path = retention_artefact / read_manifest(retention_artefact).graph(precision).file
    model = onnx.load(str(path))
    layers = find_layers(model)
    weights_only = {name: quantize_weights(weight) for name, weight in linear_weights(model, layers).items()}
    quantized = {name: replace(layer, amax=1.0) for name, layer in weights_only.items()}
    rewritten = insert_qdq(model, layers, quantized)
    onnx.checker.check_model(rewritten, full_check=True)
    initializers = {w.name: w for w in rewritten.graph.initializer}
    by_output = {name: node for node in rewritten.graph.node for name in node.output}
    expected = TensorProto.FLOAT if precision == "fp32" else TensorProto.FLOAT16
    pairs = 0
    for node in rewritten.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale = initializers[node.input[1]]
            assert scale.data_type == expected and (numpy_helper.to_array(scale) > 0).all()
            if len(node.input) > 2:  # per tensor
                zero = numpy_helper.to_array(initializers[node.input[2]])
                assert zero.dtype == np.int8 and zero == 0 and not scale.dims
            else:  # a weight, by its outputs
                int8_values = initializers[node.input[0]]
                axis = next(a.i for a in node.attribute if a.name == "axis")
                assert int8_values.data_type == TensorProto.INT8 and list(scale.dims) == [int8_values.dims[axis]]
        if node.op_type == "QuantizeLinear":
            readers = [other for other in rewritten.graph.node if node.output[0] in other.input]
            assert [other.op_type for other in readers] == ["DequantizeLinear"]
        if node.op_type == "DequantizeLinear":
            readers = [other for other in rewritten.graph.node if node.output[0] in other.input]
            assert {other.op_type for other in readers} <= {"MatMul", "Gemm"}, (
                "quantised tensors go into products, and nowhere else"
            )
        if node.op_type in ("MatMul", "Gemm") and node.name in {layer.node for layer in layers}:
            pairs += 1
            assert by_output[node.input[0]].op_type == by_output[node.input[1]].op_type == "DequantizeLinear"
    assert pairs == len(layers) > 20
    before = {(node.op_type, tuple(node.output)) for node in model.graph.node}
    assert before <= {(node.op_type, tuple(node.output)) for node in rewritten.graph.node}, "the other nodes are unchanged"


def test_smoothing_is_folded_into_a_norm_that_only_the_layer_reads() -> None:
    model = small_graph(True)
    _, quantized = quantize_small(small_graph(False))
    assert all(layer.alpha is not None for layer in quantized.values()), "otherwise nothing is tested here"
    rewritten = insert_qdq(model, find_layers(model), quantized)
    assert {node.name for node in rewritten.graph.node if node.op_type in ("Sub", "Mul")} == {
        "down/level/Sub",
        "down/level/Mul",
    }


def test_a_norm_with_other_readers_is_not_changed() -> None:
    model = small_graph(False)
    model.graph.output.append(helper.make_tensor_value_info("normed", TensorProto.FLOAT, ["B", K]))
    layers, quantized = quantize_small(small_graph(False))
    rewritten = insert_qdq(model, layers, quantized)
    np.testing.assert_array_equal(run(rewritten, rows(4), "normed")[0], run(small_graph(False), rows(4), "normed")[0])


def test_quantised_weights_alone_leave_the_activations_as_they_are() -> None:
    model = small_graph(False)
    layers = find_layers(model)
    rewritten = insert_qdq(model, layers, {name: quantize_weights(w) for name, w in linear_weights(model, layers).items()})
    assert "QuantizeLinear" not in {node.op_type for node in rewritten.graph.node}
    assert rewritten.ByteSize() < model.ByteSize()
    assert 0 < relative_error(run(rewritten, rows(5))[0], run(model, rows(5))[0]) < 0.01


def test_two_layers_with_the_same_weight_get_an_int8_weight_each() -> None:
    model = small_graph(False)
    again = helper.make_node("MatMul", ["narrow", "weight"], ["twin"], "twin/MatMul")
    model.graph.node.insert(3, again)
    model.graph.output.append(helper.make_tensor_value_info("twin", TensorProto.FLOAT, ["B", N]))
    layers, quantized = quantize_small(model)
    rewritten = insert_qdq(model, layers, quantized)
    onnx.checker.check_model(rewritten, full_check=True)
    assert 0 < relative_error(run(rewritten, rows(6), "twin")[0], run(model, rows(6), "twin")[0]) < 0.02
    assert "weight" not in {w.name for w in rewritten.graph.initializer}


def test_the_given_model_is_not_changed(retention_artefact: Path, artefact_of: Callable[[str], Path]) -> None:
    model = small_graph(True)
    before = model.SerializeToString()
    insert_qdq(model, find_layers(model), quantize_small(small_graph(False))[1])
    assert model.SerializeToString() == before
