"""The zoo: several weights side by side, on exact keypoints and on a detector's.

After the papers' comparisons (PoseMoE's Table I, NC-RetNet's 1, HumMUSS's 1, H2OT's 3), with their metrics, but on motion
capture, and each model as it runs: streams from an empty state, windows one after the other. "flip_mpjpe_mm" uses the papers'
test-time augmentation: the mirrored person is lifted too, and the two poses are averaged. Each MPJPE is also given as a
multiple of the one that it should reach (``--against``) and of the one that it should beat (``--baseline``).

Run: python benchmarks/zoo.py --data cmu_h36m17.npz [--weights NAME=FILE ...] [--against NAME] [--baseline NAME] [--split test]
     [--clips N] [--device cpu] [--json FILE] [--text FILE] [--plot FILE]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from experiment import (
    INPUTS,
    Bars,
    Row,
    exit_on_error,
    format_table,
    load_lifters,
    option_parser,
    parse_options,
    rounded_metrics,
    selected_clips,
    write_result,
)
from posemoe_edge.edge.data.augment import mirror
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.sequences import evaluation_sequences
from posemoe_edge.edge.evaluation import compute_metrics
from posemoe_edge.edge.lifting import lift_sequence
from posemoe_edge.edge.models.cost import lifter_cost
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.runtime.errors import UsageError


def measure(models: Mapping[str, Lifter], clips: Sequence[Clip], relative_to: Sequence[str]) -> list[Row]:
    """A row for each weights file and input, with MPJPE as a multiple of that of the weights named by ``relative_to``."""
    if unknown := [name for name in relative_to if name not in models]:
        raise UsageError(f"no weights named {', '.join(unknown)}", expected=f"one of {', '.join(models)}")
    rows: list[Row] = []
    for name, model in models.items():
        about = lifter_cost(model.config)
        size = {key: about[key] for key in ("mode", "params", "macs_per_frame")}
        rows += [{"weights": name, **size, **row} for row in with_flips(model, clips)]
    errors = {(row["weights"], row["input"]): row["mpjpe_mm"] for row in rows}
    for row in rows:
        row |= {f"over {name}": round(row["mpjpe_mm"] / errors[name, row["input"]], 3) for name in relative_to}
    return rows


def with_flips(model: Lifter, clips: Sequence[Clip]) -> list[Row]:
    """One row on exact keypoints and one on a detector's, each also with MPJPE averaged with the mirrored person's pose."""
    rows: list[Row] = []
    for name, noisy in INPUTS.items():
        sequences = evaluation_sequences(clips, noisy=noisy)
        poses = [lift_sequence(model, sequence) for sequence in sequences]
        mirrored = [
            mirror(lift_sequence(model, replace(sequence, keypoints=mirror(sequence.keypoints)))) for sequence in sequences
        ]
        both = compute_metrics(
            sequences,
            [((pose + other) / 2).astype(np.float32, copy=False) for pose, other in zip(poses, mirrored, strict=True)],
        )
        rows.append(
            {"input": name, **rounded_metrics(compute_metrics(sequences, poses)), "flip_mpjpe_mm": round(both["mpjpe_mm"], 2)}
        )
    return rows


def plot(rows: Sequence[Row]) -> Bars:
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        values.setdefault(row["weights"], {})[row["input"]] = row["mpjpe_mm"]
    return Bars(values, title="error on exact keypoints and on a detector's", x_label="MPJPE (mm)")


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--against", help="the weights whose error is to be reached")
    parser.add_argument("--baseline", help="the weights whose error is to be beaten")
    parser.add_argument("--text", type=Path, help="the table as plain text")
    options = parse_options(parser)
    clips = selected_clips(options)
    relative_to = [name for name in (options.against, options.baseline) if name is not None]
    rows = measure(load_lifters(options), clips, relative_to)
    if options.text:
        options.text.write_text(format_table(rows) + "\n")
    about = {"against": options.against, "baseline": options.baseline, "clips": len(clips), "frames": sum(map(len, clips))}
    write_result(options, {**about, "rows": rows}, plot(rows))


if __name__ == "__main__":
    exit_on_error(main)
