"""Cameras as robots have them: what focal length, pitch, roll and distance cost.

This experiment follows no paper's figure. Every clip is filmed by cameras that look at the person, from four sides. One
property is swept, the others are those of a room like Human3.6M's: a focal length of 1.15 of the width, 10 degrees of pitch,
no roll, 4.25 m. The focal length is swept at equal size of the person in the picture, the distance at one focal length.
"over_base" is the error as a multiple of the base's. "known" says whether the lifter is told the camera's intrinsics;
otherwise it takes nominal ones.

Run: python benchmarks/cameras.py --data cmu_h36m17.npz [--weights NAME=FILE ...] [--split test] [--every N] [--clips N]
     [--device cpu] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from experiment import Row, exit_on_error, load_lifters, option_parser, parse_options, selected_clips, write_result
from posemoe_edge.edge.data.camera import place_camera
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.projection import film
from posemoe_edge.edge.data.sequences import PoseSequence, clip_rng
from posemoe_edge.edge.evaluation import compute_metrics
from posemoe_edge.edge.lifting import lift_sequence
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.runtime.plotting import Lines

BASE = {"focal": 1.15, "pitch_deg": 10.0, "roll_deg": 0.0, "distance_m": 4.25}
SWEEPS: dict[str, tuple[float, ...]] = {
    "focal": (0.4, 0.6, 0.8, 1.15, 1.6),
    "pitch_deg": (-40.0, -20.0, 0.0, 10.0, 30.0, 60.0),
    "roll_deg": (0.0, 15.0, 30.0),
    "distance_m": (1.5, 2.5, 4.25, 7.0, 10.0),
}
LABELS = {
    "focal": "focal length (widths of the picture)",
    "pitch_deg": "pitch, downwards (degrees)",
    "roll_deg": "roll (degrees)",
    "distance_m": "distance of the person (m)",
}
SIDES = 4


def case(name: str, value: float) -> dict[str, float]:
    """The camera of one point of a sweep. A focal length changes the distance, so that the person keeps the same size."""
    camera = {**BASE, name: value}
    if name == "focal":
        camera["distance_m"] = BASE["distance_m"] * value / BASE["focal"]
    return camera


def filmed(clips: Sequence[Clip], camera: Mapping[str, float], *, noisy: bool, known: bool) -> list[PoseSequence]:
    """Every clip from every side. The camera follows the person, and stays at its place relative to them."""
    sequences = []
    for clip in clips:
        rng = clip_rng(clip.id, seed=3)
        first = float(rng.uniform(0, 360))
        joints_m = clip.joints_m - np.concatenate([clip.joints_m[:, :1, :2], np.zeros_like(clip.joints_m[:, :1, :1])], axis=-1)
        for side in range(SIDES):
            target = joints_m[:, 0].mean(axis=0)
            placed = place_camera(target, azimuth_deg=first + 360 / SIDES * side, **camera)
            keypoints, pose_m, intrinsics = film(joints_m, placed, rng, noisy=noisy)
            dt_s = np.full(len(clip), 1 / clip.fps, np.float32)
            sequence = PoseSequence(keypoints, pose_m, dt_s, clip.id, clip.action, intrinsics=intrinsics)
            sequences.append(sequence if known else replace(sequence, intrinsics=None))
    return sequences


def measure(models: Mapping[str, Lifter], clips: Sequence[Clip]) -> list[Row]:
    rows: list[Row] = []
    for noisy in (False, True):
        for known in (True, False):
            base: dict[str, float] = {}
            swept = ((name, value, case(name, value)) for name, sweep in SWEEPS.items() for value in sweep)
            for name, value, camera in (("base", 0.0, BASE), *swept):
                sequences = filmed(clips, camera, noisy=noisy, known=known)
                seen = float(np.mean(np.concatenate([sequence.keypoints[..., 2] > 0 for sequence in sequences])))
                for weights, model in models.items():
                    error = compute_metrics(sequences, [lift_sequence(model, sequence) for sequence in sequences])["mpjpe_mm"]
                    base.setdefault(weights, error)
                    rows.append(
                        {
                            "weights": weights,
                            "input": "noisy" if noisy else "exact",
                            "known": known,
                            "swept": name,
                            "value": value,
                            "seen_percent": round(100 * seen, 1),
                            "mpjpe_mm": round(error, 2),
                            "over_base": round(error / base[weights], 3),
                        }
                    )
    return rows


def plots(rows: Sequence[Row]) -> list[Lines]:
    names = dict.fromkeys(row["weights"] for row in rows)
    return [
        Lines(
            x=SWEEPS[swept],
            y={
                f"{name}{'' if known else ', unknown camera'}": [
                    row["mpjpe_mm"]
                    for row in rows
                    if (row["weights"], row["swept"], row["known"], row["input"]) == (name, swept, known, "exact")
                ]
                for name in names
                for known in (True, False)
            },
            title="Exact keypoints",
            x_label=LABELS[swept],
            y_label="MPJPE (mm)",
            from_zero=True,
            measured=True,
        )
        for swept in SWEEPS
    ]


def main() -> None:
    options = parse_options(option_parser(__doc__))
    clips = selected_clips(options)
    rows = measure(load_lifters(options), clips)
    write_result(options, {"clips": len(clips), "frames": sum(map(len, clips)), "rows": rows}, plots(rows))


if __name__ == "__main__":
    exit_on_error(main)
