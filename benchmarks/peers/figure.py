"""The figure of ``benchmarks/peers``: how many times our step each contestant takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiment import Row
from posemoe_edge.runtime.plotting.figure import (
    DARK_INK,
    INK,
    MARKERS,
    SERIES,
    SMALL_PT,
    TEXT_PT,
    WIDTH_IN,
    add_key,
    label_axes,
    lay_out,
    new_figure,
    plain_number,
    save,
)

TITLE = "One new frame of one person, on one processor thread"


def draw(path: Path, rows: Sequence[Row], *, title: str = TITLE) -> None:
    """A dot at the median of the ratios, and a line from their 10th to their 90th percentile, on a logarithmic axis."""
    rows = sorted((row for row in rows if row["over ours"]), key=lambda row: float(row["over ours"]))
    figure = new_figure(WIDTH_IN, 1.3 + 0.215 * len(rows))
    lay_out(figure)
    axes = figure.add_subplot()
    for number, engine in enumerate(dict.fromkeys(row["engine"] for row in rows)):
        own = [i for i, row in enumerate(rows) if row["engine"] == engine]
        middle = [rows[i]["over ours"] for i in own]
        low, high = ([abs(rows[i][key] - m) for i, m in zip(own, middle, strict=True)] for key in ("p10", "p90"))
        style = {"color": SERIES[number % len(SERIES)], "marker": MARKERS[number % len(MARKERS)], "linestyle": "none"}
        axes.errorbar(middle, own, xerr=[low, high], capsize=2, markersize=5.5, label=engine, **style)
    for i, row in enumerate(rows):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        at = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "bbox": box}
        axes.annotate(f"{row['over ours']:,.3g}", (row["p90"], i), fontsize=SMALL_PT, color=INK, **at)
    axes.axvline(1.0, color=INK, linewidth=1.0)
    label_axes(axes, title, "median and 10th to 90th percentile (times our step)", grid="x")
    axes.set_yticks(range(len(rows)), [row["contestant"] for row in rows], fontsize=TEXT_PT, color=DARK_INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, place: plain_number(value))
    axes.tick_params(axis="x", which="minor", length=0)
    axes.margins(x=0.12)
    add_key(axes, 0.65 * WIDTH_IN)
    save(figure, path)
