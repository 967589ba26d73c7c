"""The figure of ``benchmarks/gpu``'s tables: bars of a step, lines over streams and over frames, all axes logarithmic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from experiment import Row
from posemoe_edge.runtime.plotting import LEFT, TRUTH

COLOURS = (LEFT, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")

Line = tuple[str, str, str, list[tuple[float, float]]]
"""Name, colour, style, points."""


def draw(path: Path, results: dict[str, Any]) -> None:
    """A panel for each table that has rows; that of the mixers has two."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bars = [row for row in results.get("step", {}).get("rows", []) if row["p50_ms"]]
    plots = list(
        panels({name: table["rows"] for name, table in results.items() if isinstance(table, dict) and "rows" in table})
    )
    heights = [1.0 + 0.26 * len(bars)] * bool(bars) + [3.4] * len(plots)
    if not heights:
        return
    figure = Figure(figsize=(9.0, sum(heights)), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes_list = list(figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0])
    if bars:
        draw_bars(axes_list.pop(0), bars)
    for axes, (title, x_label, y_label, lines) in zip(axes_list, plots, strict=True):
        for name, colour, style, points in lines:
            axes.plot(*zip(*points, strict=True), style, color=colour, label=name, marker=".", linewidth=1.5)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        ticks = sorted({x for *_, points in lines for x, _ in points})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        low, high = axes.get_ylim()
        axes.set_ylim(
            10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high))
        )  # so that at least two powers of ten have labels
        axes.yaxis.set_major_formatter(lambda value, position: f"{value:,g}")
        label(axes, title, x_label, y_label)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def draw_bars(axes: Any, rows: Sequence[Row]) -> None:
    """The median of each contestant, and a whisker up to its 99th percentile; floors are grey."""
    names = [f"{row['contestant']} ({row['precision']})" if row["on"] == "PyTorch" else row["contestant"] for row in rows]
    p50 = [row["p50_ms"] for row in rows]
    slow = [max(0.0, (row.get("p99_ms") or row["p50_ms"]) - row["p50_ms"]) for row in rows]
    for i, name in enumerate(names):
        colour = TRUTH if name.startswith("floor") else LEFT
        axes.errorbar([p50[i]], [i], xerr=[[0.0], [slow[i]]], fmt="o", color=colour, ecolor="#444444", capsize=2)
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    label(axes, "step: one person, one frame", "milliseconds: median, and up to the 99th percentile", "")


def panels(tables: dict[str, list[Row]]) -> Iterator[tuple[str, str, str, list[Line]]]:
    """Title, labels and lines of each plot; lines without a point are left out."""
    streams = tables.get("streams", [])
    lines: list[Line] = []
    for i, engine in enumerate(names := distinct_pairs(streams, "engine", "precision")):
        own = [row for row in streams if (row["engine"], row["precision"]) == engine]
        lines += line(f"{' '.join(engine)}, launch alone", COLOURS[i % len(COLOURS)], "-", own, "streams", "launch_us_each")
        lines += line(f"{' '.join(engine)}, step_batch", COLOURS[i % len(COLOURS)], "--", own, "streams", "step_batch_us_each")
    for precision in dict.fromkeys(precision for _, precision in names):
        own = [row for row in streams if row["precision"] == precision]
        lines += line(f"floor: bytes {precision}", TRUTH, "-", own, "streams", "floor_us_each")
    if lines:
        yield "streams: people in one launch", "people in one launch", "microseconds a person", lines
    mixers = tables.get("mixers", [])
    for what in dict.fromkeys(row["what"] for row in mixers):
        lines = []
        for i, name in enumerate(dict.fromkeys(row["name"] for row in mixers)):
            own = [row for row in mixers if (row["what"], row["name"]) == (what, name)]
            lines += line(f"{name}, training", COLOURS[i % len(COLOURS)], "-", own, "T", "training_us_a_frame")
            lines += line(f"{name}, forward", COLOURS[i % len(COLOURS)], "--", own, "T", "forward_us_a_frame")
        if lines:
            yield (
                f"mixers: {'bare' if what == 'mixer' else 'whole networks'}",
                "T (frames of a sequence)",
                "microseconds a frame",
                lines,
            )
    lines = []
    for colour, name, style in ((COLOURS[1], "window", "-"), (COLOURS[0], "step", "-")):
        lines += line(name, colour, style, tables.get("hummuss", []), "T", f"{name}_ms")
    if lines:
        yield "hummuss: a window lifted for each frame, or a step", "T (frames of the window)", "milliseconds a frame", lines


def line(name: str, colour: str, style: str, rows: Sequence[Row], x: str, y: str) -> list[Line]:
    """The line through two columns; an empty list if no row has both."""
    points = sorted({(row[x], row[y]) for row in rows if row.get(y)})
    return [(name, colour, style, points)] if points else []


def distinct_pairs(rows: Sequence[Row], *keys: str) -> list[tuple[str, ...]]:
    """The distinct combinations of these columns, in order."""
    return list(dict.fromkeys(tuple(row[key] for key in keys) for row in rows))


def label(axes: Any, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#EBEBEB", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
