"""Accuracy of a model as it runs: whole clips, frame by frame, through the runtime. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import UsageError
from ..runtime.model import Model
from ..runtime.pose.metrics import auc, mpjpe, mpjve, p_mpjpe, pck
from ..runtime.pose.skeleton import H36M17
from .data.augment import mirror
from .data.sequences import Take


def evaluate(
    model: Model, takes: Sequence[Take], *, flip: bool = False, tick: Callable[[int], None] = lambda frames: None
) -> dict[str, Any]:
    """Stream every take from an empty memory and measure it against the truth.

    Args:
        flip: lift the mirrored person too, on a stream of its own, and average: the papers' augmentation when testing.

    Returns:
        mpjpe_mm, p_mpjpe_mm, mpjve_mm (per frame; None if no clip has two), pck150 and auc (percent, 17 joints), all with
        both roots at the hip and every frame of all takes that counts counted once, and how many ``frames`` those are;
        mpjpe_mm_by_joint, _by_clip and _by_action (every frame of an action once), and mpjpe_mm_of_actions, the plain mean
        over actions that papers put first.
    """
    if not takes:
        raise UsageError("there are no clips to evaluate on", expected="a split that holds some")
    late, predicted = model.latency_frames, []
    seen = [take for take in takes if len(take) > late]  # the others were over before the first pose
    if not seen:
        raise UsageError(f"no clip is longer than the latency of {late} frames", expected="longer clips")
    for take in seen:
        poses = lift(model, take, tick)
        if flip:
            other = lift(model, replace(take, keypoints=mirror(take.keypoints)), lambda frames: None)
            poses = ((poses + mirror(other)) / 2).astype(np.float32)
        predicted.append(poses[late:])
    return judge(seen, predicted)


def judge(takes: Sequence[Take], predicted: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """What ``evaluate`` returns, of poses (n, 17, 3) for the first n frames of each take.

    A frame that is not valid is left out, and so is a velocity into it or out of it.
    """
    by_clip: dict[str, float] = {}
    by_action: dict[str, list[float]] = {}
    speeds: list[float] = []
    pairs: list[int] = []  # of neighbours that both count, of which each speed is the mean
    kept: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for take, poses in zip(takes, predicted, strict=True):
        truth, counted = take.pose_m[: len(poses)], take.counted[: len(poses)]
        if not counted.any():
            continue
        p, g = poses[counted], truth[counted]
        kept.append((p, g))
        by_clip[take.clip_id] = 1000 * mpjpe(p, g, root="align")
        total, frames = by_action.setdefault(take.action, [0.0, 0.0])
        by_action[take.action] = [total + by_clip[take.clip_id] * len(g), frames + len(g)]
        if both := int((counted[1:] & counted[:-1]).sum()):
            joints = np.broadcast_to(counted[:, None], truth.shape[:2])
            speeds.append(mpjve(poses, truth, valid=joints, root="align"))
            pairs.append(both)
    if not kept:
        raise UsageError("no frame of these clips counts", expected="clips with valid frames")
    p, g = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    of_actions = {action: total / frames for action, (total, frames) in by_action.items()}
    wrong = np.linalg.norm((p - p[:, :1]) - (g - g[:, :1]), axis=-1)  # (T, J)
    return {
        "frames": len(p),
        "mpjpe_mm": 1000 * mpjpe(p, g, root="align"),
        "p_mpjpe_mm": 1000 * p_mpjpe(p, g),
        "mpjve_mm": 1000 * float(np.average(speeds, weights=pairs)) if speeds else None,
        "pck150": pck(p, g, root="align", joints=17),
        "auc": auc(p, g, root="align", joints=17),
        "mpjpe_mm_by_joint": dict(zip(H36M17.joints, (1000 * wrong.mean(axis=0)).round(2).tolist(), strict=True)),
        "mpjpe_mm_of_actions": float(np.mean(list(of_actions.values()))),
        "mpjpe_mm_by_action": {name: round(value, 2) for name, value in of_actions.items()},
        "mpjpe_mm_by_clip": {name: round(value, 2) for name, value in by_clip.items()},
    }


def lift(model: Model, take: Take, tick: Callable[[int], None]) -> NDArray[np.float32]:
    """(T, 17, 3): what a stream says of a take, frame by frame."""
    poses = np.empty_like(take.pose_m)
    t = 0.0
    with model.stream() as stream:
        for i in range(len(take)):
            t += float(take.dt_s[i])
            poses[i] = stream.step(take.keypoints[i], t=t).xyz_m
            tick(1)
    return poses
