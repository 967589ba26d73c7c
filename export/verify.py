"""Verify: how many millimetres an artefact strays from the PyTorch reference, each side carrying its own state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..calib.budget import DEFAULT_BUDGET, drift_mm, exceeded, measure, smallest_budget
from ..calib.rollout import Recording, roll_out
from ..runtime.certificate import (
    CERTIFICATE,
    CERTIFICATE_PLOT,
    CERTIFICATE_SCHEMA,
    REFERENCE,
    Budget,
    Certificate,
    Drift,
    Motion,
)
from ..runtime.errors import ArtefactError
from ..runtime.files import write_atomically
from ..runtime.manifest import Manifest, check_file, read_manifest, record_file, write_manifest
from ..runtime.picture import Lines, check_available, draw_lines
from ..runtime.skeleton import H36M_ORDERS, SKELETONS
from .lifter import Lifter

BLOCK = 100  # frames per chunk of the reference
ROUNDED = "FP32 sums, every FP16 result rounded to half (ONNX Runtime, explicit rounding)"
PLAIN = "FP32 (ONNX Runtime, CPU)"

Floats = NDArray[np.float32]


def verify(
    folder: Path,
    load_reference: Callable[[Path], Lifter],
    recording: Recording,
    motion: Motion,
    *,
    budget: Budget = DEFAULT_BUDGET,
    tick: Callable[[int], None] = lambda frames: None,
) -> Certificate:
    """Measure every graph of an artefact, and leave the certificate in it.

    Args:
        load_reference: makes the network of the weights at a path, in eval mode.
        recording, motion: what to lift, and where it came from.
        budget: what is allowed.
        tick: called with the number of frames that were just lifted; graphs + 1 times the recording's length in all.
    """
    check_available()
    manifest = read_manifest(folder)
    for name in manifest.files:
        if name not in (CERTIFICATE, CERTIFICATE_PLOT):
            check_file(folder, manifest, name)
    if REFERENCE not in manifest.files:
        raise ArtefactError(
            f"{folder} holds no reference weights", expected=REFERENCE, run=f"posemoe-edge export {manifest.preset}"
        )
    order, joints = list(H36M_ORDERS[manifest.skeleton]), SKELETONS[manifest.skeleton].joints
    recording = replace(recording, keypoints=recording.keypoints[:, order, : manifest.channels])
    chunk = manifest.graphs[0].frames if manifest.mode == "chunk" else None
    reference = lift_reference(load_reference(folder / REFERENCE), recording, chunk=chunk, tick=tick)

    drifts: list[Drift] = []
    by_frame: dict[str, NDArray[np.float64]] = {}
    for graph in manifest.graphs:
        poses = roll_out(folder / graph.file, graph, recording, tick=lambda: tick(1))
        drift = drift_mm(poses, reference)
        measured = measure(drift)
        over = exceeded(measured, budget)
        by_frame[graph.precision] = drift.mean(axis=1)
        drifts.append(
            Drift(
                precision=graph.precision,
                graph_sha256=manifest.files[graph.file].sha256,
                arithmetic=PLAIN if graph.precision == "fp32" else ROUNDED,
                frames=len(recording),
                measured=measured,
                per_joint_mean_mm=dict(zip(joints, drift.mean(axis=0).tolist(), strict=True)),
                per_joint_max_mm=dict(zip(joints, drift.max(axis=0).tolist(), strict=True)),
                passed=not over,
                exceeded=over,
                smallest_budget=smallest_budget(measured),
            )
        )
    certificate = Certificate(
        schema_version=CERTIFICATE_SCHEMA,
        preset=manifest.preset,
        passed=all(drift.passed for drift in drifts),
        budget=budget,
        motion=motion,
        reference=f"PyTorch {torch.__version__}, float32, CPU",
        reference_sha256=manifest.files[REFERENCE].sha256,
        drifts=tuple(drifts),
    )
    _write(folder, manifest, certificate, by_frame)
    return certificate


def lift_reference(
    model: Lifter, recording: Recording, *, chunk: int | None = None, tick: Callable[[int], None] = lambda frames: None
) -> Floats:
    """(T, J, 3) poses of the PyTorch model in float32, its state carried all the way; a window model's, window by window.

    Args:
        chunk: T_s of a chunk graph. Where frames of a chunk see one another, its borders are part of the question.
    """
    poses = []
    with torch.no_grad():
        if model.state_shape is None:
            assert model.config.window is not None
            for given, part in recording.windows(model.config.window):
                y = model(torch.from_numpy(part.keypoints[None]))[0, :given]
                poses.append(y.expand(given, -1, -1).numpy())  # if it is one pose, it is that of the whole window
                tick(given)
        else:
            state = model.initial_state(1)
            # A causal lifter's steps may be taken together; one with lookahead would see more than its steps do.
            block = chunk or (1 if model.config.lookahead else BLOCK)
            for given, part in recording.chunks(block):
                x, dt, reset = (torch.from_numpy(array[None]) for array in (part.keypoints, part.dt_s, part.reset))
                y, state = model.chunk(x, state, dt, reset)
                poses.append(y[0, :given].numpy())
                tick(given)
    return np.concatenate(poses)


def _write(folder: Path, manifest: Manifest, certificate: Certificate, by_frame: dict[str, NDArray[np.float64]]) -> None:
    """Certificate and plot, then the manifest that vouches for them: at every moment the artefact is valid."""
    files = {name: record for name, record in manifest.files.items() if name not in (CERTIFICATE, CERTIFICATE_PLOT)}
    write_manifest(folder, manifest.model_copy(update={"files": files}))
    draw_lines(folder / CERTIFICATE_PLOT, _plots(certificate, by_frame))
    write_atomically(folder / CERTIFICATE, certificate.model_dump_json(indent=1).encode())
    files |= {name: record_file(folder / name) for name in (CERTIFICATE, CERTIFICATE_PLOT)}
    write_manifest(folder, manifest.model_copy(update={"files": files}))


def _plots(certificate: Certificate, by_frame: dict[str, NDArray[np.float64]]) -> Sequence[Lines]:
    frames = certificate.motion.frames
    time_s = np.arange(frames) / certificate.motion.fps
    return [
        Lines(
            x=time_s,
            y={drift.precision: by_frame[drift.precision]},
            title=(
                f"{drift.precision}: {drift.measured.mean_mm:.2g} mm from PyTorch on average, {drift.measured.max_mm:.2g} mm "
                f"at most; {'passed' if drift.passed else 'FAILED'}"
            ),
            y_label="mean of the joints (mm)",
            from_zero=True,
        )
        for drift in certificate.drifts
    ]
