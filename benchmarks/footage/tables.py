"""The tables of ``benchmarks/real.py`` on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from .scoring import Scores
from .spread import block_means, interval_of, to_json

Row = dict[str, Any]

COUNTS = ("flips", "missed", "ids", "others")
MEANS = ("mpjpe", "p_mpjpe", "absolute", "acceleration", "acceleration_error")
TITLES = {
    "mpjpe": "MPJPE",
    "p_mpjpe": "P-MPJPE",
    "absolute": "absolute",
    "acceleration": "accel.",
    "acceleration_error": "accel. error",
    "flips": "flips",
    "missed": "missed",
    "ids": "ids",
    "others": "others",
}


def row_of(system: Mapping[str, str], by_camera: Mapping[str, Scores]) -> Row:
    """A row: what was run, its scores by camera, and over all cameras their mean (``ids``: the most; other counts: the sum).

    Errors have their mean in each camera and block of time, and their 95 % interval.
    """
    rounded = {
        camera: {name: _rounded(getattr(scores, name)) for name in (*MEANS, *COUNTS, "frames")}
        for camera, scores in by_camera.items()
    }
    overall: Row = {}
    for name in MEANS:
        values = [getattr(scores, name) for scores in by_camera.values()]
        known = [value for value in values if value is not None]
        overall[name] = _rounded(sum(known) / len(known)) if known and len(known) == len(values) else None
    for name in COUNTS:
        values = [getattr(scores, name) for scores in by_camera.values()]
        overall[name] = max(values) if name == "ids" else sum(values)
    shared = [name for name in MEANS if by_camera and all(name in scores.by_frame for scores in by_camera.values())]
    blocks = {name: to_json(block_means({c: s.by_frame[name] for c, s in by_camera.items()})) for name in shared}
    row: Row = {**system, **overall, "cameras": rounded, "blocks": blocks}
    row["intervals"] = {name: found.to_json() for name in shared if (found := interval_of(row, name)) is not None}
    return row


def print_accuracy(console: Console, rows: Sequence[Row]) -> None:
    """All systems: means over the cameras, and MPJPE in each."""
    cameras = list(dict.fromkeys(camera for row in rows for camera in row["cameras"]))
    table = Table(title="Limbs of one person, in mm and mm a frame squared, mean over the cameras", title_justify="left")
    for title in ("front end", "weights", "camera"):
        table.add_column(title, no_wrap=True)
    for title in (*TITLES.values(), *cameras):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        cells = [_with_interval(row, name) for name in TITLES]
        cells += [_cell(row["cameras"].get(camera, {}).get("mpjpe")) for camera in cameras]
        table.add_row(row["front_end"], row["weights"], row["camera"], *cells)
    console.print(table)


def print_rows(console: Console, title: str, rows: Sequence[Row]) -> None:
    """Any rows under their keys."""
    table = Table(title=title, title_justify="left")
    keys = list(dict.fromkeys(key for row in rows for key in row))
    for key in keys:
        text = all(isinstance(row.get(key), str) for row in rows)
        table.add_column(key.replace("_", " "), justify="left" if text else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(row.get(key)) for key in keys))
    console.print(table)


def markdown(rows: Sequence[Row]) -> str:
    """The accuracy rows as a table for a page of the documentation."""
    cameras = list(dict.fromkeys(camera for row in rows for camera in row["cameras"]))
    heads = ["front end", "weights", "camera", *TITLES.values(), *cameras]
    lines = ["| " + " | ".join(heads) + " |", "| --- | --- | --- |" + " ---: |" * (len(heads) - 3)]
    for row in rows:
        cells = [row["front_end"], row["weights"], row["camera"], *(_with_interval(row, name) for name in TITLES)]
        cells += [_cell(row["cameras"].get(camera, {}).get("mpjpe")) for camera in cameras]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _rounded(value: float | None) -> float | int | None:
    return round(value, 1) if isinstance(value, float) else value


def _with_interval(row: Row, name: str) -> str:
    found = row.get("intervals", {}).get(name)
    return _cell(row[name]) + (f" [{found['low']:.0f}, {found['high']:.0f}]" if found else "")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
