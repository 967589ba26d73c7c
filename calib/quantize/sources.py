"""The graphs of an artefact that its INT8 graphs are made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from ...runtime.arrays import F32
from ...runtime.artefact.files import FileRecord
from ...runtime.artefact.manifest import Graph, Manifest, read_graph_file
from ...runtime.artefact.precision import Precision, source_of
from ...runtime.command_line import command_line
from ...runtime.errors import ArtefactError
from ..graph.layers import LinearLayer, find_layers
from .qdq import linear_weights

ROUNDINGS = 2.0**-10  # two roundings to half precision


@dataclass(frozen=True)
class SourceGraphs:
    """The FP32 graph, which is observed, and the graphs that become INT8, by precision.

    Args:
        files: what the manifest says of the ONNX files.
        graphs: their records in the manifest.
        models: the ONNX models.
        layers: the layers of each that may be quantised.
    """

    files: dict[Precision, FileRecord]
    graphs: dict[Precision, Graph]
    models: dict[Precision, onnx.ModelProto]
    layers: dict[Precision, tuple[LinearLayer, ...]]

    @property
    def quantized_layers(self) -> tuple[LinearLayer, ...]:
        """The layers that are quantised: those of the FP16 graph if it is among the sources."""
        return self.layers["fp16" if "fp16" in self.layers else "fp32"]

    def layers_in(self, precision: Precision) -> tuple[LinearLayer, ...]:
        """The layers of one graph that are quantised in all of them."""
        names = {layer.name for layer in self.quantized_layers}
        return tuple(layer for layer in self.layers[precision] if layer.name in names)

    def check_unchanged(self, folder: Path, manifest: Manifest) -> None:
        """Raise an ArtefactError unless these are still graphs of the artefact, whose manifest was read again."""
        for precision, graph in self.graphs.items():
            if manifest.files.get(graph.file) != self.files[precision]:
                raise ArtefactError(
                    f"{folder / graph.file} was replaced while it was calibrated",
                    expected="an artefact that stays as it is",
                    run=command_line("calibrate", folder),
                )


def load_sources(folder: Path, manifest: Manifest, precisions: Iterable[Precision]) -> SourceGraphs:
    """The sources of the INT8 graphs of these precisions.

    Raises:
        ArtefactError: a source is missing or was changed, or the sources do not name their layers alike.
    """
    sources = dict.fromkeys(("fp32", *map(source_of, precisions)))
    graphs = {precision: _find_graph(folder, manifest, precision) for precision in sources}
    files = {precision: manifest.files[graph.file] for precision, graph in graphs.items()}
    models = {precision: onnx.load_from_string(read_graph_file(folder, manifest, graph)) for precision, graph in graphs.items()}
    layers = {precision: find_layers(model) for precision, model in models.items()}
    _check_layers(folder, manifest, models, layers)
    return SourceGraphs(files, graphs, models, layers)


def _find_graph(folder: Path, manifest: Manifest, precision: Precision) -> Graph:
    graph = next((graph for graph in manifest.graphs if graph.precision == precision), None)
    if graph is None:
        raise ArtefactError(
            f"{folder} has no {precision} graph to calibrate",
            expected="fp32, which is observed, and fp16, which becomes INT8",
            run=command_line("export", manifest.preset, "--precision", "fp16", "--out", folder),
        )
    return graph


def _check_layers(
    folder: Path,
    manifest: Manifest,
    models: dict[Precision, onnx.ModelProto],
    layers: dict[Precision, tuple[LinearLayer, ...]],
) -> None:
    """The FP32 graph has every layer of the FP16 graph, by the same name and with the same weights but for their rounding."""
    weights = {precision: linear_weights(models[precision], found) for precision, found in layers.items()}
    single, half = weights["fp32"], weights.get("fp16", {})
    if not single or "" in single or not all(name in single and _rounded(half[name], single[name]) for name in half):
        raise ArtefactError(
            f"the graphs in {folder} do not have the same layers",
            expected="graphs of one export of this version",
            run=command_line("export", manifest.preset, "--precision", "fp16", "--out", folder),
        )


def _rounded(half: F32, single: F32) -> bool:
    """Whether weights are others in half precision, rounded once or twice."""
    return half.shape == single.shape and bool(np.allclose(half, single, rtol=ROUNDINGS, atol=ROUNDINGS * np.abs(single).max()))
