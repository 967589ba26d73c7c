"""Accuracy of a model as it runs: whole sequences, frame by frame, through the runtime. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..runtime.arrays import F32
from ..runtime.errors import UsageError
from ..runtime.model import Model
from ..runtime.pose.metrics import auc, mpjpe, mpjve, p_mpjpe, pck
from ..runtime.pose.skeleton import H36M17
from .data.augment import mirror
from .data.sequences import PoseSequence


def _ignore_progress(frames: int) -> None: ...


def evaluate(
    model: Model,
    sequences: Sequence[PoseSequence],
    *,
    flip: bool = False,
    on_progress: Callable[[int], None] = _ignore_progress,
) -> dict[str, Any]:
    """Stream every sequence from an initial state and compare the poses with the true ones.

    Args:
        model: what to evaluate.
        sequences: those that are not longer than the model's latency are left out.
        flip: lift the mirrored person too, on a separate stream, and average: the papers' test-time augmentation.
        on_progress: called with the number of frames that were just lifted.

    Returns:
        What ``compute_metrics`` returns.

    Raises:
        UsageError: no sequence is longer than the latency, or no frame is valid.
    """
    if not sequences:
        raise UsageError("there are no clips to evaluate on", expected="a split with clips")
    latency = model.latency_frames
    lifted = [sequence for sequence in sequences if len(sequence) > latency]  # the others end before the first pose
    if not lifted:
        raise UsageError(f"no clip is longer than the latency of {latency} frames", expected="longer clips")
    predicted = []
    for sequence in lifted:
        poses = stream_sequence(model, sequence, on_progress=on_progress)
        if flip:
            mirrored = stream_sequence(model, replace(sequence, keypoints=mirror(sequence.keypoints)))
            poses = ((poses + mirror(mirrored)) / 2).astype(np.float32)
        predicted.append(poses[latency:])
    return compute_metrics(lifted, predicted)


def compute_metrics(sequences: Sequence[PoseSequence], predicted: Sequence[F32]) -> dict[str, Any]:
    """The papers' metrics of poses (n, 17, 3) for the first n frames of each sequence.

    Frames that are not valid are left out, and so are velocities from or to them.

    Returns:
        ``mpjpe_mm``, ``p_mpjpe_mm``, ``mpjve_mm`` (per frame; None if no sequence has two valid neighbours), ``pck150`` and
        ``auc`` (percent, 17 joints), all with both roots at the hip and every valid frame counted once, and the number of those
        ``frames``; ``mpjpe_mm_by_joint``, ``_by_clip`` and ``_by_action`` (every frame of an action counted once), and
        ``mpjpe_mm_of_actions``, the plain mean over actions that papers report first.

    Raises:
        UsageError: no frame is valid.
    """
    by_clip: dict[str, float] = {}
    action_sums: dict[str, tuple[float, int]] = {}  # action -> (sum over frames, frames)
    velocity_errors: list[float] = []
    neighbours: list[int] = []  # pairs of valid neighbouring frames behind each velocity error
    valid_parts: list[tuple[F32, F32]] = []
    for sequence, poses in zip(sequences, predicted, strict=True):
        truth, valid = sequence.pose_m[: len(poses)], sequence.valid_mask[: len(poses)]
        if not valid.any():
            continue
        p, g = poses[valid], truth[valid]
        valid_parts.append((p, g))
        by_clip[sequence.clip_id] = 1000 * mpjpe(p, g, root="align")
        total, frames = action_sums.get(sequence.action, (0.0, 0))
        action_sums[sequence.action] = (total + by_clip[sequence.clip_id] * len(g), frames + len(g))
        if pairs := int((valid[1:] & valid[:-1]).sum()):
            joints = np.broadcast_to(valid[:, None], truth.shape[:2])
            velocity_errors.append(mpjve(poses, truth, valid=joints, root="align"))
            neighbours.append(pairs)
    if not valid_parts:
        raise UsageError("no frame of these clips is valid", expected="clips with valid frames")
    p, g = (np.concatenate(parts) for parts in zip(*valid_parts, strict=True))
    by_action = {action: total / frames for action, (total, frames) in action_sums.items()}
    error_m = np.linalg.norm((p - p[:, :1]) - (g - g[:, :1]), axis=-1)  # (T, J)
    return {
        "frames": len(p),
        "mpjpe_mm": 1000 * mpjpe(p, g, root="align"),
        "p_mpjpe_mm": 1000 * p_mpjpe(p, g),
        "mpjve_mm": 1000 * float(np.average(velocity_errors, weights=neighbours)) if velocity_errors else None,
        "pck150": pck(p, g, root="align", joints=17),
        "auc": auc(p, g, root="align", joints=17),
        "mpjpe_mm_by_joint": dict(zip(H36M17.joints, (1000 * error_m.mean(axis=0)).round(2).tolist(), strict=True)),
        "mpjpe_mm_of_actions": float(np.mean(list(by_action.values()))),
        "mpjpe_mm_by_action": {name: round(value, 2) for name, value in by_action.items()},
        "mpjpe_mm_by_clip": {name: round(value, 2) for name, value in by_clip.items()},
    }


def stream_sequence(model: Model, sequence: PoseSequence, *, on_progress: Callable[[int], None] = _ignore_progress) -> F32:
    """(T, 17, 3) metres: the poses of a new stream that receives the sequence frame by frame."""
    poses = np.empty_like(sequence.pose_m)
    t_s = 0.0
    with model.stream() as stream:
        for i in range(len(sequence)):
            t_s += float(sequence.dt_s[i])
            poses[i] = stream.step(sequence.keypoints[i], t=t_s).xyz_m
            on_progress(1)
    return poses
