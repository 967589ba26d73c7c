"""The comparison of ``inspect --compare``: where, layer by layer, a graph or an engine begins to differ."""

from __future__ import annotations

import io
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ...runtime.arrays import F32
from ...runtime.artefact.atomic import write_atomically
from ...runtime.artefact.manifest import Manifest, read_graph_file, read_manifest
from ...runtime.artefact.precision import Precision
from ...runtime.command_line import command_line
from ...runtime.engines.tensorrt.plan import EngineName
from ...runtime.errors import UsageError, missing_extra
from ...runtime.gaps import GapPolicy
from ...runtime.plotting import Bars, check_available, draw_bars
from ...runtime.sources import People, open_source
from .output import Output, Result

if TYPE_CHECKING:
    from ...calib.compare.comparison import Comparison, TensorDifference
    from ...calib.measure.recording import Recording

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
LISTED, PLOTTED = 10, 30  # layers


def compare_sides(
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
    """Compare a graph with the fp32 one, or an engine with ONNX Runtime, launch by launch from the exact graph's state.

    Args:
        compare: a precision or an engine.
        precision: of the graph that an engine runs; None is the preferred one.
        source: what to lift, as for ``run``.
        after, frames: how many frames only carry the state, and how many are compared after them.
        tolerance: of a tensor's largest difference, relative to its root mean square.
        picture: the file of the plot; None for none.
    """
    try:
        from ...calib.compare.compare_graphs import compare_graphs
        from ...calib.compare.runners import check_ready
    except ImportError as error:
        raise missing_extra(error.name or "onnx", "inspect", "comparing graphs layer by layer") from None
    if not math.isfinite(tolerance):
        raise UsageError(f"--tolerance {tolerance}", expected="a fraction of a tensor's root mean square, e.g. 0.02")
    if picture and (picture.suffix != ".png" or not picture.parent.is_dir()):
        raise UsageError(f"--picture {picture}", expected="a .png file in a folder that exists")
    engine = next((name for name in ENGINES if name == compare), None)
    if precision and not engine:
        raise UsageError(f"--precision {precision} with --compare {compare}", expected=f"--compare {' or '.join(ENGINES)}")
    check_ready(engine)
    if picture:
        check_available()
    manifest = read_manifest(folder)
    other = manifest.graph(precision if engine else compare)  # type: ignore[arg-type]
    exact = other if engine else manifest.graph("fp32")
    exact_graph, other_graph = (read_graph_file(folder, manifest, graph) for graph in (exact, other))
    if not manifest.metric:
        out.warn(f"poses are in {manifest.units}: a millimetre below is a thousandth of that")
    recording = record_person(manifest, source, after + frames)
    out.print(
        f"{other.file} on {engine or 'onnxruntime'} against {exact.file} on onnxruntime: {source}, "
        f"frames {after} to {len(recording) - 1}, both graphs from the same state"
    )
    if engine:
        out.print(
            f"{engine} compiles the graph twice with every tensor as an output: that takes minutes, and the kernels are other "
            "ones than those of a plan that `build` makes"
        )
    with out.progress("comparing", total=len(recording)) as on_progress:
        comparison = compare_graphs(
            exact_graph, other_graph, other, recording, engine=engine, after=after, on_progress=on_progress
        )
    firsts = {
        "differs": comparison.first_above(0.0),
        "above_tolerance": comparison.first_above(tolerance),
        "isolated_above_tolerance": comparison.first_isolated_above(tolerance),
    }
    _report(out, comparison, firsts, tolerance)
    if picture:
        draw_bars(plot := io.BytesIO(), _bars(comparison, compare))
        write_atomically(picture, plot.getvalue())
        out.print(f"Wrote {picture}")
    data = {
        "artefact": str(folder),
        "compare": compare,
        "graphs": {"exact": exact.file, "other": other.file},
        "source": source,
        "after": after,
        "frames": len(recording) - after,
        "tolerance": tolerance,
        **{name: _as_json(tensor) for name, tensor in firsts.items()},
        "worst": _as_json(comparison.worst),
        **{name: [_as_json(row) for row in getattr(comparison, name)] for name in ("launches", "effects", "tensors")},
    }
    return Result(
        data,
        next_command=command_line("verify", folder, "--precision", other.precision, *(("--engine", engine) if engine else ())),
    )


def record_person(manifest: Manifest, source: str, frames: int) -> Recording:
    """One person's frames as a stream feeds them to the model, without the frames that it would refuse or hold."""
    from ...calib.measure.recording import Recording

    gaps, nominal_s = GapPolicy(), 1 / manifest.fps
    fed: list[tuple[F32, float, bool]] = []
    person: int | None = None
    fed_s = -math.inf
    with open_source(source, frames=frames) as opened:
        if opened.pictures:
            raise UsageError(f"{source} yields pictures", expected="a source of keypoints: synthetic://walk or kpts:FILE.npz")
        for frame in opened:
            if not isinstance(frame, People):
                continue
            if person is None:
                person = next(iter(frame.keypoints), None)
            if person is None or person not in frame.keypoints:
                continue
            points = frame.keypoints[person].normalised(recipe=manifest.keypoint_recipe)
            keypoints = np.where(points[:, 2:] == 0, 0, points).astype(np.float32)
            if np.isfinite(keypoints).all() and keypoints[:, 2].any():
                reset = gaps.decide(frame.t_s - fed_s, seen=True) == "reset"
                fed.append((keypoints, nominal_s if reset else frame.t_s - fed_s, reset))
                fed_s = frame.t_s
    if not fed:
        raise UsageError(f"the first {frames} frames of {source} show no person", expected="a source with a person")
    x, dt_s, reset_at = zip(*fed, strict=True)
    return Recording(np.stack(x), np.array(dt_s, np.float32), np.array(reset_at)).for_model(manifest)


def _report(out: Output, comparison: Comparison, firsts: dict[str, TensorDifference | None], tolerance: float) -> None:
    """Print the first tensors that differ, the difference of the poses and the most harmful layers."""
    percent = f"{100 * tolerance:g} %"
    conditions = {
        "differs": "differs at all",
        "above_tolerance": f"above {percent}",
        "isolated_above_tolerance": f"above {percent} by itself",
    }
    out.print(f"Of {len(comparison.tensors)} tensors that both compute, in the graph's order, the first that")
    for name, condition in conditions.items():
        first = firsts[name]
        size = ""
        if first is not None:
            size = f"  {first.relative:.2%} of its RMS in frame {first.frame}, by itself {first.isolated:.2%}"
        out.print(f"  {condition:<24}{'none' if first is None else first.node}{size}")
    worst, effects = comparison.worst, comparison.effects
    mean_mm = sum(launch.mean_mm for launch in comparison.launches) / len(comparison.launches)
    out.print(f"The pose, from one step: mean {mean_mm:.3g} mm; worst joint {worst.max_mm:.3g} mm, in frame {worst.frame}")
    if effects:
        out.print(f"The effect of each layer alone in frame {worst.frame}, all others exact: {len(effects)} layers have one")
        out.print(f"  {'pose, mean':>13}{'worst joint':>13}{'state':>10}   layer")
    for effect in effects[:LISTED]:
        out.print(f"  {effect.mean_mm:>10.3f} mm{effect.max_mm:>10.3f} mm{effect.state:>10.2%}   {effect.layer}")


def _bars(comparison: Comparison, compare: str) -> Bars:
    """The most harmful layers, coloured by the part of the network that they belong to."""
    shown = comparison.effects[:PLOTTED]
    parts = {effect.layer: re.split(r"(?<=\d)\.|\.(?!\d)|/", effect.layer)[0] for effect in shown}
    return Bars(
        {effect.layer: {parts[effect.layer]: effect.max_mm} for effect in shown},
        f"{compare}: what each layer alone does to the pose of frame {comparison.worst.frame}",
        "the worst joint of the pose (mm)",
    )


def _as_json(record: Any) -> dict[str, Any] | None:
    """A dataclass as a JSON object; infinity, which JSON lacks, as a string."""
    if record is None:
        return None
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(record).items()
    }
