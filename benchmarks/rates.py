"""Frame rates: the error of lifters at 50, 25, 12.5 and 6.25 Hz and at irregular times, with and without dt.

After HumMUSS's Figure 5, on motion capture: one model for all rates; but ours are trained on cameras of 50, 25 and
12.5 Hz and on irregular ones. "without dt" gives the model the nominal time step at every frame; a model without a dt input
(attention, single frames) has only that figure. Errors are over the frames of the slow camera, with a detector's
noise.

Run: python benchmarks/rates.py --data cmu_h36m17.npz [--weights NAME=FILE ...] [--split test] [--clips N] [--device cpu]
     [--json FILE] [--plot FILE]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from experiment import (
    Row,
    exit_on_error,
    lift_and_measure,
    load_lifters,
    option_parser,
    parse_options,
    selected_clips,
    write_result,
)
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.runtime.plotting import Lines

CAMERAS = {"50 Hz": (1, 0.0), "25 Hz": (2, 0.0), "12.5 Hz": (4, 0.0), "6.25 Hz": (8, 0.0), "irregular": (1, 0.6)}
"""(stride, share of frames lost)"""


def with_nominal_dt(sequence: PoseSequence, fps: float) -> PoseSequence:
    """The sequence with the nominal time step at every frame."""
    return replace(sequence, dt_s=np.full_like(sequence.dt_s, np.float32(1 / fps)))


def takes_dt(model: Lifter) -> bool:
    """Whether the model has a dt input: recurrent models have, windows and single frames do not."""
    return model.config.mixer_kind in ("retention", "dssm")


def measure(models: Mapping[str, Lifter], clips: Sequence[Clip]) -> list[Row]:
    rows = []
    for camera, (stride, lost) in CAMERAS.items():
        filmed = evaluation_sequences(clips, noisy=True, stride=stride, drop=lost)
        sequences = [sequence for sequence in filmed if len(sequence) > 1]
        for name, model in models.items():
            untimed = [with_nominal_dt(sequence, model.config.fps) for sequence in sequences]
            rows.append(
                {
                    "weights": name,
                    "camera": camera,
                    "frames": sum(map(len, sequences)),
                    "with_dt_mm": round(lift_and_measure(model, sequences)["mpjpe_mm"], 2) if takes_dt(model) else None,
                    "without_dt_mm": round(lift_and_measure(model, untimed)["mpjpe_mm"], 2),
                }
            )
    return rows


def plots(rows: Sequence[Row], fps: float) -> list[Lines]:
    regular = [camera for camera, (_, lost) in CAMERAS.items() if not lost]
    rates = [fps / CAMERAS[camera][0] for camera in regular]
    panels = []
    for how in ("with", "without"):
        y: dict[str, list[float]] = {}
        for row in rows:
            if row["camera"] in regular and row[f"{how}_dt_mm"] is not None:
                y.setdefault(row["weights"], []).append(row[f"{how}_dt_mm"])
        if y:
            title, x_label = f"{how} dt", "frames a second"
            panels.append(Lines(x=rates, y=y, title=title, x_label=x_label, y_label="MPJPE (mm)", from_zero=True))
    return panels


def main() -> None:
    options = parse_options(option_parser(__doc__))
    clips = selected_clips(options)
    rows = measure(load_lifters(options), clips)
    write_result(options, {"clips": len(clips), "noise": "a detector's", "rows": rows}, plots(rows, clips[0].fps))


if __name__ == "__main__":
    exit_on_error(main)
