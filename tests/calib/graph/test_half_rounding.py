"""Half rounding on a CPU: as the ONNX reference evaluator rounds, not as ONNX Runtime computes FP16 graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from posemoe_edge.calib.graph.half_rounding import is_half, round_to_half

FRAMES = 15
Run = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


def session(proto: onnx.ModelProto) -> Run:
    runtime = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda inputs: list(runtime.run(None, inputs))


def evaluator(proto: onnx.ModelProto) -> Run:
    reference = ReferenceEvaluator(proto)
    return lambda inputs: list(reference.run(None, inputs))


def roll(run: Run, keypoints: np.ndarray) -> np.ndarray:
    """(T, J, 3) poses, the state carried."""
    state, poses = np.zeros((1, 11, 8, 8, 17, 2), np.float32), []
    for i, frame in enumerate(keypoints):
        dt, reset = np.full(1, 0.02, np.float32), np.array([i == 0])
        pose, state = run({"keypoints": frame[None], "state": state, "dt": dt, "reset": reset})
        poses.append(pose[0])
    return np.stack(poses)


@pytest.fixture(scope="module")
def half(artefact_of: Callable[[str], Path]) -> onnx.ModelProto:
    return onnx.load(artefact_of("retention") / "step.fp16.onnx")


@pytest.fixture(scope="module")
def drift(
    artefact_of: Callable[[str], Path], half: onnx.ModelProto, walker_keypoints: Callable[..., np.ndarray]
) -> dict[str, float]:
    """Mean millimetres from the fp32 graph, closed loop, of three ways to compute the fp16 graph."""
    keypoints = walker_keypoints(FRAMES)
    fp32_poses = roll(session(onnx.load(artefact_of("retention") / "step.fp32.onnx")), keypoints)
    ways = {"reference": evaluator(half), "rounded": session(round_to_half(half)), "plain": session(half)}
    return {name: 1000 * float(np.linalg.norm(roll(run, keypoints) - fp32_poses, axis=-1).mean()) for name, run in ways.items()}


def test_a_rounded_graph_drifts_as_the_reference_does(drift: dict[str, float]) -> None:
    # The same rounding after each operation; sums inside a product are taken in another order.
    assert drift["rounded"] == pytest.approx(drift["reference"], rel=0.25)


def test_onnx_runtime_alone_shows_half_precision_better_than_it_is(drift: dict[str, float]) -> None:
    assert drift["plain"] < 0.9 * drift["rounded"]  # so ONNX Runtime alone hides a part of the drift


def test_a_rounded_graph_has_half_tensors_only_between_its_casts(half: onnx.ModelProto) -> None:
    rounded = round_to_half(half)
    onnx.checker.check_model(rounded, full_check=True)
    assert is_half(half) and not is_half(rounded)
    inferred = onnx.shape_inference.infer_shapes(rounded, strict_mode=True, data_prop=True).graph
    half_values = {v.name for v in inferred.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT16}
    assert half_values and all(name.endswith(".half") for name in half_values)
    for before, after in ((half.graph.input, rounded.graph.input), (half.graph.output, rounded.graph.output)):
        assert [v.SerializeToString() for v in before] == [v.SerializeToString() for v in after]


def test_every_number_of_a_half_tensor_is_a_half(half: onnx.ModelProto, walker_keypoints: Callable[..., np.ndarray]) -> None:
    inferred = onnx.shape_inference.infer_shapes(half, strict_mode=True, data_prop=True).graph
    half_values = [v.name for v in inferred.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT16]
    rounded = round_to_half(half)
    kinds = {name: node.op_type for node in half.graph.node for name in node.output}
    assert {"MatMul", "Gemm", "Gelu", "Cast", "Transpose", "Split"} <= {kinds[name] for name in half_values}
    del rounded.graph.output[:]
    rounded.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in half_values)
    inputs = {
        "keypoints": walker_keypoints(1),
        "state": np.random.default_rng(0).normal(size=(1, 11, 8, 8, 17, 2)).astype(np.float32),
        "dt": np.full(1, 0.02, np.float32),
        "reset": np.zeros(1, np.bool_),
    }
    for name, value in zip(half_values, session(rounded)(inputs), strict=True):
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, value.astype(np.float16).astype(np.float32), err_msg=f"{kinds[name]} {name}")


def test_the_weights_keep_their_half_values(half: onnx.ModelProto) -> None:
    rounded = {w.name: numpy_helper.to_array(w) for w in round_to_half(half).graph.initializer}
    for weight in half.graph.initializer:
        np.testing.assert_array_equal(rounded[weight.name], numpy_helper.to_array(weight))


def test_the_given_graph_is_not_changed(half: onnx.ModelProto) -> None:
    before = half.SerializeToString()
    round_to_half(half)
    assert half.SerializeToString() == before


def test_a_float_graph_stays_what_it_is(artefact_of: Callable[[str], Path]) -> None:
    proto = onnx.load(artefact_of("dssm") / "step.fp32.onnx")
    assert not is_half(proto) and [n.op_type for n in round_to_half(proto).graph.node] == [n.op_type for n in proto.graph.node]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 + 2**-11, 1.0),
        (1 + 3 * 2**-11, 1 + 2**-9),
        (70000.0, np.inf),
        (2**-25, 0.0),
        (6e-8, 2**-24),
        (-0.1, -0.0999755859375),
    ],
)
def test_a_sum_is_rounded_to_the_nearest_half_and_ties_to_even(value: float, expected: float) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    nodes: list[Any] = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT16),
        helper.make_node("Add", ["a", "zero"], ["b"]),
        helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
    ]
    zero = numpy_helper.from_array(np.zeros(1, np.float16), "zero")
    graph = helper.make_graph(nodes, "g", [x], [y], [zero])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    assert session(round_to_half(proto))({"x": np.array([value], np.float32)})[0][0] == np.float32(expected)


def quantised_product(
    activations: np.ndarray, weight: np.ndarray, x_scale: np.float16, w_scale: np.ndarray, *, both: bool = True
) -> np.ndarray:
    """(rows, outputs) of one product in a half-precision graph: the weight in INT8, and the activations too if ``both``."""
    initializers = [
        numpy_helper.from_array(np.asarray(x_scale), "x.scale"),
        numpy_helper.from_array(np.zeros((), np.int8), "zero"),
        numpy_helper.from_array(weight, "w.codes"),
        numpy_helper.from_array(w_scale, "w.scale"),
    ]
    nodes = [
        helper.make_node("Cast", ["x"], ["x.half"], to=TensorProto.FLOAT16),
        helper.make_node("QuantizeLinear", ["x.half", "x.scale", "zero"], ["x.codes"]),
        helper.make_node("DequantizeLinear", ["x.codes", "x.scale", "zero"], ["x.back"]),
        helper.make_node("DequantizeLinear", ["w.codes", "w.scale"], ["w.back"], axis=1),
        helper.make_node("MatMul", ["x.back" if both else "x.half", "w.back"], ["product"]),
        helper.make_node("Cast", ["product"], ["y"], to=TensorProto.FLOAT),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(activations.shape))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [len(activations), weight.shape[1]])
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(proto, full_check=True)
    assert is_half(proto)
    return session(round_to_half(proto))({"x": activations})[0]


@pytest.mark.parametrize("furthest", [20, 127])
def test_an_int8_product_is_exact_but_for_its_result(furthest: int) -> None:
    """Integers are summed, the sum is scaled and rounded to half: the largest INT8 values do not overflow."""
    rng = np.random.default_rng(furthest)
    codes = rng.integers(-furthest, furthest + 1, (8, 64), dtype=np.int8)
    weight = rng.integers(-furthest, furthest + 1, (64, 32), dtype=np.int8)
    codes[0], weight[:, 0] = furthest, furthest  # the largest sum there is
    x_scale, w_scale = np.float16(0.0371), rng.uniform(0.001, 0.02, 32).astype(np.float16)
    activations = codes.astype(np.float32) * np.float32(x_scale)
    sums = codes.astype(np.int64) @ weight.astype(np.int64)
    exact = sums * (np.float64(x_scale) * w_scale.astype(np.float64))
    product = quantised_product(activations, weight, x_scale, w_scale)
    np.testing.assert_array_equal(product, exact.astype(np.float16).astype(np.float32))
    # If the inputs were rounded to half too, most results would differ.
    half_values = (codes * x_scale).astype(np.float64) @ (weight * w_scale).astype(np.float64)
    assert (product != half_values.astype(np.float16)).mean() > 0.2


def test_a_weight_in_int8_under_half_arithmetic_is_a_half() -> None:
    """Only the weight is quantised: the product reads it in half precision."""
    rng = np.random.default_rng(0)
    weight, w_scale = rng.integers(-127, 128, (64, 32), dtype=np.int8), rng.uniform(0.001, 0.02, 32).astype(np.float16)
    activations = rng.normal(size=(8, 64)).astype(np.float16).astype(np.float32)
    product = quantised_product(activations, weight, np.float16(1), w_scale, both=False)
    half_values = activations.astype(np.float64) @ (weight * w_scale).astype(np.float64)
    np.testing.assert_allclose(product, half_values, rtol=2**-11, atol=1e-6)  # sums are FP32: a tie may round to the other side
    unrounded = activations.astype(np.float64) @ (weight * w_scale.astype(np.float64))
    assert np.abs(product - unrounded).mean() > 1.1 * np.abs(product - half_values).mean()
