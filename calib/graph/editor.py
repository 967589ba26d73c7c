"""The graph editor: an edited copy of an ONNX model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


class GraphEditor:
    """A copy of a model, edited in memory; ``build`` returns the edited model and the original stays as it was.

    Nodes are edited in place through ``nodes``. New nodes are inserted beside a node of ``nodes`` and keep the order of the
    calls. Graphs with subgraphs (If, Loop, Scan) are not supported.

    Args:
        model: the graph to edit.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        self._graph = self._model.graph
        self.nodes: tuple[onnx.NodeProto, ...] = tuple(self._graph.node)
        self._first: list[onnx.NodeProto] = []
        self._before: dict[int, list[onnx.NodeProto]] = {}  # by id of the node: messages have no hash
        self._after: dict[int, list[onnx.NodeProto]] = {}
        self._initializers = {tensor.name: tensor for tensor in self._graph.initializer}
        self._producers = {name: node for node in self.nodes for name in node.output}
        self._uses = Counter(name for node in self.nodes for name in node.input)
        self._uses.update(output.name for output in self._graph.output)
        self._names = {*self._initializers, *self._producers, *(value.name for value in self._graph.input)}

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """The node of the given model that computes a tensor; None for an input or a weight."""
        return self._producers.get(tensor)

    def uses(self, tensor: str) -> int:
        """How many inputs of nodes and outputs of the given model read a tensor."""
        return self._uses[tensor]

    def is_initializer(self, tensor: str) -> bool:
        """Whether a tensor is a weight of the graph."""
        return tensor in self._initializers

    def initializer(self, name: str) -> NDArray[Any]:
        """The values of a weight."""
        return numpy_helper.to_array(self._initializers[name])

    def unique_name(self, name: str) -> str:
        """A name that no tensor has yet: ``name``, or ``name.2``, ``name.3`` and so on. The name is reserved."""
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name}.{number}"
        self._names.add(unique)
        return unique

    def add_initializer(self, name: str, array: NDArray[Any]) -> str:
        """Append a weight and return its name.

        Raises:
            ValueError: the graph has a weight of that name.
        """
        if name in self._initializers:
            raise ValueError(f"the graph has an initializer {name!r} already")
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        self._initializers[name] = self._graph.initializer[-1]
        self._names.add(name)
        return name

    def replace_initializer(self, name: str, array: NDArray[Any]) -> None:
        """Give a weight other values, at its place among the weights."""
        self._initializers[name].CopyFrom(numpy_helper.from_array(array, name))

    def add_input(self, value: onnx.ValueInfoProto) -> None:
        """Append an input to the graph."""
        self._graph.input.append(value)
        self._names.add(value.name)

    def add_output(self, tensor: str) -> None:
        """Make a tensor an output of the graph, without a type: the runtime infers it."""
        self._graph.output.append(onnx.ValueInfoProto(name=tensor))

    def prepend(self, node: onnx.NodeProto) -> None:
        """Insert a node before all nodes of the given model."""
        self._first.append(node)

    def insert_before(self, anchor: onnx.NodeProto, node: onnx.NodeProto) -> None:
        """Insert a node directly before one of ``nodes``."""
        self._before.setdefault(id(anchor), []).append(node)

    def insert_after(self, anchor: onnx.NodeProto, node: onnx.NodeProto) -> None:
        """Insert a node after one of ``nodes`` and after what was inserted there before."""
        self._after.setdefault(id(anchor), []).append(node)

    def rename_output(self, node: onnx.NodeProto, old: str, new: str) -> str:
        """Rename an output of one of ``nodes``, so that an inserted node can produce the old name. Returns the new name."""
        node.output[list(node.output).index(old)] = new
        self._names.add(new)
        return new

    def replace_inputs(self, names: Mapping[str, str]) -> None:
        """Let all of ``nodes`` read other tensors: old name -> new name."""
        for node in self.nodes:
            for i, name in enumerate(node.input):
                if name in names:
                    node.input[i] = names[name]

    def clear_value_info(self) -> None:
        """Forget the types of the tensors in between, which the edits make wrong."""
        del self._graph.value_info[:]

    def remove_unused_initializers(self) -> None:
        """Remove the weights that no node reads any more."""
        read = {name for node in self._ordered() for name in node.input}
        used = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(used)
        self._initializers = {tensor.name: tensor for tensor in self._graph.initializer}

    def build(self) -> onnx.ModelProto:
        """The edited model.

        Raises:
            ValueError: a node reads a tensor that no earlier node produces, so the graph is not in topological order.
        """
        nodes = self._ordered()
        known = {"", *self._initializers, *(value.name for value in self._graph.input)}
        for node in nodes:
            unknown = [name for name in node.input if name not in known]
            if unknown:
                raise ValueError(f"node {node.name or node.op_type!r} reads {unknown[0]!r} before it is produced")
            known.update(node.output)
        edited = onnx.ModelProto()
        edited.CopyFrom(self._model)
        del edited.graph.node[:]
        edited.graph.node.extend(nodes)
        return edited

    def _ordered(self) -> list[onnx.NodeProto]:
        ordered = list(self._first)
        for node in self.nodes:
            ordered += [*self._before.get(id(node), ()), node, *self._after.get(id(node), ())]
        return ordered
