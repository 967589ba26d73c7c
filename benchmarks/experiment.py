"""Shared by the benchmarks on motion capture: options, weights, metrics, and a result as table, JSON and plot."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.data.mocap import Clip, load_clips
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.edge.evaluation import compute_metrics
from posemoe_edge.edge.lifting import lift_sequence
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.artefact.certificate import REFERENCE
from posemoe_edge.runtime.artefact.locate import DEFAULT_MODEL, ZOO
from posemoe_edge.runtime.errors import PoseEdgeError, UsageError
from posemoe_edge.runtime.plotting import Bars, Lines, check_available, draw_bars, draw_lines

Row = dict[str, Any]

METRICS = {"mpjpe_mm": 2, "p_mpjpe_mm": 2, "mpjve_mm": 2, "pck150": 2, "auc": 2}
"""The metrics of ``compute_metrics`` that are reported -> digits after the point."""

INPUTS = {"exact": False, "noisy": True}
"""Input keypoints -> whether they have a detector's noise."""


# Options.


def option_parser(doc: str | None, *, split: str = "test", weights: bool = True) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark on motion capture has; ``doc`` is the script's docstring."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="motion capture (.npz)")
    if weights:
        parser.add_argument(
            "--weights",
            type=name_and_path,
            action="extend",
            nargs="+",
            metavar="NAME=FILE",
            help="default: the shipped weights",
        )
        parser.add_argument("--device", default="cpu", help="device that lifts whole sequences, e.g. cuda")
    parser.add_argument("--split", default=split)
    parser.add_argument("--every", type=int, default=1, help="use every Nth clip, since neighbouring clips are similar")
    parser.add_argument("--clips", type=int, help="use the first N clips only")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser


def name_and_path(text: str) -> tuple[str, Path]:
    """Parse NAME=FILE."""
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r}: NAME=FILE is expected")
    return name, Path(path)


def exit_on_error(run: Callable[[], None]) -> None:
    """Run a benchmark. A ``PoseEdgeError`` ends it with one line instead of a traceback."""
    try:
        run()
    except PoseEdgeError as error:
        sys.exit(f"Error: {error}")


def parse_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The parsed options. Output paths that cannot be written are refused before the measurement."""
    options = parser.parse_args()
    if options.every < 1:
        parser.error(f"--every {options.every}: at least 1 is expected")
    check_outputs(parser, options)
    return options


def check_outputs(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with a usage error if the files of ``--json`` and ``--plot`` cannot be written."""
    for path in (options.json, options.plot):
        if path is not None and not path.parent.is_dir():
            parser.error(f"there is no folder {path.parent}")
    if options.plot is not None:
        check_available()


def load_lifters(options: argparse.Namespace) -> dict[str, Lifter]:
    """The networks of ``--weights``, by name."""
    weights = options.weights or [(DEFAULT_MODEL, ZOO / DEFAULT_MODEL / REFERENCE)]
    if len({name for name, _ in weights}) < len(weights):
        raise UsageError("two weights have the same name", expected="different names")
    models = {name: load_checkpoint(path)[0].to(options.device) for name, path in weights}
    if seq2frame := [name for name, model in models.items() if model.latency_frames]:
        raise UsageError(
            f"{', '.join(seq2frame)} gives the pose of one frame of a window only", expected="lifters of every frame"
        )
    return models


def selected_clips(options: argparse.Namespace, split: str | None = None) -> list[Clip]:
    """The clips of ``--split`` that ``--every`` and ``--clips`` select, or all clips of another split."""
    clips = load_clips(options.data, split or options.split)
    clips = clips if split else clips[:: options.every][: options.clips]
    if not clips:
        raise UsageError(f"no clips in {options.data}", expected=f"some of the {split or options.split} split")
    return clips


# Measuring.


def lift_and_measure(
    model: Lifter, sequences: Sequence[PoseSequence], lift: Callable[[Lifter, PoseSequence], F32] = lift_sequence
) -> dict[str, Any]:
    """The metrics of a model on sequences."""
    return compute_metrics(sequences, [lift(model, sequence) for sequence in sequences])


def rounded_metrics(metrics: Mapping[str, Any]) -> Row:
    """The reported columns of ``compute_metrics``, rounded."""
    return {key: None if metrics[key] is None else round(metrics[key], digits) for key, digits in METRICS.items()}


def part_of(sequence: PoseSequence, start: int, end: int) -> PoseSequence:
    """The frames from start to end; all of them are valid."""
    return replace(
        sequence,
        keypoints=sequence.keypoints[start:end],
        pose_m=sequence.pose_m[start:end],
        dt_s=sequence.dt_s[start:end],
        intrinsics=None if sequence.intrinsics is None else sequence.intrinsics[start:end],
    )


def exact_and_noisy(model: Lifter, clips: Sequence[Clip]) -> list[Row]:
    """One row on exact keypoints and one on a detector's."""
    rows = []
    for name, noisy in INPUTS.items():
        metrics = lift_and_measure(model, evaluation_sequences(clips, noisy=noisy))
        rows.append({"input": name, **rounded_metrics(metrics)})
    return rows


def interleaved_seconds(contestants: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 2) -> dict[str, float]:
    """Median seconds of each. They run in turn, every other round reversed, so that a busy machine disturbs all equally."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for i in range(warm_up + rounds):
        order = list(contestants.items())
        for name, run in order if i % 2 else order[::-1]:
            began = time.perf_counter()
            run()
            if i >= warm_up:
                seconds[name].append(time.perf_counter() - began)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def run_on_exact_keypoints(
    doc: str | None,
    measure: Callable[[Mapping[str, Lifter], Sequence[PoseSequence]], list[Row]],
    plots: Callable[[Sequence[Row]], Sequence[Lines]],
    *,
    columns: int,
) -> None:
    """The main function of a benchmark that degrades exact keypoints; its plots stand in so many columns."""
    options = parse_options(option_parser(doc))
    clips = selected_clips(options)
    rows = measure(load_lifters(options), evaluation_sequences(clips, noisy=False))
    write_result(options, {"clips": len(clips), "frames": sum(map(len, clips)), "rows": rows}, plots(rows), columns=columns)


# Results.


def format_table(rows: Sequence[Row]) -> str:
    """Rows as plain text under their keys: text left-aligned, numbers right-aligned."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    digits = [max(_digits(row.get(key)) for row in rows) for key in keys]
    cells = [[_cell(row.get(key), most) for key, most in zip(keys, digits, strict=True)] for row in rows]
    widths = [max(len(key), *(len(line[i]) for line in cells)) for i, key in enumerate(keys)]
    left = [any(isinstance(row.get(key), str) for row in rows) for key in keys]
    lines = []
    for line in (keys, *cells):
        columns = zip(line, widths, left, strict=True)
        lines.append("  ".join(f"{text:{'<' if to_left else '>'}{width}}" for text, width, to_left in columns))
    return "\n".join(line.rstrip() for line in lines)


def write_result(
    options: argparse.Namespace, result: dict[str, Any], plot: Sequence[Lines] | Bars, *, columns: int = 1
) -> None:
    """Write the JSON and the plot that the options name, and print the result's rows and notes."""
    result = {"data": options.data.name, "split": options.split, "every": options.every, **result}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, allow_nan=False))
    if options.plot:
        if isinstance(plot, Bars):
            draw_bars(options.plot, plot)
        else:
            draw_lines(options.plot, plot, columns=columns)
    print(format_table(result["rows"]))
    for note in result.get("notes", []):
        print(f"Note: {note}")


def _digits(value: object) -> int:
    """Digits after the point of a rounded number."""
    return len(str(value).partition(".")[2]) if isinstance(value, float) else 0


def _cell(value: object, digits: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)
