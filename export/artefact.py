"""The artefact: a folder whose files and manifest appear together or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
from torch import nn

from ..calib.graph.standalone import embed_manifest
from ..calib.quantize.int8_graphs import compress_weights
from ..runtime.artefact.atomic import draft_folder, is_draft
from ..runtime.artefact.certificate import REFERENCE
from ..runtime.artefact.files import STAGED, record_file
from ..runtime.artefact.graph_parts import AppliedPass
from ..runtime.artefact.manifest import (
    MANIFEST,
    Manifest,
    check_changeable,
    commit_manifest,
    read_manifest,
    write_manifest,
)
from ..runtime.artefact.precision import PRECISIONS, Precision
from ..runtime.artefact.transaction import locked
from ..runtime.engines.tensorrt.plan import drop_stale_plans
from ..runtime.errors import PoseEdgeError, UsageError
from .description import describe
from .lifter import ExportableLifter
from .passes import contract_pass, export_passes, run_passes
from .precision import half_layers, to_fp16
from .reference import save_reference
from .trace import interface, trace

OnStage = Callable[[str, float, int], None]  # the stage's name, its seconds, its bytes


WEIGHT_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8w": 1}  # of one weight in a graph


def _ignore_stage(name: str, seconds: float, size: int) -> None: ...


def _ignore_folder(folder: Path) -> None: ...


def export(
    model: ExportableLifter,
    out: Path,
    *,
    preset: str,
    precisions: Sequence[Precision] = ("fp32",),
    chunk: int | None = None,
    training: dict[str, Any] | None = None,
    postprocess: Callable[[Path], None] = _ignore_folder,
    on_stage: OnStage = _ignore_stage,
) -> Manifest:
    """Write the artefact of a lifter.

    The files are made in a hidden draft folder inside ``out`` and put in place at once when the last of them is complete: after
    an interruption ``out`` is the old artefact, the new one, or nothing.

    Args:
        out: the folder, or a link to it; an artefact that is there is replaced, other files in it stay.
        precisions: which of fp32, fp16 and int8w to write. fp32 is always written: CPUs run it, and the drift of the others
            is measured with it. INT8 activations need ``calib.quantize.calibrate``: on an artefact with fp16, or in
            ``postprocess``.
        chunk: frames that a chunk graph takes at once, and answers ``chunk - 1`` frames late; None for a step or window graph.
        training: how the weights were made, for the manifest.
        postprocess: called with the complete draft folder before it is put in place, for example to calibrate it.
        on_stage: called after each stage.

    Raises:
        UsageError: ``out`` is no artefact, a precision needs calibration, or the lifter has no chunk graph.
        MissingError: ``out`` cannot be written to, or its disk is too small.
    """
    interface(model, chunk)  # raises for a lifter without such a graph, before anything is written
    precisions = _ordered(precisions)
    _check_replaceable(out)
    weight_bytes = 4 + sum(WEIGHT_BYTES[precision] for precision in precisions)
    check_changeable(out, weight_bytes * sum(parameter.numel() for parameter in model.parameters()))
    place = Path(os.path.realpath(out))  # behind a link, which stays
    is_new = not place.exists()
    place.mkdir(parents=True, exist_ok=True)
    try:
        with draft_folder(place, "export") as draft:
            _write(model, draft, preset, precisions, chunk, training or {}, on_stage)
            postprocess(draft)
            return _put_in_place(draft, place)
    except BaseException:
        if is_new:
            _remove_empty(place)
        raise


def _write(
    model: ExportableLifter,
    folder: Path,
    preset: str,
    precisions: Sequence[Precision],
    chunk: int | None,
    training: dict[str, Any],
    on_stage: OnStage,
) -> None:
    """Write reference weights, graphs and, last, the manifest."""
    started = time.monotonic()
    save_reference(folder / REFERENCE, model, preset=preset, training=training)
    on_stage("reference weights", time.monotonic() - started, (folder / REFERENCE).stat().st_size)

    inputs, outputs, _ = interface(model, chunk)
    assert isinstance(model, nn.Module)
    all_passes = (*export_passes(half_layers(model)), contract_pass(inputs, outputs))
    models: dict[Precision, onnx.ModelProto] = {}
    passes: dict[Precision, tuple[AppliedPass, ...]] = {}
    for precision in precisions:
        if PRECISIONS[precision].traced:
            started = time.monotonic()
            traced = trace(model if precision == "fp32" else to_fp16(model), chunk)
            models[precision], passes[precision] = run_passes(traced, all_passes)
            on_stage(f"{precision} graph", time.monotonic() - started, models[precision].ByteSize())
    manifest = describe(model, preset, passes, chunk, training)
    if "int8w" in precisions:
        graph, compressed = compress_weights(manifest, models["fp32"])
        models["int8w"], _ = run_passes(compressed, all_passes[-1:])
        manifest = manifest.model_copy(update={"graphs": (*manifest.graphs, graph)})

    for graph in manifest.graphs:
        embed_manifest(models[graph.precision], manifest, graph)
        onnx.save(models[graph.precision], str(folder / graph.file))
    files = {path.name: record_file(path) for path in sorted(folder.iterdir())}
    write_manifest(folder, manifest.model_copy(update={"files": files}))


def _check_replaceable(out: Path) -> None:
    """Raise a UsageError unless ``out`` is free, an artefact, or a folder with nothing but what killed exports left."""
    if not out.exists() or (out.is_dir() and all(map(_is_nothing, out.iterdir()))):
        return
    try:
        read_manifest(out)
    except PoseEdgeError:
        raise UsageError(
            f"{out} exists and is no artefact",
            expected="a new folder, or an artefact to replace",
            run="posemoe-edge export --out DIR",
        ) from None


def _is_nothing(path: Path) -> bool:
    return is_draft(path.name) or path.name.endswith(STAGED) or path.name == "lost+found"  # the latter is what a new disk holds


def _put_in_place(draft: Path, place: Path) -> Manifest:
    """Make the draft the artefact at ``place``, and delete the plans of graphs that it has no more."""
    with locked(place):
        _check_replaceable(place)
        manifest = read_manifest(draft)
        manifest = commit_manifest(place, manifest, {name: draft / name for name in manifest.files})
        drop_stale_plans(place, manifest)
    return manifest


def _remove_empty(place: Path) -> None:
    """Remove a folder that was made for an artefact which did not come about."""
    if not (place / MANIFEST).exists():
        with suppress(OSError):  # it is not empty: somebody else writes there
            place.rmdir()


def _ordered(precisions: Sequence[Precision]) -> tuple[Precision, ...]:
    """fp32 first, then the others in the order of the request, each once."""
    others: list[Precision] = [precision for precision in dict.fromkeys(precisions) if precision != "fp32"]
    if any(PRECISIONS[precision].needs_motion for precision in others):
        raise UsageError(
            "INT8 activations need motion to calibrate on",
            expected="fp32, fp16 or int8w, and calibration after it",
            run="posemoe-edge calibrate ARTEFACT --data FILE",
        )
    return ("fp32", *others)
