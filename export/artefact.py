"""The artefact: a folder that appears whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import onnx

from ..calib.graph.standalone import carry_manifest
from ..calib.quantize.calibrate import compress_weights
from ..runtime.artefact.certificate import REFERENCE
from ..runtime.artefact.files import record_file
from ..runtime.artefact.manifest import MANIFEST_SCHEMA, Graph, Manifest, Mode, read_manifest, write_manifest
from ..runtime.artefact.precision import PRECISIONS, Precision
from ..runtime.errors import PoseEdgeError, UsageError
from .lifter import Lifter
from .passes import check_contract, name_nodes, simplify
from .precision import FP32_NODES, to_fp16
from .reference import save_reference
from .trace import OPSET, UNITS, interface, trace

PACKAGES = ("posemoe-edge", "torch", "onnx", "onnxscript", "onnxsim", "numpy")
NORMALISATION = "x / w * 2 - 1, y / w * 2 - h / w, per frame; a joint of confidence 0 is (0, 0, 0)"


def export(
    model: Lifter,
    out: Path,
    *,
    preset: str,
    precisions: Sequence[Precision] = ("fp32",),
    chunk: int | None = None,
    training: dict[str, Any] | None = None,
    finish: Callable[[Path], None] = lambda folder: None,
    stage: Callable[[str, float, int], None] = lambda name, seconds, size: None,
) -> Manifest:
    """Write the artefact of a lifter.

    It is made in a hidden folder beside ``out`` and moved there when its manifest, the last file, is written: whatever
    interrupts it, ``out`` is the old artefact, the new one, or nothing.

    Args:
        out: the folder; an artefact that is there is replaced, anything else is left alone.
        precisions: what to write, of fp32, fp16 and int8w. fp32 is always written: it is what a CPU runs and what the others
            are judged against. INT8 activations need ``calib.calibrate``: on an artefact with fp16, or in ``finish``.
        chunk: graphs that take so many frames at once and answer as late; None is frame by frame, or a window.
        training: how the weights were made, for the manifest.
        finish: called with the folder when it is written and not yet in its place: to calibrate it, say.
        stage: called with name, seconds and bytes after each stage.
    """
    interface(model, chunk)  # what cannot be exported so says it before anything is written
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
        _write(model, draft, preset, _ordered(precisions), chunk, training or {}, stage)
        finish(draft)
        manifest = read_manifest(draft)
        _move(draft, out)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return manifest


def _write(
    model: Lifter,
    folder: Path,
    preset: str,
    precisions: Sequence[Precision],
    chunk: int | None,
    training: dict[str, Any],
    stage: Callable[[str, float, int], None],
) -> Manifest:
    started = time.monotonic()
    save_reference(folder / REFERENCE, model, preset=preset, training=training)
    stage("reference weights", time.monotonic() - started, (folder / REFERENCE).stat().st_size)

    traced: list[Precision] = [precision for precision in precisions if PRECISIONS[precision].traced]
    manifest = describe(model, preset, traced, chunk, training)
    inputs, outputs, _ = interface(model, chunk)
    protos = {}
    for precision in traced:
        started = time.monotonic()
        proto = simplify(name_nodes(trace(model if precision == "fp32" else to_fp16(model), chunk)))
        check_contract(proto, inputs, outputs)
        protos[precision] = proto
        stage(f"{precision} graph", time.monotonic() - started, proto.ByteSize())
    if "int8w" in precisions:
        graph, protos["int8w"] = compress_weights(manifest, protos["fp32"])
        manifest = manifest.model_copy(update={"graphs": (*manifest.graphs, graph)})
        check_contract(protos["int8w"], inputs, outputs)

    for graph in manifest.graphs:
        carry_manifest(protos[graph.precision], manifest, graph)
        onnx.save(protos[graph.precision], str(folder / graph.file))
    files = {path.name: record_file(path) for path in sorted(folder.iterdir())}
    manifest = manifest.model_copy(update={"files": files})
    write_manifest(folder, manifest)
    return manifest


def describe(
    model: Lifter, preset: str, precisions: Sequence[Precision], chunk: int | None, training: dict[str, Any]
) -> Manifest:
    """The manifest of a lifter, without its files."""
    config = model.config
    mode: Mode = "window" if model.state_shape is None else "step" if chunk is None else "chunk"
    frames = config.window if mode == "window" else chunk
    inputs, outputs, states = interface(model, chunk)
    return Manifest(
        schema_version=MANIFEST_SCHEMA,
        preset=preset,
        mixer=config.mixer,
        mode=mode,
        config=json.loads(json.dumps(dataclasses.asdict(config))),  # as it will be read: lists, no tuples
        parameters=sum(p.numel() for p in model.parameters()),
        skeleton=config.skeleton,
        keypoint_recipe="coco_eyes",
        channels=config.channels,
        normalisation=NORMALISATION,
        units=f"{UNITS[config.units]} from the hip, seconds",
        axes="camera: x right, y down, z forward",
        fps=config.fps,
        latency_frames=chunk - 1 if chunk else model.latency_frames,
        graphs=tuple(
            Graph(
                file=f"{mode}{frames or ''}{PRECISIONS[precision].suffix}",
                mode=mode,
                precision=precision,
                opset=OPSET,
                frames=frames or 1,
                inputs=inputs,
                outputs=outputs,
                states=states,
                fp32_nodes="everything" if precision == "fp32" else FP32_NODES,
            )
            for precision in precisions
        ),
        files={},
        versions={name: _version(name) for name in PACKAGES},
        training=training,
    )


def _may_replace(out: Path) -> bool:
    """Whether nothing of anybody else's is at ``out``."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return True
    try:
        read_manifest(out)
    except PoseEdgeError:
        return False
    return True


def _move(draft: Path, out: Path) -> None:
    """Put the finished folder in its place. An old artefact is moved aside first, and back if that fails."""
    aside = Path(f"{draft}.old")
    try:
        if out.exists():
            out.rename(aside)
        draft.rename(out)
    except BaseException:
        if aside.exists() and not out.exists():
            aside.rename(out)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _ordered(precisions: Sequence[Precision]) -> tuple[Precision, ...]:
    rest: list[Precision] = [p for p in dict.fromkeys(precisions) if p != "fp32"]
    if any(PRECISIONS[precision].needs_motion for precision in rest):
        raise UsageError(
            "INT8 activations need motion to calibrate on",
            expected="fp32, fp16 or int8w, and calibration after it",
            run="posemoe-edge calibrate ARTEFACT --data FILE",
        )
    return ("fp32", *rest)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
