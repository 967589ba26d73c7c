"""Verify: an artefact's drift from the PyTorch reference in millimetres, closed loop, each side carrying its own state."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import torch

from ..calib.measure.batch import frames_to_compare, measure_batch_difference
from ..calib.measure.budget import DEFAULT_BUDGET
from ..calib.measure.disturbances import Disturbance, disturb, measure_recoveries
from ..calib.measure.recording import Recording
from ..calib.measure.rollout import CPU_ENGINE, open_graph, roll_out
from ..calib.measure.side_by_side import side_by_side
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
    StoredReference,
    find_reference,
)
from ..runtime.artefact.manifest import (
    Graph,
    Manifest,
    check_changeable,
    check_file,
    commit_manifest,
    read_graph_file,
    read_manifest,
)
from ..runtime.artefact.precision import Precision
from ..runtime.artefact.transaction import locked
from ..runtime.command_line import command_line
from ..runtime.engines import Engine
from ..runtime.engines.open import BESIDE
from ..runtime.errors import ArtefactError
from ..runtime.plotting import check_available
from .certificate_plot import draw_certificate
from .drift import LiftedPoses, accuracy_of, measure_drift
from .lifter import ExportableLifter
from .pytorch import lift_reference
from .verdict import earlier_drifts, judge

LoadReference = Callable[[StoredReference], ExportableLifter]
OnProgress = Callable[[int], None]

ROOM_BYTES = 2_000_000  # of a certificate and its plot


def verify(
    folder: Path,
    load_reference: LoadReference,
    recordings: Sequence[Recording],
    motion: MotionSource,
    *,
    budget: Budget = DEFAULT_BUDGET,
    engine: str | None = None,
    precisions: Sequence[Precision] = (),
    on_progress: OnProgress = lambda frames: None,
) -> Certificate:
    """Measure the graphs of an artefact on one engine, and write the certificate into the artefact.

    An earlier certificate's drifts on other engines and of other graphs are kept and judged by the new budget, if they were
    measured on the same motion, against the same weights, and of graphs that the artefact still has.

    Args:
        load_reference: builds the network from stored weights, in eval mode.
        recordings: streams of equal length to lift, in the joint order of Human3.6M.
        motion: where the recordings came from.
        budget: the drift that is allowed.
        engine: a name of ``runtime.engines.ENGINES``; None is ONNX Runtime on the CPU.
        precisions: whose graphs to measure; empty means all of them.
        on_progress: called with the number of frames just lifted; ``frames_to_lift`` in all.

    Raises:
        ArtefactError: a file is missing or changed, there are no reference weights, or no graph of a precision.
        UsageError, MissingError: the engine does not exist, or is not installed.
    """
    check_available()
    manifest = read_manifest(folder)
    _check_files(folder, manifest)
    check_changeable(folder, ROOM_BYTES)
    graphs = [manifest.graph(precision) for precision in precisions] or list(manifest.graphs)
    disturbances = _disturbances(manifest, recordings)

    engine_names, reference, lifted = _lift(
        folder, manifest, graphs, load_reference, recordings, disturbances, engine=engine, on_progress=on_progress
    )
    reference_accuracy = accuracy_of(manifest, reference.streams, recordings)
    drifts = [
        measure_drift(
            manifest,
            graph,
            engine_name,
            poses,
            reference,
            recordings=recordings,
            disturbances=disturbances,
            reference_accuracy=reference_accuracy,
        )
        for graph, engine_name, poses in zip(graphs, engine_names, lifted, strict=True)
    ]
    certificate = _unjudged(manifest, budget, motion, reference_accuracy, disturbances, reference)
    return _write(folder, manifest, certificate, drifts)


def frames_to_lift(manifest: Manifest, recordings: Sequence[Recording], precisions: Sequence[Precision] = ()) -> int:
    """The number of frames that ``verify`` will lift, those of the reference included."""
    frames = sum(map(len, recordings)) + sum(len(item.recording) for item in _disturbances(manifest, recordings))
    graphs = len(precisions or manifest.graphs)
    return frames * (graphs + 1) + frames_to_compare(recordings) * graphs


def _check_files(folder: Path, manifest: Manifest) -> None:
    """Check every file but the earlier certificate, which is replaced, and the weights, which ``find_reference`` checks."""
    for name in manifest.files:
        if name not in (CERTIFICATE, CERTIFICATE_PLOT, REFERENCE):
            check_file(folder, manifest, name)


def _disturbances(manifest: Manifest, recordings: Sequence[Recording]) -> list[Disturbance]:
    """The first recording with disturbances; none for a window model, which carries no state."""
    return [] if manifest.mode == "window" else disturb(recordings[0])


def _lift(
    folder: Path,
    manifest: Manifest,
    graphs: Sequence[Graph],
    load_reference: LoadReference,
    recordings: Sequence[Recording],
    disturbances: Sequence[Disturbance],
    *,
    engine: str | None,
    on_progress: OnProgress,
) -> tuple[list[str], LiftedPoses, list[LiftedPoses]]:
    """The name of each graph's engine, the poses of the reference, and the poses of each graph."""
    weights = find_reference(folder, manifest)
    streams = [recording.for_model(manifest) for recording in recordings]
    disturbed = [item.recording.for_model(manifest) for item in disturbances]
    with ExitStack() as stack:
        # The engines are opened before the long work, so that a missing one is reported at once.
        engines = [
            stack.enter_context(closing(open_graph(_source(folder, manifest, graph, engine), engine=engine)))
            for graph in graphs
        ]
        model = load_reference(weights)
        chunk = manifest.graphs[0].frames if manifest.mode == "chunk" else None

        def lift_by_pytorch(on_progress: OnProgress) -> LiftedPoses:
            return LiftedPoses(
                streams=lift_reference(model, streams, chunk=chunk, on_progress=on_progress),
                disturbed=lift_reference(model, disturbed, chunk=chunk, on_progress=on_progress),
            )

        def lift_by_engine(opened: Engine, graph: Graph, on_progress: OnProgress) -> LiftedPoses:
            return LiftedPoses(
                streams=roll_out(opened, graph, streams, on_progress=on_progress),
                disturbed=roll_out(opened, graph, disturbed, on_progress=on_progress),
                batch_difference=measure_batch_difference(opened, graph, streams, on_progress=on_progress),
            )

        tasks: list[Callable[[OnProgress], LiftedPoses]] = [lift_by_pytorch]
        tasks += [partial(lift_by_engine, opened, graph) for opened, graph in zip(engines, graphs, strict=True)]
        # Other engines than ONNX Runtime on the CPU belong to the thread that opened them.
        workers = None if engine in (None, CPU_ENGINE) else 1
        reference, *lifted = side_by_side(tasks, on_progress=on_progress, workers=workers)
        return [opened.name for opened in engines], reference, lifted


def _source(folder: Path, manifest: Manifest, graph: Graph, engine: str | None) -> Path | bytes:
    """What an engine opens: the bytes that the manifest vouches for, or the path if it needs what lies beside the graph."""
    content = read_graph_file(folder, manifest, graph)
    return folder / graph.file if engine in BESIDE else content


def _unjudged(
    manifest: Manifest,
    budget: Budget,
    motion: MotionSource,
    reference_accuracy: Accuracy | None,
    disturbances: Sequence[Disturbance],
    reference: LiftedPoses,
) -> Certificate:
    """The certificate with all that it says of the reference, and no drifts yet."""
    return Certificate(
        schema_version=CERTIFICATE_SCHEMA,
        preset=manifest.preset,
        passed=True,
        budget=budget,
        motion=motion,
        reference=f"PyTorch {torch.__version__}, float32, CPU",
        reference_sha256=manifest.files[REFERENCE].sha256,
        reference_accuracy=reference_accuracy,
        reference_recoveries=measure_recoveries(disturbances, reference.disturbed),
        drifts=(),
    )


def _write(folder: Path, measured: Manifest, certificate: Certificate, drifts: Sequence[Drift]) -> Certificate:
    """Write the certificate with these drifts and its plot into the artefact, as it is now.

    Args:
        measured: the manifest as it was read before the work. Graphs that were added meanwhile stay.

    Raises:
        ArtefactError: what was measured is no longer what the artefact holds.
    """
    with locked(folder):
        manifest = read_manifest(folder)
        precisions = {drift.precision for drift in drifts}
        for name in (REFERENCE, *(graph.file for graph in measured.graphs if graph.precision in precisions)):
            if manifest.files.get(name) != measured.files[name]:
                raise ArtefactError(
                    f"{folder / name} was replaced while it was measured",
                    expected="an artefact that stays as it is",
                    run=command_line("verify", folder),
                )
        certificate = judge(certificate, [*drifts, *earlier_drifts(folder, manifest, certificate, drifts)])
        plot = io.BytesIO()
        draw_certificate(plot, certificate)
        text = certificate.model_dump_json(indent=1).encode()
        commit_manifest(folder, manifest, {CERTIFICATE: text, CERTIFICATE_PLOT: plot.getvalue()})
    return certificate
