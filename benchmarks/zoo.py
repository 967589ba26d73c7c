"""The zoo: several weights side by side, on exact keypoints and on a detector's.

After the papers' comparisons (PoseMoE's Table I, NC-RetNet's 1, HumMUSS's 1, H2OT's 3), with their metrics, but on motion
capture, and each model as it runs: streams from an empty state, windows one after the other. "flip_mpjpe_mm" uses the papers'
test-time augmentation: the mirrored person is lifted too, and the two poses are averaged. Each MPJPE has its 95 % interval by
bootstrap over clips. It is also given as a multiple of the one that it should reach (``--against``) and of the one that it
should beat (``--baseline``), with the lead in mm, paired over clips. "size" is the median size of the poses relative to the
truth, "rotation_deg" how far they are turned, "within_1" and "within_2" the percentage of the joints within one and two
standard deviations that the model gives.

Run: python benchmarks/zoo.py --data cmu_h36m17.npz [--weights NAME=FILE ...] [--against NAME] [--baseline NAME] [--split test]
     [--cameras N] [--clips N] [--device cpu] [--json FILE] [--text FILE] [--plot FILE]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from experiment import (
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
from posemoe_edge.edge.data.dataset import evaluation_sets
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.sequences import PoseSequence, mirror_sequence
from posemoe_edge.edge.evaluation import compute_metrics
from posemoe_edge.edge.intervals import paired_interval
from posemoe_edge.edge.lifting import lift_sequence
from posemoe_edge.edge.models.cost import lifter_cost
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.plotting import Bars


def measure(models: Mapping[str, Lifter], clips: Sequence[Clip], relative_to: Sequence[str], *, cameras: int = 1) -> list[Row]:
    """A row for each weights file and input, with MPJPE as a multiple of that of the weights named by ``relative_to``."""
    if unknown := [name for name in relative_to if name not in models]:
        raise UsageError(f"no weights named {', '.join(unknown)}", expected=f"one of {', '.join(models)}")
    sets = evaluation_sets(clips, cameras=cameras)
    rows: list[Row] = []
    metrics: dict[tuple[str, str], dict[str, Any]] = {}
    for name, model in models.items():
        about = lifter_cost(model.config)
        size = {key: about[key] for key in ("mode", "params", "macs_per_frame")}
        for label, sequences in (("exact", sets["clean"]), ("noisy", sets["noisy"])):
            poses = [lift_sequence(model, sequence) for sequence in sequences]
            measured = metrics[name, label] = compute_metrics(sequences, poses)
            flipped = compute_metrics(sequences, [with_flip(model, *pair) for pair in zip(sequences, poses, strict=True)])
            rows.append(
                {"weights": name, **size, "input": label, **columns(measured), "flip_mpjpe_mm": round(flipped["mpjpe_mm"], 2)}
            )
    for row in rows:
        ours = metrics[row["weights"], row["input"]]
        for name in relative_to:
            theirs = metrics[name, row["input"]]
            lead = paired_interval(theirs["mpjpe_mm_by_clip"], ours["mpjpe_mm_by_clip"], ours["frames_by_clip"])
            row |= {
                f"over {name}": round(ours["mpjpe_mm"] / theirs["mpjpe_mm"], 3),
                f"lead over {name}": str(lead),
            }
    return rows


def columns(measured: Mapping[str, Any]) -> Row:
    """The columns of a table."""
    spread, parts, sigma = measured["mpjpe_mm_interval"], measured["parts"], measured["sigma"] or {}
    return {
        **rounded_metrics(measured),
        "interval_mm": f"[{spread['low']:.1f}, {spread['high']:.1f}]",
        "size": parts["size"],
        "rotation_deg": parts["rotation_deg"],
        "within_1": sigma.get("within_1"),
        "within_2": sigma.get("within_2"),
    }


def with_flip(model: Lifter, sequence: PoseSequence, poses: F32) -> F32:
    """The poses of a sequence, averaged with those of the mirrored person."""
    mirrored = mirror(lift_sequence(model, mirror_sequence(sequence))[..., :3])
    return ((poses[..., :3] + mirrored) / 2).astype(np.float32, copy=False)


def plot(rows: Sequence[Row]) -> Bars:
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        values.setdefault(row["weights"], {})[f"{row['input']} keypoints"] = row["mpjpe_mm"]
    return Bars(values, title="Error on exact and on a detector's noisy keypoints", x_label="MPJPE (mm)", numbers=".1f")


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--against", help="the weights whose error is to be reached")
    parser.add_argument("--baseline", help="the weights whose error is to be beaten")
    parser.add_argument("--cameras", type=int, default=1, help="that film each clip")
    parser.add_argument("--text", type=Path, help="the table as plain text")
    options = parse_options(parser)
    clips = selected_clips(options)
    relative_to = [name for name in (options.against, options.baseline) if name is not None]
    rows = measure(load_lifters(options), clips, relative_to, cameras=options.cameras)
    if options.text:
        options.text.write_text(format_table(rows) + "\n")
    about = {"cameras": options.cameras, "against": options.against, "baseline": options.baseline, "clips": len(clips)}
    write_result(options, {**about, "frames": sum(map(len, clips)), "rows": rows}, plot(rows))


if __name__ == "__main__":
    exit_on_error(main)
