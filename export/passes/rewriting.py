"""What passes that rewrite a graph share: a graph with the shape of each tensor, and weights that can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from .shapes import Shape, reshape_target, static_shapes


class RewritableGraph:
    """A graph whose nodes a pass changes in place, with the shapes that its tensors had when the pass began.

    Args:
        model: a graph without subgraphs; it is not changed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._shapes = static_shapes(model)
        self.model = ir.from_proto(model)
        self.graph = self.model.graph

    def shape(self, value: ir.Value | None) -> Shape | None:
        """The shape of a tensor; None if it is not known."""
        return None if value is None or value.name is None else self._shapes.get(value.name)

    def note_shape(self, value: ir.Value, shape: Shape) -> None:
        """The shape of a tensor that the pass made."""
        assert value.name is not None
        self._shapes[value.name] = shape

    def constant(self, value: ir.Value | None) -> NDArray[Any] | None:
        """The numbers of a weight; None for a tensor that is computed."""
        if value is None or value.const_value is None or not value.is_initializer():
            return None
        return value.const_value.numpy()

    def add_constant(self, like: str, numbers: NDArray[Any]) -> ir.Value:
        """A new weight, whose name begins with ``like``."""
        value = ir.Value(name=self._unused_name(like), const_value=ir.tensor(np.ascontiguousarray(numbers)))
        value.shape, value.dtype = ir.Shape(numbers.shape), ir.DataType.from_numpy(numbers.dtype)
        self.graph.register_initializer(value)
        self.note_shape(value, tuple(numbers.shape))
        return value

    def insert_before(
        self,
        anchor: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        shapes: Sequence[Shape],
        attributes: dict[str, Any] | None = None,
        *,
        name: str,
    ) -> Sequence[ir.Value]:
        """Insert a node; its outputs, of these shapes."""
        node = ir.node(op_type, inputs, attributes, num_outputs=len(shapes), name=name)
        for output, shape in zip(node.outputs, shapes, strict=True):
            output.name = self._unused_name(name)
            self.note_shape(output, shape)
        self.graph.insert_before(anchor, node)
        return node.outputs

    def reshape_before(self, anchor: ir.Node, value: ir.Value, shape: Shape, *, name: str) -> ir.Value:
        """The tensor in another shape of as many numbers, which one Reshape can give it."""
        target = reshape_target(shape)
        assert target is not None, "at most one axis depends on the batch"
        sizes = self.add_constant(f"{name}.shape", np.array(target, np.int64))
        return self.insert_before(anchor, "Reshape", [value, sizes], [shape], name=name)[0]

    def result(self) -> onnx.ModelProto:
        """The graph without what nothing reads any more, and without what is there twice."""
        for tidy in (
            common.RemoveUnusedNodesPass(),
            common.DeduplicateInitializersPass(),
            common.CommonSubexpressionEliminationPass(),
            common.RemoveUnusedNodesPass(),
        ):
            tidy(self.model)
        model = ir.to_proto(self.model)
        del model.graph.value_info[:]
        return model

    def _unused_name(self, like: str) -> str:
        name, number = like, 1
        while name in self._shapes or name in self.graph.initializers:
            number += 1
            name = f"{like}_{number}"
        return name


def rewritten(model: onnx.ModelProto, rewrite: Callable[[RewritableGraph], None]) -> onnx.ModelProto:
    """A copy of the graph, rewritten."""
    graph = RewritableGraph(model)
    rewrite(graph)
    return graph.result()


def attribute(node: ir.Node, name: str, default: Any) -> Any:
    """The value of a node's attribute, or its default."""
    found = node.attributes.get(name)
    return default if found is None else found.value
