"""Verify: how many millimetres an artefact strays from the PyTorch reference, each side carrying its own state."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..calib.measure.accuracy import measure_accuracy
from ..calib.measure.budget import DEFAULT_BUDGET, drift_mm, exceeded, smallest_budget, summarise_drift
from ..calib.measure.disturbances import Disturbance, disturb, measure_recoveries
from ..calib.measure.recording import Recording
from ..calib.measure.rollout import open_graph, roll_out
from ..runtime.artefact.certificate import (
    CERTIFICATE,
    CERTIFICATE_PLOT,
    CERTIFICATE_SCHEMA,
    REFERENCE,
    Accuracy,
    Budget,
    Certificate,
    Drift,
    MotionSource,
    find_reference,
    parse_certificate,
)
from ..runtime.artefact.manifest import Graph, Manifest, check_file, read_manifest, replace_files
from ..runtime.artefact.precision import PRECISIONS, Precision
from ..runtime.errors import ArtefactError
from ..runtime.plotting import check_available
from ..runtime.pose.skeleton import H36M_ORDERS, SKELETONS
from .certificate_plot import draw_certificate
from .lifter import ExportableLifter
from .pytorch import lift_reference

COURSE = 100  # points of a drift over time: a picture shows no more
ON_CPU = "onnxruntime-cpu"

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Lifted:
    """What one side made of everything: (T, J, 3) poses of each stream, and of each event."""

    streams: list[Floats]
    events: list[Floats]


def verify(
    folder: Path,
    load_reference: Callable[[Path], ExportableLifter],
    recordings: Sequence[Recording],
    motion: MotionSource,
    *,
    budget: Budget = DEFAULT_BUDGET,
    engine: str | None = None,
    precisions: Sequence[Precision] = (),
    tick: Callable[[int], None] = lambda frames: None,
) -> Certificate:
    """Measure the graphs of an artefact on one engine, and leave the certificate in it.

    What an earlier certificate says of other engines and graphs is kept and judged anew, if it was measured on the same
    motion, against the same weights, and of the graphs that are there.

    Args:
        load_reference: makes the network of the weights at a path, in eval mode.
        recordings, motion: streams of equal length to lift, in the order of Human3.6M, and where they came from.
        budget: what is allowed.
        engine: a name of ``runtime.engines.ENGINES``; None is ONNX Runtime on the CPU.
        precisions: whose graphs to measure; none is all of them.
        tick: called with the number of frames that were just lifted; ``frames_to_lift`` in all.
    """
    check_available()
    manifest = read_manifest(folder)
    for name in manifest.files:
        if name not in (CERTIFICATE, CERTIFICATE_PLOT, REFERENCE):
            check_file(folder, manifest, name)
    weights = find_reference(folder, manifest)
    graphs = [manifest.graph(precision) for precision in precisions] or list(manifest.graphs)
    events = _events(manifest, recordings)
    given = [recording.for_model(manifest) for recording in recordings]
    disturbed = [event.recording.for_model(manifest) for event in events]
    with ExitStack() as stack:
        # Opened before the work and not after it: an engine may not be there.
        opened = [stack.enter_context(closing(open_graph(folder / graph.file, engine=engine))) for graph in graphs]
        model, chunk = load_reference(weights), manifest.graphs[0].frames if manifest.mode == "chunk" else None
        reference = Lifted(*(lift_reference(model, of, chunk=chunk, tick=tick) for of in (given, disturbed)))
        lifted = [
            Lifted(*(roll_out(at, graph, of, on_progress=tick) for of in (given, disturbed)))
            for at, graph in zip(opened, graphs, strict=True)
        ]
    before = _accuracy(manifest, reference.streams, recordings)
    drifts = []
    for graph, at, made in zip(graphs, opened, lifted, strict=True):
        after = _accuracy(manifest, made.streams, recordings)
        drifts.append(_drift(manifest, graph, at.name, made, reference, events, (before, after)))
    certificate = Certificate(
        schema_version=CERTIFICATE_SCHEMA,
        preset=manifest.preset,
        passed=True,
        budget=budget,
        motion=motion,
        reference=f"PyTorch {torch.__version__}, float32, CPU",
        reference_sha256=manifest.files[REFERENCE].sha256,
        reference_accuracy=before,
        reference_recoveries=measure_recoveries(events, reference.events),
        drifts=(),
    )
    certificate = _judge(certificate, [*drifts, *_kept(folder, manifest, certificate, drifts)])
    draw_certificate(picture := io.BytesIO(), certificate)
    text = certificate.model_dump_json(indent=1).encode()
    replace_files(folder, manifest, {CERTIFICATE: text, CERTIFICATE_PLOT: picture.getvalue()})
    return certificate


def frames_to_lift(manifest: Manifest, recordings: Sequence[Recording], precisions: Sequence[Precision] = ()) -> int:
    """How many frames ``verify`` will lift, the reference's among them."""
    frames = sum(map(len, recordings)) + sum(len(event.recording) for event in _events(manifest, recordings))
    return frames * (len(precisions or manifest.graphs) + 1)


def _events(manifest: Manifest, recordings: Sequence[Recording]) -> list[Disturbance]:
    """What is done to the first stream; nothing to a model that carries nothing from window to window."""
    return [] if manifest.mode == "window" else disturb(recordings[0])


def _accuracy(manifest: Manifest, poses: Sequence[Floats], recordings: Sequence[Recording]) -> Accuracy | None:
    """None if poses are not in metres, or one stands for a whole window."""
    if not manifest.metric or (
        manifest.mode == "window" and manifest.graphs[0].outputs[0].shape[1] != manifest.graphs[0].frames
    ):
        return None
    back = np.argsort(H36M_ORDERS[manifest.skeleton])
    return measure_accuracy([made[:, back] for made in poses], recordings)


def _drift(
    manifest: Manifest,
    graph: Graph,
    engine: str,
    lifted: Lifted,
    reference: Lifted,
    events: Sequence[Disturbance],
    accuracies: tuple[Accuracy | None, Accuracy | None],
) -> Drift:
    """What was measured of a graph; not judged yet."""
    joints = SKELETONS[manifest.skeleton].joints
    drift = drift_mm(np.stack(lifted.streams), np.stack(reference.streams))  # (S, T, J)
    before, after = accuracies
    measured, interval = summarise_drift(drift, before=before, after=after)
    by_frame = drift.mean(axis=(0, 2))
    arithmetic = PRECISIONS[graph.precision].arithmetic if engine == ON_CPU else f"{graph.precision}, as {engine} computes it"
    return Drift(
        precision=graph.precision,
        engine=engine,
        graph_sha256=manifest.files[graph.file].sha256,
        arithmetic=arithmetic,
        frames=drift.shape[1],
        measured=measured,
        slope=interval,
        per_joint_mean_mm=dict(zip(joints, drift.mean(axis=(0, 1)).tolist(), strict=True)),
        per_joint_max_mm=dict(zip(joints, drift.max(axis=(0, 1)).tolist(), strict=True)),
        accuracy=after,
        recoveries=measure_recoveries(events, lifted.events, reference.events),
        drift_curve_mm=tuple(float(f"{part.mean():.3g}") for part in np.array_split(by_frame, min(COURSE, len(by_frame)))),
        passed=True,
        exceeded=(),
        smallest_budget=smallest_budget(measured),
    )


def _kept(folder: Path, manifest: Manifest, now: Certificate, drifts: Sequence[Drift]) -> list[Drift]:
    """What the certificate that is there says of other engines and graphs, if that is still true."""
    if CERTIFICATE not in manifest.files:
        return []
    try:
        path = check_file(folder, manifest, CERTIFICATE)
        old = parse_certificate(path.read_bytes(), str(path), "posemoe-edge verify")
    except ArtefactError:
        return []
    if (old.motion, old.reference_sha256) != (now.motion, now.reference_sha256):
        return []
    known = {(graph.precision, manifest.files[graph.file].sha256) for graph in manifest.graphs}
    measured = {(drift.precision, drift.engine) for drift in drifts}
    return [
        drift
        for drift in old.drifts
        if (drift.precision, drift.graph_sha256) in known and (drift.precision, drift.engine) not in measured
    ]


def _judge(certificate: Certificate, drifts: Sequence[Drift]) -> Certificate:
    """The certificate with these drifts, each held against the budget; graph by graph, the CPU's first."""
    order = list(PRECISIONS)
    judged = []
    for drift in sorted(drifts, key=lambda drift: (order.index(drift.precision), drift.engine != ON_CPU, drift.engine)):
        over = exceeded(drift.measured, certificate.budget)
        judged.append(drift.model_copy(update={"passed": not over, "exceeded": over}))
    return certificate.model_copy(update={"drifts": tuple(judged), "passed": all(drift.passed for drift in judged)})
