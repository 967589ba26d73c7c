"""External data: graphs whose weights lie in other files, wherever in the graph they hang."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from posemoe_edge.runtime import load
from posemoe_edge.runtime.artefact.external_data import refuse_external_data
from posemoe_edge.runtime.artefact.manifest import read_manifest, replace_files
from posemoe_edge.runtime.errors import ArtefactError

if TYPE_CHECKING:
    import onnx
else:
    onnx = pytest.importorskip("onnx")


def external() -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w", dims=[1], data_type=onnx.TensorProto.FLOAT)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    return tensor


def in_attribute(graph: onnx.GraphProto) -> None:
    graph.node.add(op_type="Constant").attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=external())


def in_branch(graph: onnx.GraphProto) -> None:
    branch = onnx.GraphProto(initializer=[external()])
    graph.node.add(op_type="If").attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH, g=branch)


def in_sparse(graph: onnx.GraphProto) -> None:
    graph.sparse_initializer.add(values=external())


PLACES = [lambda graph: graph.initializer.append(external()), in_attribute, in_branch, in_sparse]


@pytest.mark.parametrize("put", PLACES, ids=["initializer", "attribute", "branch", "sparse"])
def test_weights_in_another_file_are_found_wherever_they_hang(put: Callable[[onnx.GraphProto], object]) -> None:
    model = onnx.ModelProto()
    refuse_external_data(model.SerializeToString(), "a.onnx")
    put(model.graph)
    with pytest.raises(ArtefactError, match=r"a\.onnx has weights in another file"):
        refuse_external_data(model.SerializeToString(), "a.onnx")


def test_a_graph_with_external_data_does_not_load(copied_artefact: Path, tmp_path: Path) -> None:
    path = copied_artefact / "step.fp32.onnx"
    model = onnx.load(str(path))
    onnx.save(model, str(tmp_path / path.name), save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(ArtefactError, match="weights in another file"):
        load(tmp_path / path.name)
    replace_files(copied_artefact, read_manifest(copied_artefact), {path.name: (tmp_path / path.name).read_bytes()})
    with pytest.raises(ArtefactError, match="weights in another file"):
        load(copied_artefact)


def test_what_is_no_graph_is_said_so() -> None:
    with pytest.raises(ArtefactError, match="not an ONNX file"):
        refuse_external_data(b"\xff\xff\xff", "a.onnx")
