"""posemoe-edge inspect"""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ...runtime.artefact.certificate import read_certificate
from ...runtime.artefact.locate import find_artefact
from ...runtime.artefact.manifest import check_file, read_manifest
from ...runtime.artefact.precision import PRECISIONS
from ...runtime.engines.tensorrt.library import import_tensorrt
from ...runtime.engines.tensorrt.network_layers import NetworkLayer, by_kind, computing_layers, read_layers
from ...runtime.errors import MissingError, UsageError, missing_extra
from .inspect_compare import ENGINES, compare_sides
from .output import Output, Result, megabytes, verb
from .verify_verb import tell

AGAINST_FP32 = tuple(precision for precision in PRECISIONS if precision != "fp32")
OF_COMPARE = ("precision", "source", "after", "frames", "tolerance", "picture")


@click.command("inspect")
@click.argument("artefact", required=False)
@click.option("--layers", is_flag=True, help="Which layer of each graph runs in which precision.")
@click.option(
    "--compare",
    type=click.Choice([*AGAINST_FP32, *ENGINES]),
    help="Where this begins to differ: a graph from the fp32 one, or an engine from ONNX Runtime.",
)
@click.option("--precision", type=click.Choice(list(PRECISIONS)), help="Which graph an engine runs.  [default: the preferred]")
@click.option("--source", default="synthetic://walk", show_default=True, help="What to lift: as for run; one person of it.")
@click.option("--after", type=click.IntRange(min=0), default=100, show_default=True, help="Frames that go by before.")
@click.option("--frames", type=click.IntRange(min=1), default=20, show_default=True, help="Frames to compare.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.02,
    show_default=True,
    help="Of a tensor's largest difference, relative to its root mean square.",
)
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="What each layer does to the pose (.png).")
@verb
def command(out: Output, artefact: str | None, layers: bool, compare: str | None, **options: Any) -> Result:
    """What ARTEFACT is; checks every file of it against the manifest. Default: the shipped one."""
    from ...calib.quantize.calibration import read_calibration

    folder = find_artefact(artefact)
    if folder.is_file():
        raise UsageError(f"{folder} is a file", expected="an artefact's folder")
    given = click.get_current_context().get_parameter_source
    lost = [f"--{name}" for name in OF_COMPARE if given(name) is ParameterSource.COMMANDLINE]
    if lost and not compare:
        raise UsageError(f"{', '.join(lost)} without --compare", expected="--compare WHAT with it")
    if compare and layers:
        raise UsageError("--layers with --compare", expected="one of them")
    if compare:
        return compare_sides(out, folder, compare, **options)
    manifest = read_manifest(folder)
    for name in manifest.files:
        check_file(folder, manifest, name)
    certificate = read_certificate(folder, manifest)
    calibration = read_calibration(folder, manifest)
    out.print(f"{manifest.preset}: {manifest.parameters / 1e6:.2f} M parameters, {manifest.mixer}, mode {manifest.mode}")
    out.print(f"  {manifest.skeleton} joints, keypoints by {manifest.keypoint_recipe}, {manifest.units}, {manifest.fps:g} Hz")
    out.print(f"  latency {manifest.latency_frames} frames, state {megabytes(manifest.state_bytes)} a stream")
    for graph in manifest.graphs:
        out.print(f"\n{graph.file}: opset {graph.opset}, in FP32: {graph.fp32_nodes}")
        for kind, tensors in (("in ", graph.inputs), ("out", graph.outputs)):
            for tensor in tensors:
                shape = " x ".join(map(str, tensor.shape))
                out.print(f"  {kind} {tensor.name:<12}{tensor.dtype:<9}{shape:<26}{tensor.meaning}")
    out.print("\nfiles, each as the manifest says:")
    for name, record in manifest.files.items():
        out.print(f"  {name:<26}{megabytes(record.bytes):>10}  {record.sha256[:16]}")
    if calibration is not None:
        motion = calibration.motion
        out.print(
            f"\ncalibration: {calibration.method}, {len(calibration.layers)} layers, {motion.frames} frames of {motion.kind}"
        )
    if certificate is None:
        out.print("\nnot certified")
    else:
        out.print(f"\ncertificate: {certificate.motion.frames} frames of {certificate.motion.kind}")
        tell(out, certificate)
    told = {graph.file: _layers(out, folder / graph.file) for graph in manifest.graphs} if layers else None
    data = {
        "artefact": str(folder),
        **manifest.model_dump(mode="json"),
        "certificate": certificate.model_dump(mode="json") if certificate else None,
        "calibration": calibration.model_dump(mode="json") if calibration else None,
        **({} if told is None else {"layers": told}),
    }
    return Result(data, next_command=f"posemoe-edge run synthetic://walk --model {folder}")


def _layers(out: Output, path: Path) -> dict[str, Any]:
    """The layers of a graph with their types, by whoever can read it here: a TensorRT, else ONNX."""
    found, by = _read(path)
    found = computing_layers(found)
    kinds = by_kind(found)
    out.print(f"\n{path.name}: {len(found)} layers that compute, as {by} reads them, and the types that they write")
    for kind, types in kinds.items():
        out.print(f"  {kind:<24}{', '.join(f'{count} {name}' for name, count in types.items())}")
    return {"by": by, "kinds": kinds, "each": [asdict(each) for each in found]}


def _read(path: Path) -> tuple[list[NetworkLayer], str]:
    for engine in ENGINES:
        try:
            trt = import_tensorrt(engine)
            return read_layers(trt, path), f"{engine} {trt.__version__}"
        except MissingError:  # it is not installed, or finds no GPU, without which it reads nothing
            continue
    try:
        from ...export.layers import layers_in
    except ImportError:
        raise missing_extra("tensorrt-rtx-cu13", "tensorrt-rtx", "reading a graph's layers") from None
    return layers_in(path), f"onnx {version('onnx')}, without TensorRT,"
