"""Calibrate: INT8 graphs for an artefact, from ranges observed while its FP32 graph ran with its state carried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...runtime.artefact.certificate import Budget, MotionSource
from ...runtime.artefact.manifest import Manifest, check_changeable, read_manifest
from ...runtime.artefact.precision import Precision, source_of
from ...runtime.command_line import command_line
from ...runtime.errors import ArtefactError, UsageError
from ...runtime.plotting import check_available
from ..graph.layers import LinearLayer
from ..measure.observer import Observer, TensorStats
from ..measure.recording import Recording
from .calibration import CALIBRATION_SCHEMA, CalibratedLayer, Calibration
from .int8_graphs import make_model, write_models
from .qdq import linear_weights
from .quantized_linear import QuantizedLinear, quantize_layers
from .ranges import RangeMethod
from .sensitivity import lift_streams, select_int8_layers, sensitivity_mm, within_budget
from .sources import SourceGraphs, load_sources

MIN_FRAMES = 100  # the extremes of fewer frames depend on chance
SENSITIVITY_FRAMES = 30  # they rank the 129 layers of posemoe-retention-s as 100 do (0.9995); the mix is checked on all frames

# (label, total, unit) -> a context that yields a function to call with the amount just done
Progress = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def _no_progress(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    yield lambda amount: None


@dataclass(frozen=True)
class Check:
    """Motion that the layers were not calibrated on: their sensitivity is measured on it, and the mix is chosen by it."""

    recordings: Sequence[Recording]
    motion: MotionSource


@dataclass(frozen=True)
class Mix:
    """The mixed graph: each layer's sensitivity in mm by name, and the layers that are INT8."""

    sensitivity: dict[str, float]
    int8_layers: tuple[LinearLayer, ...]


def calibrate(
    folder: Path,
    recordings: Sequence[Recording],
    motion: MotionSource,
    *,
    precisions: Sequence[Precision] = ("int8",),
    method: RangeMethod = "minmax",
    budget: Budget | None = None,
    check: Check | None = None,
    progress: Progress = _no_progress,
) -> Calibration:
    """Write the INT8 graphs of an artefact, and ``calibration.json``.

    The files are written when all of them are computed, so that an interrupted calibration leaves the artefact as it was. A
    certificate of the artefact is removed, because it certifies other graphs.

    Args:
        recordings, motion: streams to observe, and where they came from.
        precisions: ``int8`` (all layers), ``int8w`` (weights alone); a budget adds ``mixed``.
        budget, check: measure the drift of each layer alone on ``check``, and make a ``mixed`` graph with as many layers in
            INT8 as the budget allows.

    Raises:
        UsageError: too few frames, or motion at another rate than a model without frame times was trained at.
        ArtefactError: the artefact lacks the graphs that INT8 is made from, or a tensor never varies or is not finite.
    """
    if (budget is None) != (check is None):
        raise UsageError("a budget needs motion to check it on, and the other way round", expected="both")
    if check is not None:
        check_available()
        precisions = tuple(dict.fromkeys((*precisions, "mixed")))
    manifest = read_manifest(folder)
    _check_rate(manifest, motion)
    recordings = _for_model(manifest, recordings)
    _check_length(folder, recordings)
    sources = load_sources(folder, manifest, precisions)
    check_changeable(folder, sum(sources.files[source_of(precision)].bytes for precision in precisions))  # INT8 takes less

    stats = _observe(sources, recordings, motion.seed, progress)
    quantized = _quantize(sources, stats, method, progress)
    mix = None
    if budget is not None and check is not None:
        mix = _choose_mix(sources, quantized, budget, _for_model(manifest, check.recordings), progress)
    models = {precision: make_model(precision, sources, quantized, mix.int8_layers if mix else ()) for precision in precisions}
    calibration = Calibration(
        schema_version=CALIBRATION_SCHEMA,
        graph_sha256=manifest.files[sources.graphs["fp32"].file].sha256,
        method=method,
        motion=motion,
        check_motion=check.motion if check else None,
        budget=budget,
        int8_macs_fraction=_macs(mix.int8_layers) / _macs(sources.quantized_layers) if mix else None,
        layers=_describe_layers(sources.quantized_layers, quantized, mix),
    )
    write_models(folder, sources, models, calibration)
    return calibration


def _check_rate(manifest: Manifest, motion: MotionSource) -> None:
    """A model without frame times takes every frame to be at its own rate, so the motion must have that rate."""
    fastest = max(stream.fps for stream in motion.streams)
    takes_times = any(tensor.name == "dt" for tensor in manifest.graphs[0].inputs)
    if not takes_times and abs(fastest / manifest.fps - 1) > 0.01:
        raise UsageError(
            f"motion at {fastest:g} Hz for {manifest.preset}, which takes no frame times",
            expected=f"{manifest.fps:g} Hz, as it was trained",
            run="posemoe-edge import bvh, which resamples",
        )


def _for_model(manifest: Manifest, recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings with the model's joints and channels; a UsageError if they are not finite."""
    for recording in recordings:
        if not (np.isfinite(recording.keypoints).all() and np.isfinite(recording.dt_s).all()):
            raise UsageError("keypoints to calibrate on are not finite", expected="finite numbers, missing joints as (0, 0, 0)")
    return [recording.for_model(manifest) for recording in recordings]


def _check_length(folder: Path, recordings: Sequence[Recording]) -> None:
    shortest = min(map(len, recordings), default=0)
    if shortest < MIN_FRAMES:
        raise UsageError(
            f"{shortest} frames of a stream to calibrate on",
            expected=f"at least {MIN_FRAMES}",
            run=command_line("calibrate", folder, "--frames", 500),
        )


def _observe(sources: SourceGraphs, recordings: Sequence[Recording], seed: int, progress: Progress) -> dict[str, TensorStats]:
    """The statistics of each layer's activations, by layer name."""
    layers = sources.layers_in("fp32")
    with progress("observing", sum(map(len, recordings)), "frames") as on_progress:
        observer = Observer(
            sources.models["fp32"].SerializeToString(), sources.graphs["fp32"], [layer.activation for layer in layers]
        )
        stats = observer.observe(recordings, seed=seed, on_progress=on_progress)
    by_layer = {layer.name: stats[layer.activation] for layer in layers}
    constant = [name for name, of_layer in by_layer.items() if not of_layer.varies]
    if constant:
        raise ArtefactError(
            f"the inputs of {len(constant)} layers never vary, {constant[0]} for one",
            expected="motion that reaches every layer, and a network without dead parts",
            run="posemoe-edge calibrate with other --data, or train it further",
        )
    return by_layer


def _quantize(
    sources: SourceGraphs, stats: Mapping[str, TensorStats], method: RangeMethod, progress: Progress
) -> dict[str, QuantizedLinear]:
    layers = sources.layers_in("fp32")
    with progress("quantising", len(layers), "layers") as on_progress:
        weights = linear_weights(sources.models["fp32"], layers)
        return quantize_layers(layers, weights, stats, method, on_progress=on_progress)


def _choose_mix(
    sources: SourceGraphs,
    quantized: Mapping[str, QuantizedLinear],
    budget: Budget,
    recordings: Sequence[Recording],
    progress: Progress,
) -> Mix:
    models, graphs, layers = sources.models, sources.graphs, sources.layers_in("fp32")
    with progress("each layer alone", len(layers), "layers") as on_progress:
        brief = [recording.during(slice(0, SENSITIVITY_FRAMES)) for recording in recordings]
        sensitivity = sensitivity_mm(models["fp32"], graphs["fp32"], layers, quantized, brief, on_progress=on_progress)
    exact = lift_streams(models["fp32"], graphs["fp32"], recordings)
    passes = within_budget(models["fp16"], graphs["fp16"], quantized, recordings, exact, budget)
    with progress("choosing the mix", int(np.ceil(np.log2(len(layers)))) + 1, "rollouts") as on_progress:

        def passes_with_progress(int8_layers: Sequence[LinearLayer]) -> bool:
            on_progress(1)
            return passes(int8_layers)

        return Mix(sensitivity, select_int8_layers(sources.layers["fp16"], sensitivity, passes_with_progress))


def _describe_layers(
    layers: Sequence[LinearLayer], quantized: Mapping[str, QuantizedLinear], mix: Mix | None
) -> tuple[CalibratedLayer, ...]:
    int8_names = {layer.name for layer in mix.int8_layers} if mix else set()
    return tuple(
        CalibratedLayer(
            name=layer.name,
            amax=float(quantized[layer.name].amax or 0.0),
            alpha=quantized[layer.name].alpha,
            sensitivity_mm=mix.sensitivity.get(layer.name) if mix else None,
            mixed_precision=None if mix is None else "int8" if layer.name in int8_names else "fp16",
        )
        for layer in layers
    )


def _macs(layers: Sequence[LinearLayer]) -> int:
    return sum(layer.macs for layer in layers)
