"""posemoe-edge inspect"""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import click

from ...runtime.certificate import read_certificate
from ...runtime.engines.layers import Layer, by_kind, layers_of, that_compute
from ...runtime.engines.library import library
from ...runtime.errors import MissingError, UsageError, missing_extra
from ...runtime.manifest import check_file, read_manifest
from ...runtime.model import find_artefact
from ...runtime.plans import EngineName
from .output import Output, Result, megabytes, verb
from .verify_verb import tell


@click.command("inspect")
@click.argument("artefact", required=False)
@click.option("--layers", is_flag=True, help="Which layer of each graph runs in which precision.")
@verb
def command(out: Output, artefact: str | None, layers: bool) -> Result:
    """What ARTEFACT is; checks every file of it against the manifest. Default: the shipped one."""
    folder = find_artefact(artefact)
    if folder.is_file():
        raise UsageError(f"{folder} is a file", expected="an artefact's folder")
    manifest = read_manifest(folder)
    for name in manifest.files:
        check_file(folder, manifest, name)
    certificate = read_certificate(folder, manifest)
    out.say(f"{manifest.preset}: {manifest.parameters / 1e6:.2f} M parameters, {manifest.mixer}, mode {manifest.mode}")
    out.say(f"  {manifest.skeleton} joints, keypoints by {manifest.keypoint_recipe}, {manifest.units}, {manifest.fps:g} Hz")
    out.say(f"  latency {manifest.latency_frames} frames, state {megabytes(manifest.state_bytes)} a stream")
    for graph in manifest.graphs:
        out.say(f"\n{graph.file}: opset {graph.opset}, FP32 islands: {graph.fp32_islands}")
        for kind, tensors in (("in ", graph.inputs), ("out", graph.outputs)):
            for tensor in tensors:
                shape = " x ".join(map(str, tensor.shape))
                out.say(f"  {kind} {tensor.name:<12}{tensor.dtype:<9}{shape:<26}{tensor.meaning}")
    out.say("\nfiles, each as the manifest says:")
    for name, record in manifest.files.items():
        out.say(f"  {name:<26}{megabytes(record.bytes):>10}  {record.sha256[:16]}")
    if certificate is None:
        out.say("\nnot certified")
    else:
        out.say(f"\ncertificate: {certificate.motion.frames} frames of {certificate.motion.kind}")
        tell(out, certificate)
    told = {graph.file: _layers(out, folder / graph.file) for graph in manifest.graphs} if layers else None
    data = {
        "artefact": str(folder),
        **manifest.model_dump(mode="json"),
        "certificate": certificate.model_dump(mode="json") if certificate else None,
        **({} if told is None else {"layers": told}),
    }
    return Result(data, next_command=f"posemoe-edge run synthetic://walk --model {folder}")


def _layers(out: Output, path: Path) -> dict[str, Any]:
    """The layers of a graph with their types, by whoever can read it here: a TensorRT, else ONNX."""
    found, by = _read(path)
    found = that_compute(found)
    kinds = by_kind(found)
    out.say(f"\n{path.name}: {len(found)} layers that compute, as {by} reads them, and the types that they write")
    for kind, types in kinds.items():
        out.say(f"  {kind:<24}{', '.join(f'{count} {name}' for name, count in types.items())}")
    return {"by": by, "kinds": kinds, "each": [asdict(each) for each in found]}


def _read(path: Path) -> tuple[list[Layer], str]:
    for engine in get_args(EngineName):
        try:
            trt = library(engine)
            return layers_of(trt, path), f"{engine} {trt.__version__}"
        except MissingError:  # it is not installed, or finds no GPU, without which it reads nothing
            continue
    try:
        from ...export.layers import layers_in
    except ImportError:
        raise missing_extra("tensorrt-rtx-cu13", "tensorrt-rtx", "reading a graph's layers") from None
    return layers_in(path), f"onnx {version('onnx')}, without TensorRT,"
