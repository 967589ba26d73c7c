"""The layers that TensorRT's parser creates for a graph, with the types that each reads and writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...cuda.gc_pause import gc_paused
from .builder import open_builder, read_network

TYPES = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16"}


@dataclass(frozen=True)
class NetworkLayer:
    """A layer: its kind, and the types of its inputs and outputs: ``fp32``, ``fp16``, ``int8``, ``int64``, ``bool``."""

    name: str
    kind: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


@gc_paused()
def read_layers(trt: Any, path: Path) -> list[NetworkLayer]:
    """The layers that the parser creates for an ONNX file. Nothing is built, so TensorRT for RTX needs no GPU for it."""
    builder, logger = open_builder(trt)
    network, parser = read_network(trt, builder, logger, path)
    layers = []
    for layer in map(network.get_layer, range(network.num_layers)):
        inputs = [tensor for tensor in map(layer.get_input, range(layer.num_inputs)) if tensor is not None]
        outputs = map(layer.get_output, range(layer.num_outputs))
        kind = layer.type.name.lower()
        layers.append(NetworkLayer(layer.name, kind, tuple(map(_type, inputs)), tuple(map(_type, outputs))))
    del parser  # it owns memory that the network points to
    return layers


def computing_layers(layers: Iterable[NetworkLayer]) -> list[NetworkLayer]:
    """The layers that write values of the network: without constants, and without shape arithmetic."""
    shape_types = {"int32", "int64", "bool"}
    return [
        network_layer
        for network_layer in layers
        if network_layer.kind != "constant" and not shape_types.issuperset(network_layer.writes)
    ]


def count_by_kind(layers: Iterable[NetworkLayer]) -> dict[str, dict[str, int]]:
    """How many layers of each kind write which type: ``{"normalization": {"fp32": 94}}``, the most frequent kinds first."""
    counts: dict[str, Counter[str]] = {}
    for network_layer in layers:
        counts.setdefault(network_layer.kind, Counter())[" ".join(dict.fromkeys(network_layer.writes))] += 1
    return {kind: dict(types) for kind, types in sorted(counts.items(), key=lambda item: -item[1].total())}


def _type(tensor: Any) -> str:
    name = str(tensor.dtype.name)
    return TYPES.get(name, name.lower())
