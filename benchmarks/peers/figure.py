"""The figure of ``benchmarks/peers``: how many times our step each contestant takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiment import Row
from posemoe_edge.runtime.plotting.figure import DPI, INK, SERIES, label_axes, new_figure


def draw(path: Path, rows: Sequence[Row], *, title: str) -> None:
    """A dot at the median of the ratios, and a line from their 10th to their 90th percentile, on a logarithmic axis."""
    rows = sorted((row for row in rows if row["over ours"]), key=lambda row: float(row["over ours"]))
    figure = new_figure(9.0, 1.4 + 0.27 * len(rows))
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    for engine in engines:
        own = [i for i, row in enumerate(rows) if row["engine"] == engine]
        middle = [rows[i]["over ours"] for i in own]
        low, high = ([abs(rows[i][key] - m) for i, m in zip(own, middle, strict=True)] for key in ("p10", "p90"))
        colour = SERIES[engines.index(engine) % len(SERIES)]
        axes.errorbar(middle, own, xerr=[low, high], fmt="o", color=colour, capsize=2, label=engine)
    for i, row in enumerate(rows):
        style = {"va": "center", "fontsize": 8, "color": INK, "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
        axes.annotate(f"{row['over ours']:,.3g}", (row["p90"], i), (6, 0), textcoords="offset points", **style)
    axes.set_yticks(range(len(rows)), [row["contestant"] for row in rows], fontsize=8, color=INK)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:,g}")
    axes.margins(x=0.12)
    axes.axvline(1.0, color=INK, linewidth=1.0)
    axes.tick_params(axis="x", labelsize=8, colors=INK)
    axes.grid(axis="x", color="#EBEBEB", linewidth=0.8)
    axes.set_axisbelow(True)
    label_axes(axes, title, "times our step (median of the rounds, 10th to 90th percentile)")
    axes.legend(loc="upper right", frameon=False, fontsize=8, labelcolor=INK)
    figure.savefig(path, dpi=DPI)
