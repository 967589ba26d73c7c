"""How far recorded poses are from the truth: the same joints, the same frames and the same rules for every system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.pose.metrics import acceleration_error, mean_acceleration, mpjpe, procrustes
from posemoe_edge.runtime.pose.skeleton import COCO17, H36M17

LIMBS = tuple(
    f"{side}_{joint}" for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist") for side in ("left", "right")
)
"""The joints that all systems have and define alike; the hips come first."""

IN_COCO = [COCO17.joints.index(name) for name in LIMBS]
IN_H36M = [H36M17.joints.index(name) for name in LIMBS]
IN_MEDIAPIPE = [23, 24, 25, 26, 27, 28, 11, 12, 13, 14, 15, 16]
_SWAPPED = [i ^ 1 for i in range(len(LIMBS))]
_SAME_PERSON = 0.25  # of the person's height in the picture: a skeleton further off is another person's


@dataclass(frozen=True, eq=False)
class Candidate:
    """A person that a system found in a frame.

    Args:
        person: its id.
        limbs_px: (12, 2) in the picture; not a number where a joint is not seen.
        limbs_m: (12, 3) camera axes, wherever its origin is.
        limbs_in_camera_m: (12, 3) from the camera; None if the place in the room is not known.
    """

    person: int
    limbs_px: F64
    limbs_m: F64
    limbs_in_camera_m: F64 | None = None


@dataclass(frozen=True, eq=False)
class Scores:
    """One system in one camera; lengths in mm. None where it cannot be known.

    Args:
        mpjpe: mean distance of the limbs' joints, middle of the hips at the origin.
        p_mpjpe: after the best similarity transform of each frame.
        absolute: mean distance in camera axes, with the position in the room.
        acceleration: mean length of the second difference, a frame squared.
        acceleration_error: mean distance of it from the truth's.
        flips: frames that are nearer to the truth with left and right swapped.
        missed: frames in which the person was not found.
        ids: how many ids the person had.
        others: people found besides, in all frames.
        by_frame: ``mpjpe``, ``p_mpjpe`` and ``absolute`` of each frame (T,); not a number where the person was not found.
    """

    mpjpe: float | None
    p_mpjpe: float | None
    absolute: float | None
    acceleration: float | None
    acceleration_error: float | None
    flips: int
    missed: int
    ids: int
    others: int
    frames: int
    by_frame: Mapping[str, F64] = field(default_factory=dict)


def nearest(candidates: list[Candidate], truth_px: F64) -> Candidate | None:
    """The candidate on the true person, (12, 2) in the picture; None if there is none near it.

    The middles of the joints are compared, so that somebody with left and right swapped is still found, and scored.
    """
    reach_px = _SAME_PERSON * float(np.ptp(truth_px[:, 1]))
    best, least_px = None, reach_px
    for candidate in candidates:
        seen = np.isfinite(candidate.limbs_px).all(axis=1)
        if not seen.any():
            continue
        distance = float(np.linalg.norm(candidate.limbs_px[seen].mean(axis=0) - truth_px[seen].mean(axis=0)))
        if distance < least_px:
            best, least_px = candidate, distance
    return best


def score(found: list[list[Candidate]], truth_m: F64, truth_px: F64) -> Scores:
    """The scores of one system in one camera.

    Args:
        found: who was found, of each frame.
        truth_m: (T, 12, 3) of the limbs, camera axes.
        truth_px: (T, 12, 2) in the picture.
    """
    chosen = [nearest(candidates, px) for candidates, px in zip(found, truth_px, strict=True)]
    seen = np.array([candidate is not None for candidate in chosen])
    people = [candidate for candidate in chosen if candidate is not None]
    others = sum(map(len, found)) - len(people)
    if not people:
        return Scores(None, None, None, None, None, 0, len(chosen), 0, others, len(chosen))
    limbs_m = np.zeros_like(truth_m)
    limbs_m[seen] = [candidate.limbs_m for candidate in people]
    ours, truth = from_hips(limbs_m), from_hips(truth_m)
    distance = np.linalg.norm(ours - truth, axis=-1).mean(axis=-1)
    swapped = np.linalg.norm(ours[:, _SWAPPED] - truth, axis=-1).mean(axis=-1)
    valid = np.repeat(seen[:, None], len(LIMBS), axis=1)
    moving = bool((seen[2:] & seen[1:-1] & seen[:-2]).any())
    placed = [candidate.limbs_in_camera_m for candidate in people if candidate.limbs_in_camera_m is not None]
    aligned = procrustes(ours[seen], truth[seen])
    in_room = np.stack(placed) if len(placed) == len(people) else None
    return Scores(
        mpjpe=1000 * mpjpe(ours, truth, valid=valid),
        p_mpjpe=1000 * mpjpe(aligned, truth[seen]),
        absolute=None if in_room is None else 1000 * mpjpe(in_room, truth_m[seen]),
        acceleration=1000 * mean_acceleration(ours, valid=valid) if moving else None,
        acceleration_error=1000 * acceleration_error(ours, truth, valid=valid) if moving else None,
        flips=int((swapped < distance)[seen].sum()),
        missed=int((~seen).sum()),
        ids=len({candidate.person for candidate in people}),
        others=others,
        frames=len(chosen),
        by_frame={
            "mpjpe": _by_frame(seen, ours[seen], truth[seen]),
            "p_mpjpe": _by_frame(seen, aligned, truth[seen]),
            **({} if in_room is None else {"absolute": _by_frame(seen, in_room, truth_m[seen])}),
        },
    )


def from_hips(limbs_m: F64) -> F64:
    """(..., 12, 3) with the middle of the hips at the origin."""
    return np.asarray(limbs_m - limbs_m[..., :2, :].mean(axis=-2, keepdims=True))


def _by_frame(seen: NDArray[np.bool_], ours: F64, truth: F64) -> F64:
    """(T,) mean distance in mm; not a number in the frames that are not among the seen."""
    errors = np.full(len(seen), np.nan)
    errors[seen] = 1000 * np.linalg.norm(ours - truth, axis=-1).mean(axis=-1)
    return errors
