"""posemoe-edge inspect"""

from __future__ import annotations

import io
import math
import re
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import numpy as np
from click.core import ParameterSource
from numpy.typing import NDArray

from ...runtime.artefact.atomic import write_atomically
from ...runtime.artefact.certificate import read_certificate
from ...runtime.artefact.locate import find_artefact
from ...runtime.artefact.manifest import Manifest, check_file, read_manifest
from ...runtime.artefact.precision import PRECISIONS, Precision
from ...runtime.engines.tensorrt.library import import_tensorrt
from ...runtime.engines.tensorrt.network_layers import NetworkLayer, by_kind, computing_layers, read_layers
from ...runtime.engines.tensorrt.plan import EngineName
from ...runtime.errors import MissingError, UsageError, missing_extra
from ...runtime.gaps import GapPolicy
from ...runtime.plotting import Bars, check_available, draw_bars
from ...runtime.sources import open_source
from .output import Output, Result, megabytes, verb
from .verify_verb import tell

if TYPE_CHECKING:
    from ...calib.compare.differences import Difference, Differences
    from ...calib.measure.rollout import Recording

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
AGAINST_FP32 = tuple(precision for precision in PRECISIONS if precision != "fp32")
TOLD, DRAWN = 10, 30  # layers
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
        return _compare(out, folder, compare, **options)
    manifest = read_manifest(folder)
    for name in manifest.files:
        check_file(folder, manifest, name)
    certificate = read_certificate(folder, manifest)
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


def _compare(
    out: Output,
    folder: Path,
    compare: str,
    *,
    precision: Precision | None,
    source: str,
    after: int,
    frames: int,
    tolerance: float,
    picture: Path | None,
) -> Result:
    """Two sides of one model, step by step, each from the state that the exact one has come to."""
    try:
        from ...calib.compare.differences import differences
        from ...calib.compare.runners import check_ready
    except ImportError as error:
        raise missing_extra(error.name or "onnx", "inspect", "comparing graphs layer by layer") from None
    if not math.isfinite(tolerance):
        raise UsageError(f"--tolerance {tolerance}", expected="a share of a tensor's root mean square, e.g. 0.02")
    if picture and (picture.suffix != ".png" or not picture.parent.is_dir()):
        raise UsageError(f"--picture {picture}", expected="a file .png in a folder that is there")
    engine = next((name for name in ENGINES if name == compare), None)
    if precision and not engine:
        raise UsageError(f"--precision {precision} with --compare {compare}", expected=f"--compare {' or '.join(ENGINES)}")
    check_ready(engine)
    if picture:
        check_available()
    manifest = read_manifest(folder)
    other = manifest.graph(precision if engine else compare)  # type: ignore[arg-type]
    exact = other if engine else manifest.graph("fp32")
    ours, theirs = (check_file(folder, manifest, graph.file) for graph in (exact, other))
    if not manifest.metric:
        out.warn(f"poses are in {manifest.units}: a millimetre below is a thousandth of that")
    recording = _record(manifest, source, after + frames)
    sides = f"{other.file} on {engine or 'onnxruntime'}", f"{exact.file} on onnxruntime"
    out.print(f"{sides[0]} against {sides[1]}: {source}, frames {after} to {len(recording) - 1}, each from the same state")
    if engine:
        out.print(
            f"{engine} compiles the graph twice, each tensor an output: minutes, and other kernels than of a plan that is run"
        )
    with out.progress("comparing", total=len(recording)) as tick:
        found = differences(ours, theirs, other, recording, engine=engine, after=after, tick=tick)
    firsts = {
        "differs": found.first(0.0),
        "past_tolerance": found.first(tolerance),
        "own_past_tolerance": next((one for one in found.tensors if one.own > tolerance), None),
    }
    _tell_differences(out, found, firsts, tolerance)
    if picture:
        drawn = io.BytesIO()
        draw_bars(drawn, _bars(found, compare))
        write_atomically(picture, drawn.getvalue())
        out.print(f"Wrote {picture}")
    data = {
        "artefact": str(folder),
        "compare": compare,
        "graphs": {"exact": exact.file, "other": other.file},
        "source": source,
        "after": after,
        "frames": len(recording) - after,
        "tolerance": tolerance,
        **{name: _plain(one) for name, one in firsts.items()},
        "worst": _plain(found.worst),
        **{name: [_plain(one) for one in getattr(found, name)] for name in ("answers", "shares", "tensors")},
    }
    return Result(
        data,
        next_command=f"posemoe-edge verify {folder} --precision {other.precision}{f' --engine {engine}' if engine else ''}",
    )


def _record(manifest: Manifest, source: str, frames: int) -> Recording:
    """One person's frames, as a stream feeds them to the model: without those that it would refuse or hold."""
    from ...calib.measure.rollout import Recording

    gaps, nominal_s = GapPolicy(), 1 / manifest.fps
    fed: list[tuple[NDArray[np.float32], float, bool]] = []
    person, fed_s = None, -math.inf
    with open_source(source, frames=frames, recipe=manifest.keypoint_recipe) as opened:
        for frame in opened:
            person = next(iter(frame.people), None) if person is None else person
            if person not in frame.people:
                continue
            keypoints = np.where(frame.people[person][:, 2:] == 0, 0, frame.people[person]).astype(np.float32)
            if np.isfinite(keypoints).all() and keypoints[:, 2].any():
                reset = gaps.decide(frame.t_s - fed_s, seen=True) == "reset"
                fed.append((keypoints, nominal_s if reset else frame.t_s - fed_s, reset))
                fed_s = frame.t_s
    if not fed:
        raise UsageError(f"nobody is in the first {frames} frames of {source}", expected="a person")
    x, dt_s, reset_at = zip(*fed, strict=True)
    return Recording(np.stack(x), np.array(dt_s, np.float32), np.array(reset_at)).as_taken(manifest)


def _tell_differences(out: Output, found: Differences, firsts: dict[str, Difference | None], tolerance: float) -> None:
    percent = f"{100 * tolerance:g} %"
    told = {"differs": "differs at all", "past_tolerance": f"past {percent}", "own_past_tolerance": f"past {percent} by itself"}
    out.print(f"Of {len(found.tensors)} tensors that both compute, in the graph's order, the first that")
    for name, what in told.items():
        first = firsts[name]
        size = "" if first is None else f"  {first.relative:.2%} of its RMS in frame {first.frame}, by itself {first.own:.2%}"
        out.print(f"  {what:<22}{'none' if first is None else first.node}{size}")
    worst = found.worst
    mean_mm = sum(one.mean_mm for one in found.answers) / len(found.answers)
    out.print(f"The pose, from one step: mean {mean_mm:.3g} mm; worst joint {worst.max_mm:.3g} mm, in frame {worst.frame}")
    if found.shares:
        out.print(
            f"What each layer alone does in frame {worst.frame}, all others exact: {len(found.shares)} layers do anything"
        )
        out.print(f"  {'pose, mean':>13}{'worst joint':>13}{'state':>10}   layer")
    for one in found.shares[:TOLD]:
        out.print(f"  {one.mean_mm:>10.3f} mm{one.max_mm:>10.3f} mm{one.state:>10.2%}   {one.layer}")


def _bars(found: Differences, compare: str) -> Bars:
    """The layers that do most, coloured by the part of the network that they are in."""
    shown = found.shares[:DRAWN]
    parts = {one.layer: re.split(r"(?<=\d)\.|\.(?!\d)|/", one.layer)[0] for one in shown}
    return Bars(
        {one.layer: one.max_mm for one in shown},
        {layer: parts[layer] for layer in sorted(parts, key=lambda layer: parts[layer])},
        f"{compare}: what each layer alone does to the pose of frame {found.worst.frame}",
        "the worst joint of the pose (mm)",
    )


def _plain(record: Any) -> dict[str, Any] | None:
    """For JSON, which knows no infinity."""
    if record is None:
        return None
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(record).items()
    }


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
