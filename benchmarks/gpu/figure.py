"""The figure of ``benchmarks/gpu``'s tables: medians of a step, lines over streams and over frames, all axes logarithmic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from experiment import Row
from posemoe_edge.runtime.plotting import LEFT, TRUTH
from posemoe_edge.runtime.plotting.figure import (
    DARK_INK,
    INK,
    MARKERS,
    SERIES,
    SMALL_PT,
    WIDTH_IN,
    add_key,
    label_axes,
    lay_out,
    new_figure,
    plain_number,
    save,
)

Line = tuple[str, int | None, str, list[tuple[float, float]]]
"""Name, number of the series (None for a floor), dashes, points."""


def draw(path: Path, results: dict[str, Any]) -> None:
    """A panel for each table that has rows; that of the mixers has two."""
    bars = [row for row in results.get("step", {}).get("rows", []) if row["p50_ms"]]
    plots = list(
        panels({name: table["rows"] for name, table in results.items() if isinstance(table, dict) and "rows" in table})
    )
    heights = [1.0 + 0.26 * len(bars)] * bool(bars) + [3.4] * len(plots)
    if not heights:
        return
    figure = new_figure(WIDTH_IN, sum(heights))
    lay_out(figure)
    axes_list = list(figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0])
    if bars:
        draw_bars(axes_list.pop(0), bars)
    for axes, (title, x_label, y_label, lines) in zip(axes_list, plots, strict=True):
        for name, number, dashes, points in lines:
            colour = TRUTH if number is None else SERIES[number % len(SERIES)]
            marker = "None" if number is None else MARKERS[number % len(MARKERS)]
            face = colour if dashes == "-" else "white"
            style = {"color": colour, "marker": marker, "markerfacecolor": face, "markersize": 5, "linewidth": 1.5}
            axes.plot(*zip(*points, strict=True), dashes, label=name, **style)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        ticks = sorted({x for *_, points in lines for x, _ in points})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        low, high = axes.get_ylim()
        axes.set_ylim(
            10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high))
        )  # so that at least two powers of ten have labels
        axes.yaxis.set_major_formatter(lambda value, position: plain_number(value))
        label_axes(axes, title, x_label, y_label)
        add_key(axes, WIDTH_IN - 1.0)
    save(figure, path)


def draw_bars(axes: Any, rows: Sequence[Row]) -> None:
    """The median of each contestant, and a whisker up to its 99th percentile; floors are grey."""
    names = [f"{row['contestant']} ({row['precision']})" if row["on"] == "PyTorch" else row["contestant"] for row in rows]
    p50 = [row["p50_ms"] for row in rows]
    slow = [max(0.0, (row.get("p99_ms") or row["p50_ms"]) - row["p50_ms"]) for row in rows]
    for i, name in enumerate(names):
        colour = TRUTH if name.startswith("floor") else LEFT
        axes.errorbar([p50[i]], [i], xerr=[[0.0], [slow[i]]], fmt="o", color=colour, ecolor=INK, capsize=2)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, position: plain_number(value))
    label_axes(axes, "One step: one person, one frame", "time: median, and up to the 99th percentile (ms)", grid="x")
    axes.set_yticks(range(len(rows)), names, fontsize=SMALL_PT, color=DARK_INK)


def panels(tables: dict[str, list[Row]]) -> Iterator[tuple[str, str, str, list[Line]]]:
    """Title, labels and lines of each plot; lines without a point are left out."""
    streams = tables.get("streams", [])
    lines: list[Line] = []
    for i, engine in enumerate(names := distinct_pairs(streams, "engine", "precision")):
        own = [row for row in streams if (row["engine"], row["precision"]) == engine]
        lines += line(f"{' '.join(engine)}, launch alone", i, "-", own, "streams", "launch_us_each")
        lines += line(f"{' '.join(engine)}, step_batch", i, "--", own, "streams", "step_batch_us_each")
    for precision in dict.fromkeys(precision for _, precision in names):
        own = [row for row in streams if row["precision"] == precision]
        lines += line(f"floor: bytes {precision}", None, "-", own, "streams", "floor_us_each")
    if lines:
        yield "Streams that share a launch", "people in one launch (number)", "time for a person (µs)", lines
    mixers = tables.get("mixers", [])
    for what in dict.fromkeys(row["what"] for row in mixers):
        lines = []
        for i, name in enumerate(dict.fromkeys(row["name"] for row in mixers)):
            own = [row for row in mixers if (row["what"], row["name"]) == (what, name)]
            lines += line(f"{name}, training", i, "-", own, "T", "training_us_a_frame")
            lines += line(f"{name}, forward", i, "--", own, "T", "forward_us_a_frame")
        if lines:
            yield (
                f"Mixers over time: {'alone' if what == 'mixer' else 'whole networks'}",
                "length of a sequence (frames)",
                "time for a frame (µs)",
                lines,
            )
    lines = []
    for number, name, dashes in ((1, "window", "-"), (0, "step", "-")):
        lines += line(name, number, dashes, tables.get("hummuss", []), "T", f"{name}_ms")
    if lines:
        yield "A window lifted anew for each frame, or a step", "length of the window (frames)", "time for a frame (ms)", lines


def line(name: str, number: int | None, dashes: str, rows: Sequence[Row], x: str, y: str) -> list[Line]:
    """The line through two columns; an empty list if no row has both."""
    points = sorted({(row[x], row[y]) for row in rows if row.get(y)})
    return [(name, number, dashes, points)] if points else []


def distinct_pairs(rows: Sequence[Row], *keys: str) -> list[tuple[str, ...]]:
    """The distinct combinations of these columns, in order."""
    return list(dict.fromkeys(tuple(row[key] for key in keys) for row in rows))
