"""Curves over a common axis, usually time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from .figure import DARK_INK, DPI, INK, SERIES, TRUTH, label_axes, new_figure


@dataclass(frozen=True, eq=False)
class Lines:
    """A plot of curves over a common axis.

    Args:
        x: (N,) the common axis.
        y: name of each curve -> (N,) values; NaN leaves a gap.
        title, x_label, y_label: texts, the labels with their units.
        limit: draws a dashed line at this value, which the key calls ``limit_label``.
        from_zero: the y axis begins at 0: for distances, whose size matters.
        log: the y axis is logarithmic: for values that differ by powers of ten.
        dashed: names of curves that are drawn behind the others, grey and dashed, for comparison.
        key: names the colours of all curves; without it only the limit and the dashed curves are named, e.g. if a table names
            the others.
    """

    x: ArrayLike
    y: Mapping[str, ArrayLike]
    title: str
    x_label: str = "time (s)"
    y_label: str = ""
    limit: float | None = None
    limit_label: str = "limit"
    from_zero: bool = False
    log: bool = False
    dashed: Sequence[str] = ()
    key: bool = True


def draw_lines(
    path: str | Path | BinaryIO,
    lines: Lines | Sequence[Lines],
    *,
    heading: str | None = None,
    note: str | None = None,
    table: Sequence[Sequence[str]] = (),
) -> None:
    """Write one plot, or several below each other.

    Args:
        path: the file to write; an open file gets a PNG.
        heading, note: two texts above the plots, the first in bold.
        table: rows of cells below the texts. The first row names the columns; each other row is named by its first cell, in
            the colour of the curve of that name.
    """
    plots = [lines] if isinstance(lines, Lines) else list(lines)
    top_in = 0.0  # inches from the figure's top to the next element
    texts: list[tuple[float, str, dict[str, Any]]] = []
    for text, size, style in (
        (heading, 0.32, {"fontsize": 12, "weight": "bold"}),
        (note, 0.22, {"fontsize": 9, "color": INK}),
    ):
        if text:
            texts.append((top_in + 0.14, text, style))
            top_in += size
    table_top_in = top_in + 0.24
    if table:
        top_in += 0.22 * len(table) + 0.24
    height_in = 3.0 * len(plots) + top_in + (0.1 if top_in else 0.0)
    figure = new_figure(9.0, height_in)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 3.0 * len(plots) / height_in))
    for text_top_in, text, style in texts:
        figure.text(0.02, 1 - text_top_in / height_in, text, va="top", **{"color": DARK_INK, **style})
    _draw_table(figure, table, top=1 - table_top_in / height_in, row=0.22 / height_in)
    for i, plot in enumerate(plots):
        draw_on_axes(figure.add_subplot(len(plots), 1, i + 1), plot)
    figure.savefig(path, dpi=DPI, format=None if isinstance(path, (str, Path)) else "png")


def draw_on_axes(axes: Any, plot: Lines) -> None:
    """Draw one plot on Matplotlib axes. Its key stands above the axes, where it covers no curve."""
    x = np.asarray(plot.x, np.float64)
    for i, (name, y) in enumerate(plot.y.items()):
        style: dict[str, Any] = {"color": SERIES[i % len(SERIES)], "linewidth": 1.5}
        if name in plot.dashed:
            style = {"color": TRUTH, "linewidth": 3.0, "linestyle": (0, (2, 1)), "zorder": 1}
        label = name if plot.key or name in plot.dashed else "_"  # Matplotlib leaves "_" out of the key
        axes.plot(x, np.asarray(y, np.float64), label=label, **style)
    if plot.limit is not None:
        axes.axhline(plot.limit, color=INK, linewidth=1.0, linestyle=(0, (5, 4)), label=plot.limit_label)
    label_axes(axes, plot.title, plot.x_label)
    axes.set_ylabel(plot.y_label, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.grid(color="#EBEBEB", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0)
    if plot.log:
        _set_log_scale(axes)
    if plot.from_zero:
        axes.set_ylim(bottom=0)
    if len(plot.y) + (plot.limit is not None) > 1:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=8, frameon=False, fontsize=8, labelcolor=INK)


def _set_log_scale(axes: Any) -> None:
    """A logarithmic y axis of whole decades, so that at least two powers of ten are labelled."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high)))
    axes.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
    axes.yaxis.set_minor_formatter("")


def _draw_table(figure: Any, table: Sequence[Sequence[str]], *, top: float, row: float) -> None:
    """Text cells in columns as wide as their content; heights in fractions of the figure."""
    if not table:
        return
    widths = [max(map(len, column)) + 3 for column in zip(*table, strict=True)]
    starts = np.cumsum([0, *widths])
    for i, cells in enumerate(table):
        for j, cell in enumerate(cells):
            names_row = i > 0 and j == 0
            colour = SERIES[(i - 1) % len(SERIES)] if names_row else DARK_INK if i else INK
            x = 0.02 + min(0.96 * starts[j] / starts[-1], 0.0095 * starts[j])  # narrow tables do not fill the whole width
            figure.text(x, top - i * row, cell, fontsize=9, va="top", color=colour, weight="bold" if names_row else "normal")
