"""The artefact: a folder that appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx

from ..calib.graph.standalone import embed_manifest
from ..calib.quantize.int8_graphs import compress_weights
from ..runtime.artefact.certificate import REFERENCE
from ..runtime.artefact.files import record_file
from ..runtime.artefact.manifest import AppliedPass, Manifest, read_manifest, write_manifest
from ..runtime.artefact.precision import PRECISIONS, Precision
from ..runtime.errors import PoseEdgeError, UsageError
from .description import describe
from .lifter import ExportableLifter
from .passes import PASSES, contract_pass, run_passes
from .precision import to_fp16
from .reference import save_reference
from .trace import interface, trace

OnStage = Callable[[str, float, int], None]  # the stage's name, its seconds, its bytes


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

    The files are written to a hidden draft folder beside ``out``. It is renamed to ``out`` when the manifest, the last file,
    is written: after an interruption ``out`` is the old artefact, the new one, or nothing.

    Args:
        out: the folder; an artefact that is there is replaced, anything else is left alone.
        precisions: which of fp32, fp16 and int8w to write. fp32 is always written: CPUs run it, and the drift of the others
            is measured with it. INT8 activations need ``calib.calibrate``: on an artefact with fp16, or in ``postprocess``.
        chunk: frames that a chunk graph takes at once, and answers ``chunk - 1`` frames late; None for a step or window graph.
        training: how the weights were made, for the manifest.
        postprocess: called with the complete draft folder before it is renamed, for example to calibrate it.
        on_stage: called after each stage.

    Raises:
        UsageError: ``out`` is no artefact, a precision needs calibration, or the lifter has no chunk graph.
    """
    interface(model, chunk)  # raises for a lifter without such a graph, before anything is written
    if not _may_replace(out):
        raise UsageError(
            f"{out} exists and is no artefact",
            expected="a new folder, or an artefact to replace",
            run="posemoe-edge export --out DIR",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        draft.chmod(0o755)
        _write(model, draft, preset, _ordered(precisions), chunk, training or {}, on_stage)
        postprocess(draft)
        manifest = read_manifest(draft)
        _move(draft, out)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return manifest


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
    contract = contract_pass(inputs, outputs)
    models: dict[Precision, onnx.ModelProto] = {}
    passes: dict[Precision, tuple[AppliedPass, ...]] = {}
    for precision in precisions:
        if PRECISIONS[precision].traced:
            started = time.monotonic()
            traced = trace(model if precision == "fp32" else to_fp16(model), chunk)
            models[precision], passes[precision] = run_passes(traced, (*PASSES, contract))
            on_stage(f"{precision} graph", time.monotonic() - started, models[precision].ByteSize())
    manifest = describe(model, preset, passes, chunk, training)
    if "int8w" in precisions:
        graph, compressed = compress_weights(manifest, models["fp32"])
        models["int8w"], _ = run_passes(compressed, [contract])
        manifest = manifest.model_copy(update={"graphs": (*manifest.graphs, graph)})

    for graph in manifest.graphs:
        embed_manifest(models[graph.precision], manifest, graph)
        onnx.save(models[graph.precision], str(folder / graph.file))
    files = {path.name: record_file(path) for path in sorted(folder.iterdir())}
    write_manifest(folder, manifest.model_copy(update={"files": files}))


def _may_replace(out: Path) -> bool:
    """Whether ``out`` is free, an empty folder, or an artefact."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return True
    try:
        read_manifest(out)
    except PoseEdgeError:
        return False
    return True


def _move(draft: Path, out: Path) -> None:
    """Rename the draft folder to ``out``. An old artefact is renamed first, and renamed back if that fails."""
    old_artefact = Path(f"{draft}.old")
    try:
        if out.exists():
            out.rename(old_artefact)
        draft.rename(out)
    except BaseException:
        if old_artefact.exists() and not out.exists():
            old_artefact.rename(out)
        raise
    finally:
        shutil.rmtree(old_artefact, ignore_errors=True)


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
