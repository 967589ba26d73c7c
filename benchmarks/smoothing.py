"""Smoothing: what the levels of the One-Euro filter cost and save, on motion capture with a detector's noise.

Clips are seen by the cameras of the evaluation, their keypoints get a detector's noise, and the default model lifts them.
Accuracy is MPJPE. Trembling is the acceleration error: how far the second difference of each joint lies from that of the truth,
in mm per frame squared. Filters run before the model (keypoints), after it (poses), or both.

Run: python benchmarks/smoothing.py --data cmu_h36m17.npz [--split val] [--clips N] [--grid] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from experiment import part_of
from posemoe_edge.edge.data.mocap import load_clips
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.runtime import Model, load
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.pose.metrics import mpjpe
from posemoe_edge.runtime.pose.smoothing import SMOOTHING, Cutoff, Smoother, SmoothingLevel

NONE = Cutoff(1e6, 0.0)  # passes everything
RESET_AFTER_S = 2.0
GRID = [SmoothingLevel(Cutoff(a, b), NONE) for a in (1.0, 2.0, 4.0) for b in (6.0, 20.0)] + [
    SmoothingLevel(NONE, Cutoff(a, b)) for a in (0.5, 1.0, 2.0, 4.0) for b in (1.0, 4.0)
]


def lift(model: Model, sequence: PoseSequence, level: SmoothingLevel | None) -> F32:
    """(T, 17, 3) poses, smoothed before and after the model."""
    smoother = None if level is None else Smoother(level, reset_after_s=RESET_AFTER_S)
    poses = []
    with model.stream() as stream:
        keypoints = sequence.keypoints_for(view=model.manifest.view)
        for t_s, points in zip(np.cumsum(sequence.dt_s, dtype=np.float64), keypoints, strict=True):
            fed = points if smoother is None else smoother.keypoints(points, t_s=float(t_s))
            xyz_m = stream.step(fed, t=float(t_s)).xyz_m
            poses.append(xyz_m if smoother is None else smoother.pose(xyz_m, t_s=float(t_s), reset=False))
    return np.stack(poses)


def acceleration_error_mm(poses_m: F32, truth_m: F32) -> float:
    """Mean distance between the second differences of poses and truth, in mm per frame squared, hips aligned."""
    error = (poses_m - poses_m[:, :1]) - (truth_m - truth_m[:, :1])
    return 1000 * float(np.linalg.norm(np.diff(error, 2, axis=0), axis=-1).mean())


def measure(model: Model, sequences: Sequence[PoseSequence], level: SmoothingLevel | None) -> dict[str, float]:
    poses = [lift(model, sequence, level) for sequence in sequences]
    errors = [1000 * mpjpe(p, s.pose_m, root="align") for p, s in zip(poses, sequences, strict=True)]
    trembling = [acceleration_error_mm(p, s.pose_m) for p, s in zip(poses, sequences, strict=True)]
    weights = [len(p) for p in poses]
    return {
        "mpjpe_mm": round(float(np.average(errors, weights=weights)), 2),
        "acceleration_error_mm": round(float(np.average(trembling, weights=weights)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--every", type=int, default=1, help="use every Nth clip")
    parser.add_argument("--clips", type=int, help="use the first N clips only")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each clip")
    parser.add_argument("--grid", action="store_true", help="also single filters of a grid, from which the levels were chosen")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    clips = load_clips(options.data, options.split)[:: options.every][: options.clips]
    frames = round(options.seconds * 50)
    sequences = [part_of(sequence, 0, frames) for sequence in evaluation_sequences(clips, noisy=True)]
    levels: dict[str, SmoothingLevel | None] = {str(name): level for name, level in SMOOTHING.items()}
    if options.grid:
        levels |= {str(level): level for level in GRID}
    model, rows = load(), []
    for name, level in levels.items():
        rows.append({"level": name, **measure(model, sequences, level)})
        print(rows[-1], flush=True)
    if options.json:
        options.json.write_text(json.dumps({"split": options.split, "clips": len(clips), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
