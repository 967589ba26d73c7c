"""The layers of a graph, each with the types that it reads and writes, as TensorRT's own parser sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...cuda.gc_pause import gc_paused
from .builder import open_builder, read_network

NAMES = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16"}


@dataclass(frozen=True)
class NetworkLayer:
    """A layer: what it is, and the types of its inputs and outputs; ``fp32``, ``fp16``, ``int8``, ``int64``, ``bool``."""

    name: str
    kind: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


@gc_paused()
def read_layers(trt: Any, path: Path) -> list[NetworkLayer]:
    """What the parser makes of an ONNX file. Nothing is built, so no GPU is needed for TensorRT for RTX."""
    builder, logger = open_builder(trt)
    network, parser = read_network(trt, builder, logger, path)
    found = []
    for layer in map(network.get_layer, range(network.num_layers)):
        reads = [tensor for tensor in map(layer.get_input, range(layer.num_inputs)) if tensor is not None]
        writes = map(layer.get_output, range(layer.num_outputs))
        found.append(NetworkLayer(layer.name, layer.type.name.lower(), tuple(map(_type, reads)), tuple(map(_type, writes))))
    del parser  # it owns what the network points to
    return found


def computing_layers(layers: Iterable[NetworkLayer]) -> list[NetworkLayer]:
    """Without constants, and without what only counts axes: each of these writes numbers of the network."""
    counts = {"int32", "int64", "bool"}
    return [each for each in layers if each.kind != "constant" and not counts.issuperset(each.writes)]


def by_kind(layers: Iterable[NetworkLayer]) -> dict[str, dict[str, int]]:
    """How many layers of each kind write which type: ``{"normalization": {"fp32": 94}}``, the frequent kinds first."""
    found: dict[str, Counter[str]] = {}
    for each in layers:
        found.setdefault(each.kind, Counter())[" ".join(dict.fromkeys(each.writes))] += 1
    return {kind: dict(types) for kind, types in sorted(found.items(), key=lambda item: -item[1].total())}


def _type(tensor: Any) -> str:
    name = str(tensor.dtype.name)
    return NAMES.get(name, name.lower())
