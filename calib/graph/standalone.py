"""Standalone graphs: the manifest inside the ONNX file, so that it loads without its folder."""

from __future__ import annotations

import onnx

from ...runtime.artefact.manifest import Graph, Manifest
from ...runtime.artefact.metadata import METADATA


def embed_manifest(model: onnx.ModelProto, manifest: Manifest, graph: Graph) -> None:
    """Write the manifest of this one graph into the model's metadata, in place of the one that it carried."""
    others = [entry for entry in model.metadata_props if entry.key != METADATA]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    standalone = manifest.model_copy(update={"graphs": (graph,), "files": {}})
    model.metadata_props.add(key=METADATA, value=standalone.model_dump_json())
