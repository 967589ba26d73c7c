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


def plot(rows: Sequence[Row]) -> Lines:
    """All in one plot, so that they have one scale. The irregular camera stands apart: no line leads to it."""
    regular = [camera for camera, (_, lost) in CAMERAS.items() if not lost]
    others = [camera for camera in CAMERAS if camera not in regular]
    cameras = [*regular, None, *others]  # None: a gap in the lines
    error_mm = {(row["weights"], how, row["camera"]): row[f"{how}_dt_mm"] for row in rows for how in ("with", "without")}
    y: dict[str, list[float]] = {}
    like = {}
    for name in dict.fromkeys(row["weights"] for row in rows):
        for how in ("with", "without"):
            values = [error_mm.get((name, how, camera)) if camera else None for camera in cameras]
            if any(value is not None for value in values):
                y[f"{name}, {how} dt"] = [np.nan if value is None else value for value in values]
                if how == "without" and f"{name}, with dt" in y:
                    like[f"{name}, without dt"] = f"{name}, with dt"
    return Lines(
        x=[*range(len(regular)), len(regular) - 0.5, *range(len(regular), len(CAMERAS))],
        y=y,
        like=like,
        title="The same motion, filmed by slower cameras",
        x_label="rate of the camera (Hz)",
        x_ticks={float(place): camera.removesuffix(" Hz") for place, camera in enumerate((*regular, *others))},
        y_label="MPJPE (mm)",
        measured=True,
    )


def main() -> None:
    options = parse_options(option_parser(__doc__))
    clips = selected_clips(options)
    rows = measure(load_lifters(options), clips)
    write_result(options, {"clips": len(clips), "noise": "a detector's", "rows": rows}, [plot(rows)])


if __name__ == "__main__":
    exit_on_error(main)
