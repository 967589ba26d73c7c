"""Noise: how the error in the image plane and the error in depth grow with the noise of the keypoints.

After PoseMoE's Figures 3 and 7, on motion capture: white Gaussian noise on x and y of exact keypoints, in pixels of an image
that is 1000 px wide. A clip gets the same noise at each sigma, scaled. Confidence stays 1, so the model does not know about the
noise. Beside MPJPE, the error is split into its part in the image plane (the length of x and y) and its part in depth (|z|),
both in mm in space and averaged over joints. Erosion is the ratio of an error to the error at sigma 0. Nothing is trained in
between.

Run: python benchmarks/noise.py --data cmu_h36m17.npz [--weights NAME=FILE ...] [--split test] [--clips N] [--device cpu]
     [--json FILE] [--plot FILE]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from experiment import Row, exit_on_error, run_on_exact_keypoints
from posemoe_edge.edge.data.sequences import PoseSequence, clip_rng
from posemoe_edge.edge.evaluation import compute_metrics
from posemoe_edge.edge.lifting import lift_sequence
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.plotting import Lines

SIGMAS_PX = (0, 2, 5, 10, 15, 20)
PX = 2 / 1000  # normalised: x runs from -1 to 1 over 1000 px
PARTS = {"mpjpe": "MPJPE", "xy": "x and y", "z": "depth"}
"""Part of the error -> its name."""


def add_noise(sequence: PoseSequence, sigma_px: float) -> PoseSequence:
    """The sequence with white noise on x and y."""
    keypoints = sequence.keypoints.copy()
    noise = clip_rng(sequence.clip_id, seed=1).standard_normal(keypoints[..., :2].shape, np.float32)
    keypoints[..., :2] += np.float32(sigma_px * PX) * noise
    return replace(sequence, keypoints=keypoints)


def split_error(predicted: Sequence[F32], truth: Sequence[F32]) -> dict[str, float]:
    """Mean length of the x, y part of the error and mean |z|, in mm, hips aligned."""
    p, g = np.concatenate(predicted)[..., :3].astype(np.float64), np.concatenate(truth).astype(np.float64)
    error_m = (p - p[:, :1]) - (g - g[:, :1])  # (T, J, 3)
    return {
        "xy_mm": 1000 * float(np.linalg.norm(error_m[..., :2], axis=-1).mean()),
        "z_mm": 1000 * float(np.abs(error_m[..., 2]).mean()),
    }


def measure(models: Mapping[str, Lifter], sequences: Sequence[PoseSequence]) -> list[Row]:
    rows = []
    for name, model in models.items():
        exact: dict[str, float] = {}
        for sigma_px in SIGMAS_PX:
            predicted = [lift_sequence(model, add_noise(sequence, sigma_px)) for sequence in sequences]
            errors = {"mpjpe_mm": compute_metrics(sequences, predicted)["mpjpe_mm"]}
            errors |= split_error(predicted, [sequence.pose_m for sequence in sequences])
            exact = exact or errors
            eroded = {f"{part}_erosion": round(errors[f"{part}_mm"] / exact[f"{part}_mm"], 3) for part in PARTS}
            rounded = {key: round(value, 2) for key, value in errors.items()}
            rows.append({"weights": name, "sigma_px": sigma_px, **rounded, **eroded})
    return rows


def plots(rows: Sequence[Row]) -> list[Lines]:
    names = dict.fromkeys(row["weights"] for row in rows)
    return [
        Lines(
            x=SIGMAS_PX,
            y={name: [row[f"{part}_mm"] for row in rows if row["weights"] == name] for name in names},
            title=title,
            x_label="noise (px of 1,000)",
            x_ticks={float(sigma_px): str(sigma_px) for sigma_px in SIGMAS_PX if sigma_px % 5 == 0},
            y_label="error (mm)",
            from_zero=True,
            measured=True,
        )
        for part, title in PARTS.items()
    ]


if __name__ == "__main__":
    exit_on_error(lambda: run_on_exact_keypoints(__doc__, measure, plots, columns=len(PARTS)))
