"""Accuracy of a model as it runs: whole sequences, frame by frame, through the runtime. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..runtime.arrays import F32
from ..runtime.errors import UsageError
from ..runtime.model import Model
from ..runtime.pose.metrics import auc, best_rotation, mpjpe, mpjve, n_mpjpe, p_mpjpe, pck
from ..runtime.pose.skeleton import H36M17
from .data.augment import mirror
from .data.sequences import PoseSequence, mirror_sequence
from .intervals import interval


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
            mirrored = stream_sequence(model, mirror_sequence(sequence))
            poses[..., :3] = (poses[..., :3] + mirror(mirrored[..., :3])) / 2
        predicted.append(poses[latency:])
    return compute_metrics(lifted, predicted)


def compute_metrics(sequences: Sequence[PoseSequence], predicted: Sequence[F32]) -> dict[str, Any]:
    """The papers' metrics of poses (n, 17, 3 or 4) for the first n frames of each sequence.

    Frames that are not valid are left out, and so are velocities from or to them.

    Returns:
        ``mpjpe_mm``, ``p_mpjpe_mm``, ``mpjve_mm`` (per frame; None if no sequence has two valid neighbours), ``pck150`` and
        ``auc`` (percent, 17 joints), all with both roots at the hip and every valid frame counted once, and the number of those
        ``frames``; ``mpjpe_mm_interval``, 95 % by bootstrap over clips; ``mpjpe_mm_by_joint``, ``_by_clip`` (all cameras of a
        clip together) and ``_by_action`` (every frame of an action counted once), and ``mpjpe_mm_of_actions``, the plain mean
        over actions that papers report first. ``parts`` splits the error (see ``error_parts``), and ``sigma`` says how often
        joints lie within their standard deviation; None without one.

    Raises:
        UsageError: no frame is valid.
    """
    clip_sums: dict[str, tuple[float, int]] = {}  # clip -> (sum over frames, frames)
    action_sums: dict[str, tuple[float, int]] = {}
    velocity_errors: list[float] = []
    neighbours: list[int] = []  # pairs of valid neighbouring frames behind each velocity error
    valid_parts: list[tuple[F32, F32]] = []
    sigmas: list[F32] = []
    for sequence, poses in zip(sequences, predicted, strict=True):
        truth, valid = sequence.pose_m[: len(poses)], sequence.valid_mask[: len(poses)]
        if not valid.any():
            continue
        sigmas.append(poses[valid][..., 3:])
        poses = poses[..., :3]
        p, g = poses[valid], truth[valid]
        valid_parts.append((p, g))
        error_mm = 1000 * mpjpe(p, g, root="align")
        for sums, name in ((clip_sums, sequence.clip_id), (action_sums, sequence.action)):
            total, frames = sums.get(name, (0.0, 0))
            sums[name] = (total + error_mm * len(g), frames + len(g))
        if pairs := int((valid[1:] & valid[:-1]).sum()):
            joints = np.broadcast_to(valid[:, None], truth.shape[:2])
            velocity_errors.append(mpjve(poses, truth, valid=joints, root="align"))
            neighbours.append(pairs)
    if not valid_parts:
        raise UsageError("no frame of these clips is valid", expected="clips with valid frames")
    p, g = (np.concatenate(parts) for parts in zip(*valid_parts, strict=True))
    by_clip, by_action = ({name: total / frames for name, (total, frames) in sums.items()} for sums in (clip_sums, action_sums))
    frames_by_clip = {name: frames for name, (_, frames) in clip_sums.items()}
    error_m = np.linalg.norm((p - p[:, :1]) - (g - g[:, :1]), axis=-1)  # (T, J)
    sigma_m = np.concatenate(sigmas)  # (T, J, 0 or 1)
    return {
        "frames": len(p),
        "mpjpe_mm": 1000 * mpjpe(p, g, root="align"),
        "mpjpe_mm_interval": interval(by_clip, frames_by_clip).to_json(),
        "p_mpjpe_mm": 1000 * p_mpjpe(p, g),
        "mpjve_mm": 1000 * float(np.average(velocity_errors, weights=neighbours)) if velocity_errors else None,
        "pck150": pck(p, g, root="align", joints=17),
        "auc": auc(p, g, root="align", joints=17),
        "mpjpe_mm_by_joint": dict(zip(H36M17.joints, (1000 * error_m.mean(axis=0)).round(2).tolist(), strict=True)),
        "mpjpe_mm_of_actions": float(np.mean(list(by_action.values()))),
        "mpjpe_mm_by_action": {name: round(value, 2) for name, value in by_action.items()},
        "mpjpe_mm_by_clip": {name: round(value, 2) for name, value in by_clip.items()},
        "frames_by_clip": frames_by_clip,
        "parts": error_parts(p, g),
        "sigma": sigma_coverage(error_m, sigma_m[..., 0]) if sigma_m.size else None,
    }


def error_parts(poses: F32, truth: F32) -> dict[str, float]:
    """What the error of poses (T, J, 3) is made of, roots aligned.

    Returns:
        ``depth_share`` of the squared error; ``size``, the median size of the poses relative to the truth; ``rotation_deg``,
        the mean angle by which a pose would have to be turned; and the errors that are left when each frame is scaled
        (``scaled_mm``), turned (``turned_mm``), and both and shifted (``p_mpjpe_mm``).
    """
    p, g = (np.asarray(x - x[:, :1], np.float64) for x in (poses, truth))
    square = np.square(p - g).sum(axis=(0, 1))
    size = np.linalg.norm(p, axis=(1, 2)) / np.maximum(np.linalg.norm(g, axis=(1, 2)), 1e-9)  # (T,)
    turn = best_rotation(p, g)  # (T, 3, 3)
    angle = np.degrees(np.arccos(np.clip((np.trace(turn, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    return {
        "depth_share": round(float(square[2] / max(square.sum(), 1e-12)), 3),
        "size": round(float(np.median(size)), 4),
        "rotation_deg": round(float(angle.mean()), 2),
        "scaled_mm": round(1000 * n_mpjpe(p, g), 2),
        "turned_mm": round(1000 * mpjpe((turn @ p.swapaxes(1, 2)).swapaxes(1, 2), g), 2),
        "p_mpjpe_mm": round(1000 * p_mpjpe(p, g), 2),
    }


def sigma_coverage(error_m: F32, sigma_m: F32) -> dict[str, Any]:
    """How often joints are within one and two standard deviations of the truth, in percent: 68 and 95 where sigma is right.

    Args:
        error_m, sigma_m: (T, J)
    """
    ratio = error_m[:, 1:] / np.maximum(sigma_m[:, 1:], 1e-9)  # the root is exact, whatever its sigma
    within = {name: 100 * (ratio < factor) for name, factor in (("within_1", 1.0), ("within_2", 2.0))}
    joints = H36M17.joints[1:]
    return {
        "mean_mm": round(1000 * float(sigma_m[:, 1:].mean()), 2),
        **{name: round(float(inside.mean()), 2) for name, inside in within.items()},
        **{
            f"{name}_by_joint": dict(zip(joints, inside.mean(axis=0).round(1).tolist(), strict=True))
            for name, inside in within.items()
        },
    }


def stream_sequence(model: Model, sequence: PoseSequence, *, on_progress: Callable[[int], None] = _ignore_progress) -> F32:
    """(T, 17, 3), with sigma (T, 17, 4), metres: the poses of a new stream that receives the sequence frame by frame."""
    poses = np.empty((*sequence.pose_m.shape[:2], 4 if model.manifest.has_sigma else 3), np.float32)
    t_s = 0.0
    with model.stream() as stream:
        keypoints = sequence.keypoints_for(view=model.manifest.view)
        for i in range(len(sequence)):
            t_s += float(sequence.dt_s[i])
            pose = stream.step(keypoints[i], t=t_s)
            poses[i, :, :3] = pose.xyz_m
            if pose.sigma_m is not None:
                poses[i, :, 3] = pose.sigma_m
            on_progress(1)
    return poses
