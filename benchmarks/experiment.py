"""What the benchmarks on motion capture share: options, weights, what is measured, the table, JSON and picture of a result."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.data.mocap import Clip, load_clips
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.edge.evaluation import compute_metrics
from posemoe_edge.edge.lifting import lift_sequence
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.runtime.artefact.certificate import REFERENCE
from posemoe_edge.runtime.artefact.locate import DEFAULT_MODEL, ZOO
from posemoe_edge.runtime.errors import PoseEdgeError, UsageError
from posemoe_edge.runtime.plotting import LEFT, RIGHT, TRUTH, Lines, check_available, draw_lines

Floats = NDArray[np.float32]
Row = dict[str, Any]

MEASURES = {"mpjpe_mm": 2, "p_mpjpe_mm": 2, "mpjve_mm": 2, "pck150": 2, "auc": 2}
"""The metrics of ``compute_metrics`` that are reported, with their number of digits."""

INPUTS = {"exact": False, "noisy": True}
"""What is lifted -> whether it has a detector's noise."""


# Options, and what they name.


def parser(doc: str | None, *, split: str = "test", weights: bool = True) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--data", type=Path, required=True, help="motion capture (.npz)")
    if weights:
        made.add_argument(
            "--weights", type=named, action="extend", nargs="+", metavar="NAME=FILE", help="default: the shipped ones"
        )
        made.add_argument("--device", default="cpu", help="where whole sequences are lifted, e.g. cuda")
    made.add_argument("--split", default=split)
    made.add_argument("--every", type=int, default=1, help="one clip of so many: neighbours are much alike")
    made.add_argument("--clips", type=int, help="the first so many alone")
    made.add_argument("--json", type=Path)
    made.add_argument("--plot", type=Path)
    return made


def named(text: str) -> tuple[str, Path]:
    """NAME=FILE"""
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r}: NAME=FILE is expected")
    return name, Path(path)


def told(run: Callable[[], None]) -> None:
    """Run a benchmark; what it cannot do is said in a line."""
    try:
        run()
    except PoseEdgeError as error:
        sys.exit(f"Error: {error}")


def parsed(made: argparse.ArgumentParser) -> argparse.Namespace:
    """The options given. That nothing can be written is found now, and not after an hour's work."""
    options = made.parse_args()
    if options.every < 1:
        made.error(f"--every {options.every}: at least 1 is expected")
    check_outputs(made, options)
    return options


def check_outputs(made: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Whether what ``--json`` and ``--plot`` name can be written."""
    for path in (options.json, options.plot):
        if path is not None and not path.parent.is_dir():
            made.error(f"there is no folder {path.parent}")
    if options.plot is not None:
        check_available()


def lifters(options: argparse.Namespace) -> dict[str, Lifter]:
    """The networks of ``--weights``, by name."""
    given = options.weights or [(DEFAULT_MODEL, ZOO / DEFAULT_MODEL / REFERENCE)]
    if len({name for name, _ in given}) < len(given):
        raise UsageError("two weights of one name", expected="names that differ")
    models = {name: load_checkpoint(path)[0].to(options.device) for name, path in given}
    if odd := [name for name, model in models.items() if model.latency_frames]:
        raise UsageError(f"{', '.join(odd)} answers for one frame of a window", expected="lifters of every frame")
    return models


def clips_of(options: argparse.Namespace, split: str | None = None) -> list[Clip]:
    """The clips of ``--split`` that were asked for, or all of another one."""
    clips = load_clips(options.data, split or options.split)
    clips = clips if split else clips[:: options.every][: options.clips]
    if not clips:
        raise UsageError(f"no clips in {options.data}", expected=f"some of the {split or options.split} split")
    return clips


# What is measured.


def measured(
    model: Lifter, sequences: Sequence[PoseSequence], lift: Callable[[Lifter, PoseSequence], Floats] = lift_sequence
) -> dict[str, Any]:
    """The metrics of a model on pose sequences."""
    return compute_metrics(sequences, [lift(model, sequence) for sequence in sequences])


def measures(made: Mapping[str, Any]) -> Row:
    """The columns of a result of ``compute_metrics`` that are reported."""
    return {key: None if made[key] is None else round(made[key], digits) for key, digits in MEASURES.items()}


def exact_and_noisy(model: Lifter, clips: Sequence[Clip]) -> list[Row]:
    """A row on exact keypoints, and one on a detector's."""
    return [
        {"input": name, **measures(measured(model, evaluation_sequences(clips, noisy=noisy)))} for name, noisy in INPUTS.items()
    ]


def interleaved(contestants: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 2) -> dict[str, float]:
    """Median seconds of each, all in turn and every other time backwards: a noisy machine is noisy for all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for i in range(warm_up + rounds):
        order = list(contestants.items())
        for name, run in order if i % 2 else order[::-1]:
            began = time.perf_counter()
            run()
            if i >= warm_up:
                seconds[name].append(time.perf_counter() - began)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def main_on_exact(
    doc: str | None,
    measure: Callable[[Mapping[str, Lifter], Sequence[PoseSequence]], list[Row]],
    pictures: Callable[[Sequence[Row]], Sequence[Lines]],
) -> None:
    """The whole of a benchmark that spoils exact keypoints in its own way."""
    options = parsed(parser(doc))
    clips = clips_of(options)
    rows = measure(lifters(options), evaluation_sequences(clips, noisy=False))
    finish(options, {"clips": len(clips), "frames": sum(map(len, clips)), "rows": rows}, pictures(rows))


# The result.


@dataclass(frozen=True)
class Bars:
    """Numbers beside names, where there is no axis to draw a line over.

    Args:
        values: name -> series -> number.
        title, x_label: texts, the label with its unit.
    """

    values: Mapping[str, Mapping[str, float]]
    title: str
    x_label: str


def table(rows: Sequence[Row]) -> str:
    """Rows as plain text under their keys; text to the left, numbers to the right."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    digits = [max(_digits(row.get(key)) for row in rows) for key in keys]
    cells = [[_cell(row.get(key), most) for key, most in zip(keys, digits, strict=True)] for row in rows]
    widths = [max(len(key), *(len(line[i]) for line in cells)) for i, key in enumerate(keys)]
    left = [any(isinstance(row.get(key), str) for row in rows) for key in keys]
    lines = []
    for line in (keys, *cells):
        placed = zip(line, widths, left, strict=True)
        lines.append("  ".join(f"{text:{'<' if to_left else '>'}{width}}" for text, width, to_left in placed))
    return "\n".join(line.rstrip() for line in lines)


def finish(options: argparse.Namespace, result: dict[str, Any], picture: Sequence[Lines] | Bars) -> None:
    """Write what was asked for, and print a result's rows and notes."""
    result = {"data": options.data.name, "split": options.split, "every": options.every, **result}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, allow_nan=False))
    if options.plot:
        if isinstance(picture, Bars):
            _draw_bars(options.plot, picture)
        else:
            draw_lines(options.plot, picture)
    print(table(result["rows"]))
    for note in result.get("notes", []):
        print(f"Note: {note}")


def _digits(value: object) -> int:
    """After the point, as it was rounded."""
    return len(str(value).partition(".")[2]) if isinstance(value, float) else 0


def _cell(value: object, digits: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _draw_bars(path: Path, bars: Bars) -> None:
    """Bars lying below each other, those of one name together."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    series = list(dict.fromkeys(name for values in bars.values.values() for name in values))
    figure = Figure(figsize=(9.0, 1.2 + 0.3 * len(series) * len(bars.values)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places, height = np.arange(len(bars.values)), 0.8 / len(series)
    for i, name in enumerate(series):
        lengths = [values.get(name, np.nan) for values in bars.values.values()]
        colour = (LEFT, RIGHT, TRUTH)[i % 3]
        drawn = axes.barh(places + (i - (len(series) - 1) / 2) * height, lengths, 0.92 * height, label=name, color=colour)
        axes.bar_label(drawn, fmt="%.1f", padding=3, fontsize=8)
    axes.set_yticks(places, list(bars.values), fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_title(bars.title, fontsize=10, loc="left")
    axes.set_xlabel(bars.x_label, fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(series) > 1:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=8, frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
