"""The INT8 graphs of an artefact: made from its FP16 and FP32 graphs, and written into it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from ...runtime.artefact.certificate import CERTIFICATE, CERTIFICATE_PLOT
from ...runtime.artefact.manifest import Graph, Manifest, commit_manifest, read_manifest
from ...runtime.artefact.precision import PRECISIONS, Precision, source_of
from ...runtime.artefact.transaction import locked
from ...runtime.plotting import draw_bars
from ..graph.layers import LinearLayer, find_layers
from ..graph.standalone import embed_manifest
from .calibration import CALIBRATION, CALIBRATION_PLOT, Calibration
from .calibration_plot import sensitivity_bars
from .qdq import insert_qdq, linear_weights
from .quantized_linear import QuantizedLinear, quantize_weights
from .sources import SourceGraphs


def make_model(
    precision: Precision,
    sources: SourceGraphs,
    quantized: Mapping[str, QuantizedLinear],
    mixed_layers: Sequence[LinearLayer],
) -> onnx.ModelProto:
    """The graph of one precision.

    Args:
        quantized: every layer by name.
        mixed_layers: those that are INT8 in the mixed graph.
    """
    source = source_of(precision)
    if precision == "int8w":
        weights_alone = {name: replace(layer, amax=None) for name, layer in quantized.items()}
        return insert_qdq(sources.models[source], sources.layers_in(source), weights_alone)
    return insert_qdq(sources.models[source], mixed_layers if precision == "mixed" else sources.layers[source], quantized)


def compress_weights(manifest: Manifest, model: onnx.ModelProto) -> tuple[Graph, onnx.ModelProto]:
    """The ``int8w`` graph without calibration: the FP32 graph with each weight rounded to the nearest INT8 value.

    Args:
        model: the FP32 graph.
    """
    layers = find_layers(model)
    quantized = {name: quantize_weights(weight) for name, weight in linear_weights(model, layers).items()}
    return _describe(manifest.graph("fp32"), "int8w"), insert_qdq(model, layers, quantized)


def write_models(
    folder: Path,
    sources: SourceGraphs,
    models: Mapping[Precision, onnx.ModelProto],
    calibration: Calibration,
) -> None:
    """Put the graphs and the record into the artefact, as it is now; graphs of an older calibration and the certificate go.

    Raises:
        ArtefactError: a graph that these were made from has been replaced meanwhile.
    """
    plot = io.BytesIO()
    if calibration.check_motion is not None:
        draw_bars(plot, sensitivity_bars(calibration))
    graphs = {precision: _describe(sources.graphs[source_of(precision)], precision) for precision in models}
    calibrated = {name for name, row in PRECISIONS.items() if row.needs_motion}
    stale = calibrated | set(models)  # calibration.json will not describe them any more
    with locked(folder):
        manifest = read_manifest(folder)
        sources.check_unchanged(folder, manifest)
        others = tuple(graph for graph in manifest.graphs if graph.precision not in stale)
        removed = {graph.file for graph in manifest.graphs} - {graph.file for graph in others}
        changed = manifest.model_copy(update={"graphs": (*others, *graphs.values())})
        files = {CALIBRATION: calibration.model_dump_json(indent=1).encode()}
        for precision, model in models.items():
            embed_manifest(model, changed, graphs[precision])
            files[graphs[precision].file] = model.SerializeToString()
        if calibration.check_motion is not None:
            files[CALIBRATION_PLOT] = plot.getvalue()
        commit_manifest(folder, changed, files, drop=removed | {CERTIFICATE, CERTIFICATE_PLOT, CALIBRATION_PLOT})


def _describe(source: Graph, precision: Precision) -> Graph:
    """The manifest's record of a graph that was made from another one."""
    file = source.file.removesuffix(PRECISIONS[source.precision].suffix) + PRECISIONS[precision].suffix
    return source.model_copy(update={"file": file, "precision": precision})
