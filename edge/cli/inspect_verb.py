"""posemoe-edge inspect"""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ...runtime.artefact.certificate import read_certificate
from ...runtime.artefact.locate import find_artefact
from ...runtime.artefact.manifest import Manifest, check_file, read_manifest
from ...runtime.artefact.precision import PRECISIONS
from ...runtime.command_line import command_line
from ...runtime.engines.tensorrt.library import import_tensorrt
from ...runtime.engines.tensorrt.network_layers import NetworkLayer, computing_layers, count_by_kind, read_layers
from ...runtime.errors import MissingError, UsageError, missing_extra
from .certificate_report import report_certificate
from .inspect_compare import ENGINES, compare_sides
from .options import FILE, PRECISION
from .output import Output, Result, megabytes, verb

if TYPE_CHECKING:
    from ...calib.quantize.calibration import Calibration
    from ...runtime.artefact.certificate import Certificate

AGAINST_FP32 = tuple(precision for precision in PRECISIONS if precision != "fp32")
COMPARE_OPTIONS = ("precision", "source", "after", "frames", "tolerance", "picture")


@click.command("inspect")
@click.argument("artefact", required=False)
@click.option("--layers", is_flag=True, help="List the layers of each graph with the precision that each runs in.")
@click.option(
    "--compare",
    type=click.Choice([*AGAINST_FP32, *ENGINES]),
    help="Find the layers where a graph differs from the fp32 graph, or an engine from ONNX Runtime.",
)
@click.option("--precision", type=PRECISION, help="The graph that the engine runs.  [default: the preferred one]")
@click.option(
    "--source", default="synthetic://walk", show_default=True, help="A source, as for run; one person of it is lifted."
)
@click.option(
    "--after", type=click.IntRange(min=0), default=100, show_default=True, help="Frames that are lifted before comparing."
)
@click.option("--frames", type=click.IntRange(min=1), default=20, show_default=True, help="Frames to compare.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.02,
    show_default=True,
    help="Largest difference within a tensor that is accepted, relative to the tensor's root mean square.",
)
@click.option(
    "--picture",
    type=FILE,
    help="Plot the effect of each layer on the pose to this file (.png).",
)
@verb
def command(out: Output, artefact: str | None, layers: bool, compare: str | None, **options: Any) -> Result:
    """Describe ARTEFACT and check each of its files against the manifest. Default: the shipped artefact."""
    from ...calib.quantize.calibration import read_calibration

    folder = find_artefact(artefact)
    if folder.is_file():
        raise UsageError(f"{folder} is a file", expected="an artefact's folder")
    source_of = click.get_current_context().get_parameter_source
    unused = [f"--{name}" for name in COMPARE_OPTIONS if source_of(name) is ParameterSource.COMMANDLINE]
    if unused and not compare:
        raise UsageError(f"{', '.join(unused)} without --compare", expected="--compare WHAT with it")
    if compare and layers:
        raise UsageError("--layers with --compare", expected="one of them")
    if compare:
        return compare_sides(out, folder, compare, **options)
    manifest = read_manifest(folder)
    for name in manifest.files:
        check_file(folder, manifest, name)
    certificate = read_certificate(folder, manifest)
    calibration = read_calibration(folder, manifest)
    _report_manifest(out, manifest)
    _report_calibration(out, calibration)
    _report_certificate(out, certificate)
    data = {
        "artefact": str(folder),
        **manifest.model_dump(mode="json"),
        "certificate": certificate.model_dump(mode="json") if certificate else None,
        "calibration": calibration.model_dump(mode="json") if calibration else None,
    }
    if layers:
        data["layers"] = {graph.file: _list_layers(out, folder / graph.file) for graph in manifest.graphs}
    return Result(data, next_command=command_line("run", "synthetic://walk", "--model", folder))


def _report_manifest(out: Output, manifest: Manifest) -> None:
    """Print the model, its graphs with their inputs and outputs, and the files."""
    out.print(f"{manifest.preset}: {manifest.parameters / 1e6:.2f} M parameters, {manifest.mixer}, mode {manifest.mode}")
    out.print(f"  {manifest.skeleton} joints, keypoints by {manifest.keypoint_recipe}, {manifest.units}, {manifest.fps:g} Hz")
    out.print(f"  latency {manifest.latency_frames} frames, state {megabytes(manifest.state_bytes)} a stream")
    for graph in manifest.graphs:
        out.print(f"\n{graph.file}: opset {graph.opset}, in FP32: {graph.fp32_nodes}")
        for side, tensors in (("in ", graph.inputs), ("out", graph.outputs)):
            for tensor in tensors:
                shape = " x ".join(map(str, tensor.shape))
                out.print(f"  {side} {tensor.name:<12}{tensor.dtype:<9}{shape:<26}{tensor.meaning}")
        if graph.passes:
            out.print(f"  passes: {', '.join(applied.name for applied in graph.passes)}")
    out.print("\nfiles, each with the size and hash of the manifest:")
    for name, record in manifest.files.items():
        out.print(f"  {name:<26}{megabytes(record.bytes):>10}  {record.sha256[:16]}")


def _report_calibration(out: Output, calibration: Calibration | None) -> None:
    if calibration is not None:
        layers, motion = len(calibration.layers), calibration.motion
        out.print(f"\ncalibration: {calibration.method}, {layers} layers, {motion.frames} frames of {motion.kind}")


def _report_certificate(out: Output, certificate: Certificate | None) -> None:
    if certificate is None:
        out.print("\nnot certified")
    else:
        out.print(f"\ncertificate: {certificate.motion.frames} frames of {certificate.motion.kind}")
        report_certificate(out, certificate)


def _list_layers(out: Output, path: Path) -> dict[str, Any]:
    """Print how many layers of each kind run in which precision; return the counts and all layers for JSON."""
    layers, reader = _read_layers(path)
    layers = computing_layers(layers)
    kinds = count_by_kind(layers)
    out.print(f"\n{path.name}: {len(layers)} computing layers, as {reader} reads them, with the types of their outputs")
    for kind, types in kinds.items():
        out.print(f"  {kind:<24}{', '.join(f'{count} {name}' for name, count in types.items())}")
    return {"by": reader, "kinds": kinds, "each": [asdict(layer) for layer in layers]}


def _read_layers(path: Path) -> tuple[list[NetworkLayer], str]:
    """The layers of a graph, and what read them: a TensorRT if one works on this machine, else ONNX."""
    for engine in ENGINES:
        try:
            trt = import_tensorrt(engine)
            return read_layers(trt, path), f"{engine} {trt.__version__}"
        except MissingError:  # not installed, or without the GPU that its parser needs
            continue
    try:
        from ...export.layers import layers_in
    except ImportError:
        raise missing_extra("tensorrt-rtx-cu13", "tensorrt-rtx", "reading a graph's layers") from None
    return layers_in(path), f"onnx {version('onnx')}, without TensorRT,"
