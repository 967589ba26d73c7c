"""Calibrate: INT8 graphs for an artefact, from ranges seen while its FP32 graph ran with its state carried."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from ...runtime.artefact.certificate import CERTIFICATE, CERTIFICATE_PLOT, Budget, MotionSource
from ...runtime.artefact.manifest import Graph, Manifest, check_file, read_manifest, replace_files
from ...runtime.artefact.precision import PRECISIONS, Precision, source_of
from ...runtime.errors import ArtefactError, UsageError
from ...runtime.plotting import Bars, check_available, draw_bars
from ..graph.layers import Layer, find_layers
from ..graph.standalone import carry_manifest
from ..measure.observer import TensorStats, observe
from ..measure.rollout import Recording
from .calibration import CALIBRATION, CALIBRATION_PLOT, CALIBRATION_SCHEMA, CalibratedLayer, Calibration
from .qdq import layer_weights, quantize
from .ranges import Method
from .sensitivity import alone_mm, mix, rolled, within
from .weights import QuantizedLinear, code_layers, code_weights

FEWEST = 100  # frames: of fewer, the extremes are luck
BRIEF = 100  # frames that tell the harm of one layer from another's; the mix is checked on all

Progress = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def _silent(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    yield lambda n: None


@dataclass(frozen=True)
class Check:
    """Motion that the layers were not calibrated on, to measure their harm on and to choose the mix by."""

    recordings: Sequence[Recording]
    motion: MotionSource


def calibrate(
    folder: Path,
    recordings: Sequence[Recording],
    motion: MotionSource,
    *,
    precisions: Sequence[Precision] = ("int8",),
    method: Method = "minmax",
    budget: Budget | None = None,
    check: Check | None = None,
    progress: Progress = _silent,
) -> Calibration:
    """Write the INT8 graphs of an artefact, and ``calibration.json``.

    They appear when all is measured and made, so that an interrupted calibration leaves the artefact as it was. A certificate
    that is there speaks of other graphs, and goes.

    Args:
        recordings, motion: streams to observe, and where they came from.
        precisions: ``int8`` (all layers), ``int8w`` (weights alone); ``mixed`` comes with a budget.
        budget, check: measure the drift of each layer by itself on ``check``, and make a ``mixed`` graph: as many layers in
            INT8 as the budget allows.

    Raises:
        UsageError: too few frames, or of another rate than a model knows that is not told the time.
        ArtefactError: the artefact has not the graphs that INT8 is made from, or a tensor never varies or is not finite.
    """
    if (budget is None) != (check is None):
        raise UsageError("a budget needs motion to check it on, and the other way round", expected="both")
    if check is not None:
        check_available()
        precisions = tuple(dict.fromkeys((*precisions, "mixed")))
    manifest = read_manifest(folder)
    _check_rate(manifest, motion)
    recordings = _taken(manifest, recordings)
    if min(map(len, recordings), default=0) < FEWEST:
        raise UsageError(
            f"{min(map(len, recordings), default=0)} frames of a stream to calibrate on",
            expected=f"at least {FEWEST}",
            run=f"posemoe-edge calibrate {folder} --frames 500",
        )
    graphs = {name: _graph(folder, manifest, name) for name in dict.fromkeys(("fp32", *map(source_of, precisions)))}
    protos = {name: onnx.load(str(check_file(folder, manifest, graph.file))) for name, graph in graphs.items()}
    layers = {name: find_layers(proto) for name, proto in protos.items()}
    _same_layers(folder, manifest, layers)

    chosen = layers["fp16" if "fp16" in layers else "fp32"]
    wanted = {layer.name for layer in chosen}
    wide = [layer for layer in layers["fp32"] if layer.name in wanted]
    path = folder / graphs["fp32"].file
    with progress("observing", sum(map(len, recordings)), "frames") as tick:
        seen = observe(path, graphs["fp32"], recordings, [layer.activation for layer in wide], seed=motion.seed, tick=tick)
    observed = {layer.name: seen[layer.activation] for layer in wide}
    _all_vary(observed)
    with progress("coding", len(wide), "layers") as tick:
        coded = code_layers(wide, layer_weights(protos["fp32"], wide), observed, method, tick=tick)

    alone: dict[str, float] = {}
    kept: tuple[Layer, ...] = ()
    if budget is not None and check is not None:
        alone, kept = _fit(graphs, protos, layers, wide, coded, budget, check, manifest, progress)
    int8 = {layer.name for layer in kept}
    made = {precision: _made(precision, protos, layers, coded, kept, wanted) for precision in precisions}
    calibration = Calibration(
        schema_version=CALIBRATION_SCHEMA,
        graph_sha256=manifest.files[graphs["fp32"].file].sha256,
        method=method,
        motion=motion,
        checked=check.motion if check else None,
        budget=budget,
        products=sum(one.products for one in kept) / sum(one.products for one in chosen) if check else None,
        layers=tuple(
            CalibratedLayer(
                name=layer.name,
                limit=float(coded[layer.name].limit or 0.0),
                share=coded[layer.name].share,
                alone_mm=alone.get(layer.name),
                mixed=None if check is None else "int8" if layer.name in int8 else "fp16",
            )
            for layer in chosen
        ),
    )
    _write(folder, manifest, graphs, made, calibration)
    return calibration


def compress_weights(manifest: Manifest, model: onnx.ModelProto) -> tuple[Graph, onnx.ModelProto]:
    """The FP32 graph with its weights in INT8, each rounded to the nearest code: what can be had without any motion."""
    layers = find_layers(model)
    coded = {name: code_weights(weight) for name, weight in layer_weights(model, layers).items()}
    return _described(manifest.graph("fp32"), "int8w"), quantize(model, layers, coded)


def _check_rate(manifest: Manifest, motion: MotionSource) -> None:
    """A model that is not told the time takes every frame for one of its own rate."""
    fastest = max(stream.fps for stream in motion.streams)
    told = any(tensor.name == "dt" for tensor in manifest.graphs[0].inputs)
    if not told and abs(fastest / manifest.fps - 1) > 0.01:
        raise UsageError(
            f"motion at {fastest:g} Hz for {manifest.preset}, which is not told the time",
            expected=f"{manifest.fps:g} Hz, as it was trained",
            run="posemoe-edge import bvh, which resamples",
        )


def _taken(manifest: Manifest, recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings as the model takes them, if they can be calibrated on."""
    for recording in recordings:
        if not (np.isfinite(recording.keypoints).all() and np.isfinite(recording.dt_s).all()):
            raise UsageError("keypoints to calibrate on are not finite", expected="finite numbers, missing joints as (0, 0, 0)")
    return [recording.as_taken(manifest) for recording in recordings]


def _graph(folder: Path, manifest: Manifest, precision: Precision) -> Graph:
    found = next((graph for graph in manifest.graphs if graph.precision == precision), None)
    if found is None:
        raise ArtefactError(
            f"{folder} has no {precision} graph to calibrate",
            expected="fp32, which is observed, and fp16, which becomes INT8",
            run=f"posemoe-edge export {manifest.preset} --precision fp16 --out {folder}",
        )
    return found


def _same_layers(folder: Path, manifest: Manifest, layers: dict[Precision, tuple[Layer, ...]]) -> None:
    """The layers of the FP16 graph are there in the FP32 graph, by the same names."""
    names = {precision: {layer.name for layer in found} for precision, found in layers.items()}
    lost = names.get("fp16", set()) - names["fp32"]
    if lost or not names["fp32"] or "" in names["fp32"]:
        raise ArtefactError(
            f"the graphs in {folder} do not name their layers alike",
            expected="graphs of one export of this version",
            run=f"posemoe-edge export {manifest.preset} --precision fp16 --out {folder}",
        )


def _all_vary(observed: dict[str, TensorStats]) -> None:
    still = [name for name, seen in observed.items() if not seen.varies]
    if still:
        raise ArtefactError(
            f"what {len(still)} layers take never varies, {still[0]} for one",
            expected="motion that reaches every layer, and a network without dead parts",
            run="posemoe-edge calibrate with other --data, or train it further",
        )


def _fit(
    graphs: dict[Precision, Graph],
    protos: dict[Precision, onnx.ModelProto],
    layers: dict[Precision, tuple[Layer, ...]],
    wide: Sequence[Layer],
    coded: dict[str, QuantizedLinear],
    budget: Budget,
    check: Check,
    manifest: Manifest,
    progress: Progress,
) -> tuple[dict[str, float], tuple[Layer, ...]]:
    """Each layer's harm, and the layers that stay INT8."""
    recordings = _taken(manifest, check.recordings)
    with progress("each layer alone", len(wide), "layers") as tick:
        brief = [recording.during(slice(0, BRIEF)) for recording in recordings]
        alone = alone_mm(protos["fp32"], graphs["fp32"], wide, coded, brief, tick=tick)
    exact = rolled(protos["fp32"], graphs["fp32"], recordings)
    passes = within(protos["fp16"], graphs["fp16"], coded, recordings, exact, budget)
    with progress("mixing", int(np.ceil(np.log2(len(wide)))) + 1, "rollouts") as tick:

        def ticking(some: Sequence[Layer]) -> bool:
            tick(1)
            return passes(some)

        return alone, mix(layers["fp16"], alone, ticking)


def _made(
    precision: Precision,
    protos: dict[Precision, onnx.ModelProto],
    layers: dict[Precision, tuple[Layer, ...]],
    coded: dict[str, QuantizedLinear],
    kept: Sequence[Layer],
    wanted: set[str],
) -> onnx.ModelProto:
    source = source_of(precision)
    if precision == "int8w":
        weights = {name: replace(one, limit=None) for name, one in coded.items()}
        return quantize(protos[source], [layer for layer in layers[source] if layer.name in wanted], weights)
    return quantize(protos[source], kept if precision == "mixed" else layers[source], coded)


def _described(source: Graph, precision: Precision) -> Graph:
    """What the manifest says of a graph that was made from that one."""
    file = source.file.removesuffix(PRECISIONS[source.precision].suffix) + PRECISIONS[precision].suffix
    return source.model_copy(update={"file": file, "precision": precision})


def _write(
    folder: Path,
    manifest: Manifest,
    graphs: dict[Precision, Graph],
    made: dict[Precision, onnx.ModelProto],
    calibration: Calibration,
) -> None:
    described = {precision: _described(graphs[source_of(precision)], precision) for precision in made}
    calibrated = {name for name, row in PRECISIONS.items() if row.needs_motion}
    stale = calibrated | set(made)  # graphs of an earlier calibration than the one that is written down
    others = tuple(graph for graph in manifest.graphs if graph.precision not in stale)
    gone = {graph.file for graph in manifest.graphs} - {graph.file for graph in others}
    changed = manifest.model_copy(update={"graphs": (*others, *described.values())})
    files = {CALIBRATION: calibration.model_dump_json(indent=1).encode()}
    for precision, model in made.items():
        carry_manifest(model, changed, described[precision])
        files[described[precision].file] = model.SerializeToString()
    if calibration.checked is not None:
        draw_bars(chart := io.BytesIO(), _chart(calibration))
        files[CALIBRATION_PLOT] = chart.getvalue()
    replace_files(folder, changed, files, drop=gone | {CERTIFICATE, CERTIFICATE_PLOT, CALIBRATION_PLOT})


def _chart(calibration: Calibration) -> Bars:
    """The most harmful layers, most harmful first."""
    ranked = sorted(calibration.layers, key=lambda layer: -(layer.alone_mm or 0.0))[:40]
    int8 = sum(layer.mixed == "int8" for layer in calibration.layers)
    return Bars(
        sizes={layer.name: layer.alone_mm or 0.0 for layer in ranked},
        groups={layer.name: "INT8" if layer.mixed == "int8" else "left in FP16" for layer in ranked},
        title=f"Drift that each layer alone causes in INT8; {int8} of {len(calibration.layers)} layers are INT8 in the mix",
        x_label=f"mean drift (mm), the {len(ranked)} most harmful layers",
    )
