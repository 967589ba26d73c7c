"""Frame rates: the error of lifters at 50, 25, 12.5 and 6.25 Hz and at irregular times, told the time or not.

After HumMUSS's Figure 5, on motion capture: one model, no training in between; but ours are trained on cameras of 50, 25 and
12.5 Hz and on irregular ones. "without dt" tells the model that every frame came one nominal step after the last; what has no
way of being told (attention, single frames) has that figure alone. Errors are those of the frames that a slow camera sees, with
a detector's noise.

Run: python benchmarks/rates.py --data cmu_h36m17.npz [--weights NAME=FILE ...] [--split test] [--clips N] [--device cpu]
     [--json FILE] [--plot FILE]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from experiment import Row, clips_of, finish, lifters, measured, parsed, parser, told
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.runtime.plotting import Lines

CAMERAS = {"50 Hz": (1, 0.0), "25 Hz": (2, 0.0), "12.5 Hz": (4, 0.0), "6.25 Hz": (8, 0.0), "irregular": (1, 0.6)}
"""(stride, share of frames lost)"""


def untold(sequence: PoseSequence, fps: float) -> PoseSequence:
    """The sequence with one nominal time step before every frame."""
    return replace(sequence, dt_s=np.full_like(sequence.dt_s, np.float32(1 / fps)))


def knows_time(model: Lifter) -> bool:
    """Whether it can be told the time: a recurrence can, what sees evenly spaced windows or single frames cannot."""
    return model.config.mixer_kind in ("retention", "dssm")


def measure(models: Mapping[str, Lifter], clips: Sequence[Clip]) -> list[Row]:
    rows = []
    for camera, (stride, lost) in CAMERAS.items():
        filmed = evaluation_sequences(clips, noisy=True, stride=stride, drop=lost)
        sequences = [sequence for sequence in filmed if len(sequence) > 1]
        for name, model in models.items():
            blind = [untold(sequence, model.config.fps) for sequence in sequences]
            rows.append(
                {
                    "weights": name,
                    "camera": camera,
                    "frames": sum(map(len, sequences)),
                    "with_dt_mm": round(measured(model, sequences)["mpjpe_mm"], 2) if knows_time(model) else None,
                    "without_dt_mm": round(measured(model, blind)["mpjpe_mm"], 2),
                }
            )
    return rows


def pictures(rows: Sequence[Row], fps: float) -> list[Lines]:
    even = [camera for camera, (_, lost) in CAMERAS.items() if not lost]
    rates = [fps / CAMERAS[camera][0] for camera in even]
    plots = []
    for how in ("with", "without"):
        y: dict[str, list[float]] = {}
        for row in rows:
            if row["camera"] in even and row[f"{how}_dt_mm"] is not None:
                y.setdefault(row["weights"], []).append(row[f"{how}_dt_mm"])
        if y:
            title, x_label = f"{how} dt", "frames a second"
            plots.append(Lines(x=rates, y=y, title=title, x_label=x_label, y_label="MPJPE (mm)", from_zero=True))
    return plots


def main() -> None:
    options = parsed(parser(__doc__))
    clips = clips_of(options)
    rows = measure(lifters(options), clips)
    finish(options, {"clips": len(clips), "noise": "a detector's", "rows": rows}, pictures(rows, clips[0].fps))


if __name__ == "__main__":
    told(main)
