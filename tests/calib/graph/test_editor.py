"""The graph editor: an edited copy, in order, that a runtime accepts; the given model stays as it was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from posemoe_edge.calib.graph.editor import GraphEditor
from posemoe_edge.runtime.arrays import F32

X: F32 = np.array([[1, -2, 3]], np.float32)


def small_model() -> onnx.ModelProto:
    """y = relu(x * weight) + x, for x (B, 3)."""
    nodes = [
        helper.make_node("Mul", ["x", "weight"], ["product"], "mul"),
        helper.make_node("Relu", ["product"], ["positive"], "relu"),
        helper.make_node("Add", ["positive", "x"], ["y"], "add"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 3]) for name in "xy")
    weight = numpy_helper.from_array(np.full(3, 2, np.float32), "weight")
    graph = helper.make_graph(nodes, "small", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto, *outputs: str, **inputs: F32) -> list[F32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results: list[F32] = session.run(list(outputs) or ["y"], {"x": X, **inputs})
    return results


def names(model: onnx.ModelProto) -> list[str]:
    return [node.name for node in model.graph.node]


def test_without_edits_the_copy_is_identical_byte_by_byte() -> None:
    assert GraphEditor(small_model()).build().SerializeToString() == small_model().SerializeToString()


def edit_everything(editor: GraphEditor) -> None:
    _, relu, add = editor.nodes
    editor.replace_initializer("weight", np.ones(3, np.float32))
    editor.rename_output(relu, "positive", "raw")
    editor.insert_after(relu, helper.make_node("Neg", ["raw"], ["positive"]))
    editor.insert_before(add, helper.make_node("Abs", ["positive"], ["size"]))
    editor.prepend(helper.make_node("Neg", ["x"], ["minus_x"]))
    editor.replace_inputs({"product": "x"})
    editor.add_output("size")


def test_the_given_model_is_not_changed() -> None:
    model = small_model()
    before = model.SerializeToString()
    editor = GraphEditor(model)
    edit_everything(editor)
    editor.build()
    assert model.SerializeToString() == before


def test_building_twice_gives_the_same_model() -> None:
    editor = GraphEditor(small_model())
    edit_everything(editor)
    assert editor.build().SerializeToString() == editor.build().SerializeToString()


def test_nodes_are_inserted_beside_their_anchor_in_the_order_of_the_calls() -> None:
    editor = GraphEditor(small_model())
    relu = editor.nodes[1]
    for name, insert in (("a1", editor.insert_after), ("a2", editor.insert_after), ("b1", editor.insert_before)):
        insert(relu, helper.make_node("Identity", ["product"], [name], name))
    editor.insert_before(relu, helper.make_node("Identity", ["product"], ["b2"], "b2"))
    editor.prepend(helper.make_node("Identity", ["x"], ["p1"], "p1"))
    editor.prepend(helper.make_node("Identity", ["x"], ["p2"], "p2"))
    model = editor.build()
    assert names(model) == ["p1", "p2", "mul", "b1", "b2", "relu", "a1", "a2", "add"]
    np.testing.assert_array_equal(run(model)[0], np.maximum(2 * X, 0) + X)


def test_a_renamed_output_lets_an_inserted_node_take_its_place() -> None:
    editor = GraphEditor(small_model())
    relu = editor.nodes[1]
    raw = editor.rename_output(relu, "positive", "positive.raw")
    half = editor.add_initializer("half", np.array([0.5], np.float32))
    editor.insert_after(relu, helper.make_node("Mul", [raw, half], ["positive"]))
    np.testing.assert_array_equal(run(editor.build())[0], np.maximum(X, 0) + X)


def test_inputs_are_replaced_in_every_node_that_reads_them() -> None:
    editor = GraphEditor(small_model())
    editor.add_input(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["B", 3]))
    editor.replace_inputs({"x": "other"})
    np.testing.assert_array_equal(run(editor.build(), other=-X)[0], np.maximum(-2 * X, 0) - X)


def test_any_tensor_can_become_an_output() -> None:
    editor = GraphEditor(small_model())
    editor.add_output("product")
    np.testing.assert_array_equal(run(editor.build(), "product")[0], 2 * X)


def test_weights_are_replaced_at_their_place_and_added_at_the_end() -> None:
    editor = GraphEditor(small_model())
    editor.replace_initializer("weight", np.full(3, -1, np.float32))
    editor.add_initializer("more", np.zeros((), np.int8))
    model = editor.build()
    assert [weight.name for weight in model.graph.initializer] == ["weight", "more"]
    np.testing.assert_array_equal(editor.initializer("weight"), np.full(3, -1, np.float32))
    np.testing.assert_array_equal(run(model)[0], np.maximum(-X, 0) + X)
    with pytest.raises(ValueError, match="has an initializer 'more' already"):
        editor.add_initializer("more", np.zeros(1))


def test_weights_that_no_node_reads_are_removed_on_request() -> None:
    editor = GraphEditor(small_model())
    editor.add_initializer("unread", np.zeros(1))
    editor.replace_inputs({"weight": "x"})
    editor.remove_unused_initializers()
    assert not editor.build().graph.initializer and not editor.is_initializer("weight")


def test_producers_and_uses_are_those_of_the_given_model() -> None:
    editor = GraphEditor(small_model())
    producer = editor.producer("positive")
    assert producer is editor.nodes[1] and editor.producer("x") is editor.producer("weight") is None
    assert [editor.uses(name) for name in ("x", "product", "y", "unknown")] == [2, 1, 1, 0]


def test_a_unique_name_is_reserved() -> None:
    editor = GraphEditor(small_model())
    assert [editor.unique_name(name) for name in ("new", "new", "product", "x", "weight")] == [
        "new",
        "new.2",
        "product.2",
        "x.2",
        "weight.2",
    ]


@pytest.mark.parametrize(
    "edit",
    [
        lambda editor: editor.replace_inputs({"product": "nowhere"}),
        lambda editor: editor.insert_before(editor.nodes[0], helper.make_node("Neg", ["positive"], ["early"], "early")),
        lambda editor: editor.rename_output(editor.nodes[0], "product", "renamed"),
    ],
    ids=["unknown tensor", "read before it is produced", "output that nothing produces any more"],
)
def test_a_graph_out_of_order_is_refused(edit: Callable[[GraphEditor], object]) -> None:
    editor = GraphEditor(small_model())
    edit(editor)
    with pytest.raises(ValueError, match="before it is produced"):
        editor.build()
