"""Missing joints and frames: the value of the confidence channel.

This experiment follows no paper's figure. From exact keypoints it removes a random share of the joints of each frame, a share
of whole frames, or one limb at a time, in bursts of a second with a second between them. Missing joints are encoded in one of
four ways:

    confidence   as in training: a missing joint is (0, 0) with confidence 0
    memory       as a pipeline does it: the joint's last detected position for a moment, with less and less confidence
    nothing      the same with confidence 1 everywhere, as if the joint were detected in the middle of the image
    held         the joint's last detected position, with confidence 1, as a robot without a confidence channel would do it

Errors are over all frames and joints, and over the missing joints alone. A joint that is missing at a lower share is also
missing at a higher one. A joint that was not detected yet is at (0, 0) in every encoding. "nothing" and "held" also claim to
see the joints outside the picture.

Run: python benchmarks/missing.py --data cmu_h36m17.npz [--weights NAME=FILE ...] [--split test] [--clips N] [--device cpu]
     [--json FILE] [--plot FILE]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from experiment import Row, exit_on_error, run_on_exact_keypoints
from numpy.typing import NDArray
from posemoe_edge.edge.data.augment import LIMBS
from posemoe_edge.edge.data.sequences import PoseSequence, clip_rng
from posemoe_edge.edge.evaluation import compute_metrics
from posemoe_edge.edge.lifting import lift_sequence
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.runtime.plotting import Lines
from posemoe_edge.runtime.pose.joint_memory import JointMemory
from posemoe_edge.runtime.pose.keypoints import Keypoints
from posemoe_edge.runtime.pose.metrics import mpjpe

Mask = NDArray[np.bool_]

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
BURST_S = 1.0
ENCODINGS = ("confidence", "memory", "nothing", "held")


def missing_mask(sequence: PoseSequence, what: str, share: float) -> Mask:
    """(T, J): which joints are missing."""
    rng, (frames, joints) = clip_rng(sequence.clip_id, seed=2), sequence.keypoints.shape[:2]
    if what == "joints":
        return rng.random((frames, joints)) < share
    if what == "frames":
        return np.broadcast_to(rng.random((frames, 1)) < share, (frames, joints))
    mask = np.zeros((frames, joints), np.bool_)
    burst = max(1, round(BURST_S / float(sequence.dt_s[0])))
    for start in range(burst, frames, 2 * burst):
        mask[start : start + burst, LIMBS[rng.integers(len(LIMBS))]] = True
    return mask


def encode_missing(sequence: PoseSequence, mask: Mask, encoding: str) -> PoseSequence:
    """The sequence without the masked joints, in one of the encodings."""
    keypoints = sequence.keypoints.copy()
    keypoints[mask] = 0
    if encoding == "held":
        frame = np.where(mask, -1, np.arange(len(sequence))[:, None])
        last = np.maximum.accumulate(frame, axis=0)  # (T, J) the last frame that has the joint, -1 for none
        keypoints = np.take_along_axis(keypoints, last.clip(min=0)[..., None], axis=0)
    if encoding == "memory":
        memory, times_s = JointMemory(), np.cumsum(sequence.dt_s, dtype=np.float64)
        frames = (Keypoints.from_normalised(points) for points in keypoints)
        keypoints = np.stack([memory.fill(frame, t_s).points for frame, t_s in zip(frames, times_s.tolist(), strict=True)])
    if encoding in ("nothing", "held"):
        keypoints[..., 2] = 1
    return replace(sequence, keypoints=keypoints)


def measure(models: Mapping[str, Lifter], sequences: Sequence[PoseSequence]) -> list[Row]:
    cases = [(what, share) for what in ("joints", "frames") for share in SHARES] + [("limb", 1.0)]
    rows = []
    for what, share in cases:
        masks = [missing_mask(sequence, what, share) for sequence in sequences]
        missing = np.concatenate(masks)
        for name, model in models.items():
            for encoding in ENCODINGS:
                encoded = [encode_missing(sequence, mask, encoding) for sequence, mask in zip(sequences, masks, strict=True)]
                poses = [lift_sequence(model, sequence) for sequence in encoded]
                p, g = np.concatenate(poses), np.concatenate([sequence.pose_m for sequence in sequences])
                of_missing = 1000 * mpjpe(p[..., :3], g, valid=missing, root="align") if missing.any() else None
                rows.append(
                    {
                        "weights": name,
                        "missing": what,
                        "requested_percent": round(100 * share, 1) if what != "limb" else None,
                        "percent": round(100 * float(missing.mean()), 2),
                        "encoding": encoding,
                        "mpjpe_mm": round(compute_metrics(encoded, poses)["mpjpe_mm"], 2),
                        "mpjpe_of_missing_mm": None if of_missing is None else round(of_missing, 2),
                    }
                )
    return rows


def plots(rows: Sequence[Row]) -> list[Lines]:
    return [
        Lines(
            x=[100 * share for share in SHARES],
            y={
                encoding: [
                    row["mpjpe_mm"]
                    for row in rows
                    if (row["weights"], row["missing"], row["encoding"]) == (name, what, encoding)
                ]
                for encoding in ENCODINGS
            },
            title=f"{name}: {what} missing",
            x_label=f"share of missing {what} (%)",
            x_ticks={100 * share: f"{100 * share:g}" for share in SHARES},
            y_label="MPJPE (mm)",
            log=True,
            measured=True,
        )
        for name in dict.fromkeys(row["weights"] for row in rows)
        for what in ("joints", "frames")
    ]


if __name__ == "__main__":
    exit_on_error(lambda: run_on_exact_keypoints(__doc__, measure, plots, columns=2))
