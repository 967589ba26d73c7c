"""The drift of one graph on one engine, from its poses and those of the PyTorch reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..calib.measure.accuracy import measure_accuracy
from ..calib.measure.budget import drift_mm, smallest_budget, summarise_drift
from ..calib.measure.disturbances import Disturbance, measure_recoveries
from ..calib.measure.recording import Recording
from ..runtime.arrays import F32, F64
from ..runtime.artefact.certificate import Accuracy, BatchDifference, Budget, Drift
from ..runtime.artefact.manifest import Graph, Manifest
from ..runtime.artefact.precision import PRECISIONS
from ..runtime.engines.onnxruntime import OnnxRuntimeEngine
from ..runtime.pose.skeleton import H36M_ORDERS, SKELETONS

CPU_ENGINE_NAME = OnnxRuntimeEngine.name  # as an opened engine calls itself
CURVE_POINTS = 100  # of the drift over time: a plot shows no more


@dataclass(frozen=True, eq=False)
class LiftedPoses:
    """What one side, the graph or the reference, lifted.

    Args:
        streams: (T, J, 3) poses of each recording.
        disturbed: (T, J, 3) poses of each disturbed recording.
        batch_difference: of a graph, how far streams that are lifted in a batch stray from the same streams alone.
    """

    streams: list[F32]
    disturbed: list[F32]
    batch_difference: BatchDifference | None = None


def accuracy_of(manifest: Manifest, poses: Sequence[F32], recordings: Sequence[Recording]) -> Accuracy | None:
    """The accuracy of (T, J, 3) poses; None if they are not in metres, or if one pose stands for a whole window."""
    if not manifest.metric or (
        manifest.mode == "window" and manifest.graphs[0].outputs[0].shape[1] != manifest.graphs[0].frames
    ):
        return None
    to_h36m = np.argsort(H36M_ORDERS[manifest.skeleton])
    return measure_accuracy([stream[:, to_h36m] for stream in poses], recordings)


def measure_drift(
    manifest: Manifest,
    graph: Graph,
    engine: str,
    lifted: LiftedPoses,
    reference: LiftedPoses,
    *,
    recordings: Sequence[Recording],
    disturbances: Sequence[Disturbance],
    reference_accuracy: Accuracy | None,
) -> Drift:
    """The drift of a graph, not yet judged by a budget.

    Args:
        engine: the name of the opened engine.
        lifted, reference: the poses of the graph and of the PyTorch model.
        recordings: the undisturbed recordings in the joint order of Human3.6M, with the truth if it is known.
        disturbances: the disturbed recordings.
    """
    joints = SKELETONS[manifest.skeleton].joints
    poses, exact = np.stack(lifted.streams), np.stack(reference.streams)  # (S, T, J, 3 or 4)
    drift = drift_mm(poses, exact)  # (S, T, J)
    sigma_mm = 1000 * np.abs(poses[..., 3:] - exact[..., 3:])  # (S, T, J, 0 or 1)
    accuracy = accuracy_of(manifest, lifted.streams, recordings)
    measured, slope = summarise_drift(drift, before=reference_accuracy, after=accuracy)
    return Drift(
        precision=graph.precision,
        engine=engine,
        graph_sha256=manifest.files[graph.file].sha256,
        arithmetic=_arithmetic(graph, engine),
        frames=drift.shape[1],
        measured=measured,
        slope=slope,
        per_joint_mean_mm=dict(zip(joints, drift.mean(axis=(0, 1)).tolist(), strict=True)),
        per_joint_max_mm=dict(zip(joints, drift.max(axis=(0, 1)).tolist(), strict=True)),
        accuracy=accuracy,
        batch_difference=lifted.batch_difference,
        recoveries=measure_recoveries(disturbances, lifted.disturbed, reference.disturbed),
        drift_curve_mm=_drift_curve_mm(drift),
        passed=True,
        exceeded=(),
        smallest_budget=smallest_budget(_with_batch(measured, lifted.batch_difference)),
        sigma_mean_mm=float(sigma_mm.mean()) if sigma_mm.size else None,
        sigma_max_mm=float(sigma_mm.max()) if sigma_mm.size else None,
    )


def _with_batch(measured: Budget, difference: BatchDifference | None) -> Budget:
    """The larger of what was measured and of the difference in a batch, which the same limits judge."""
    if difference is None:
        return measured
    terms = ("mean_mm", "p99_mm", "max_mm")
    larger = {term: float(np.maximum(getattr(measured, term), getattr(difference, term))) for term in terms}
    return measured.model_copy(update=larger)


def _arithmetic(graph: Graph, engine: str) -> str:
    """How the engine computes the graph: only the CPU engine is known in detail."""
    if engine == CPU_ENGINE_NAME:
        return PRECISIONS[graph.precision].arithmetic
    return f"{graph.precision}, as {engine} computes it"


def _drift_curve_mm(drift: F64) -> tuple[float, ...]:
    """The mean of (S, T, J) drift over streams and joints, in up to ``CURVE_POINTS`` parts of equal length."""
    by_frame = drift.mean(axis=(0, 2))  # (T,)
    parts = np.array_split(by_frame, min(CURVE_POINTS, len(by_frame)))
    return tuple(float(f"{part.mean():.3g}") for part in parts)
