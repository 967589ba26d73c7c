"""Curves over a common axis, usually time."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from .figure import (
    DARK_INK,
    HEADING_PT,
    INK,
    SMALL_PT,
    SPAN,
    TRUTH,
    WIDTH_IN,
    Verdict,
    add_figure_key,
    add_key,
    key_rows,
    label_axes,
    lay_out,
    new_figure,
    plain_number,
    save,
    series_style,
)
from .table import Cell, draw_table

ROW_IN, KEY_ROW_IN = 2.65, 0.2  # the height of a row of plots with one row of names, and of a further one
NOTE_IN, NOTE_CHARACTERS = 0.19, 104  # the height of a line of a note, and how many characters it holds
LEAST_TICKS = 3  # of a logarithmic axis that shows less than two decades
MARGINS_IN = 0.75  # of a plot, left and right of its curves
LIMIT_DASHES = ((0, (5, 4)), (0, (1, 2)), (0, (8, 3, 1, 3)))


@dataclass(frozen=True, eq=False)
class Lines:
    """A plot of curves over a common axis.

    Args:
        x: (N,) the common axis.
        y: name of each curve -> (N,) values; NaN leaves a gap.
        title, x_label, y_label: texts, the labels with their units in brackets.
        limits: name -> a value at which a thin dashed line is drawn.
        spans: text -> the part of x that is shaded and has this text, e.g. a gap.
        points: name -> (x, y) of a point that is marked by a star, e.g. the best one.
        from_zero: the y axis begins at 0: for distances, whose size matters.
        log: the y axis is logarithmic: for values that differ by powers of ten.
        y_range: the ends of the y axis; None to choose them.
        measured: each value is a measurement, and gets a marker. No line leads to one that has no neighbour.
        joined: lines join measurements that are neighbours.
        behind: names of curves that are drawn behind the others, grey and dashed, for comparison.
        like: name of a curve -> the curve whose colour and marker it has; it is dashed, with hollow markers.
        x_ticks: place -> text of the x axis's ticks; None to choose them.
        key: names all curves; without it only limits, points and curves behind are named, e.g. if a table names the others.
    """

    x: ArrayLike
    y: Mapping[str, ArrayLike]
    title: str
    x_label: str = "time (s)"
    y_label: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    spans: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    points: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    from_zero: bool = False
    log: bool = False
    y_range: tuple[float, float] | None = None
    measured: bool = False
    joined: bool = True
    behind: Sequence[str] = ()
    like: Mapping[str, str] = field(default_factory=dict)
    x_ticks: Mapping[float, str] | None = None
    key: bool = True


def draw_lines(
    path: str | Path | BinaryIO,
    lines: Lines | Sequence[Lines],
    *,
    heading: str | None = None,
    verdict: Verdict | None = None,
    note: str | None = None,
    table: Sequence[Sequence[Cell]] = (),
    columns: int = 1,
) -> None:
    """Write one plot, or several.

    Args:
        path: the file to write; an open file gets a PNG.
        heading, note: two texts above the plots, the first in bold.
        verdict: stands beside the heading.
        table: rows of cells below the texts. The first row names the columns; each other row is named by its first cell, beside
            a piece of the curve of that name.
        columns: how many plots stand beside each other. They share a scale of y if its labels are the same, and a key if their
            curves have the same names.
    """
    plots = [lines] if isinstance(lines, Lines) else list(lines)
    rows = -(-len(plots) // columns)
    header_in = (
        0.34 * bool(heading)
        + NOTE_IN * len(_note_lines(note))
        + (0.24 * len(table) + 0.3 if table else 0.0)
        + 0.1 * bool(heading or table)
    )
    names_in = [KEY_ROW_IN * (_key_rows(plot, WIDTH_IN / columns - MARGINS_IN) - 1) for plot in plots]
    plots_in = ROW_IN * rows + (max(names_in) if columns > 1 else sum(names_in))
    height_in = plots_in + header_in
    figure = new_figure(WIDTH_IN, height_in)
    lay_out(figure, header_in=header_in)
    _draw_header(figure, heading, verdict, note, table)
    one_key = columns > 1 and len({tuple(_names(plot)) for plot in plots}) == 1
    one_scale = columns > 1 and len({plot.y_label for plot in plots}) == 1
    axes_list: list[Any] = []
    for i, plot in enumerate(plots):
        axes = figure.add_subplot(rows, columns, i + 1, sharey=axes_list[0] if one_scale and axes_list else None)
        axes_list.append(axes)
        draw_on_axes(axes, plot, width_in=None if one_key else WIDTH_IN / columns - MARGINS_IN)
        if one_scale and i % columns:
            axes.set_ylabel("")
            axes.tick_params(axis="y", labelleft=False)
    if one_key and len(_names(plots[0])) > 1:
        add_figure_key(figure, axes_list[0])
    save(figure, path)


def draw_on_axes(axes: Any, plot: Lines, *, width_in: float | None = WIDTH_IN - MARGINS_IN) -> None:
    """Draw one plot on Matplotlib axes. Its key stands above the axes, where it covers no curve.

    Args:
        width_in: of the axes, in inches, for the key; None draws no key.
    """
    x = np.asarray(plot.x, np.float64)
    numbers = {name: i for i, name in enumerate(name for name in plot.y if name not in plot.behind and name not in plot.like)}
    for name, y in plot.y.items():
        if name in plot.behind:
            style: dict[str, Any] = {"color": TRUTH, "linewidth": 3.4, "linestyle": (0, (2, 1)), "zorder": 1}
        else:
            style = series_style(numbers[plot.like.get(name, name)], measured=plot.measured)
        if name in plot.like:
            style |= {"linestyle": (0, (4, 1.5))}
            style |= {"markerfacecolor": "white", "markeredgecolor": style["color"]} if plot.measured else {}
        known = np.isfinite(np.asarray(y, np.float64))
        if plot.measured and name not in plot.behind and not (plot.joined and (known[1:] & known[:-1]).any()):
            style |= {"linestyle": "none"}
        label = name if plot.key or name in plot.behind else "_"  # Matplotlib leaves "_" out of the key
        axes.plot(x, np.asarray(y, np.float64), label=label, clip_on=not plot.measured, **style)
    for dashes, (name, limit) in zip(LIMIT_DASHES, plot.limits.items(), strict=False):
        axes.axhline(limit, color=INK, linewidth=1.1, linestyle=dashes, label=name)
    label_axes(axes, plot.title, plot.x_label, plot.y_label)
    axes.margins(x=0.025 if plot.measured else 0)
    axes.xaxis.set_major_formatter(lambda value, place: plain_number(value))
    if plot.x_ticks is not None:
        axes.set_xticks(list(plot.x_ticks), list(plot.x_ticks.values()))
    _set_y_scale(axes, plot)
    for text, (start, end) in plot.spans.items():
        axes.axvspan(start, end, color=SPAN, zorder=0)
        place = axes.get_xaxis_transform()
        axes.text((start + end) / 2, 0.96, text, ha="center", va="top", fontsize=SMALL_PT, color=INK, transform=place)
    star = {"marker": "*", "markersize": 12, "color": DARK_INK, "markeredgecolor": "white", "linestyle": "none", "zorder": 4}
    for text, point in plot.points.items():
        axes.plot(*([value] for value in point), label=text, clip_on=False, **star)
    if width_in is not None and len(_names(plot)) > 1:
        add_key(axes, width_in)


def _names(plot: Lines) -> list[str]:
    """What a plot's key names."""
    return [*(plot.y if plot.key else plot.behind), *plot.limits, *plot.points]


def _key_rows(plot: Lines, width_in: float) -> int:
    return key_rows(_names(plot), width_in) if len(_names(plot)) > 1 else 1


def _set_y_scale(axes: Any, plot: Lines) -> None:
    """The y axis's ends and ticks."""
    if plot.log:
        axes.set_yscale("log")
    if plot.y_range is not None:
        axes.set_ylim(*plot.y_range)
    elif plot.from_zero:
        axes.set_ylim(bottom=0)
    if plot.log:
        _set_log_ticks(axes, choose_range=plot.y_range is None)
    else:
        axes.yaxis.set_major_formatter(lambda value, place: plain_number(value))


def _set_log_ticks(axes: Any, *, choose_range: bool) -> None:
    """Powers of ten, of a logarithmic axis of whole decades; also numbers between them where it shows less than two decades."""
    low, high = np.log10(axes.get_ylim())
    wide = high - low >= 2
    if wide and choose_range:
        low, high = np.floor(low), np.ceil(high)
        axes.set_ylim(10**low, 10**high)
    powers = 10.0 ** np.arange(np.floor(low), np.ceil(high) + 1)
    for factors in (
        ((1,),) if wide else ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), tuple(np.arange(1, 10, 0.5)), tuple(np.arange(1, 10, 0.1)))
    ):
        ticks = np.sort(np.concatenate([powers * factor for factor in factors]))
        ticks = ticks[(ticks >= 0.999 * 10**low) & (ticks <= 1.001 * 10**high)]
        if len(ticks) >= LEAST_TICKS:
            break
    axes.set_yticks(ticks)
    axes.yaxis.set_major_formatter(lambda value, place: plain_number(value))
    axes.yaxis.set_minor_formatter("")
    axes.tick_params(axis="y", which="minor", length=0)


def _note_lines(note: str | None) -> list[str]:
    return textwrap.wrap(note or "", NOTE_CHARACTERS)


def _draw_header(
    figure: Any, heading: str | None, verdict: Verdict | None, note: str | None, table: Sequence[Sequence[Cell]]
) -> None:
    """The texts and the table above the plots."""
    height_in, top_in = figure.get_figheight(), 0.12
    if heading:
        text = figure.text(0.02, 1 - top_in / height_in, heading, va="top", fontsize=HEADING_PT, weight="bold", color=DARK_INK)
        if verdict is not None:
            right = text.get_window_extent(figure.canvas.get_renderer()).x1 / figure.bbox.width
            badge = {"facecolor": verdict.colour, "edgecolor": "none", "boxstyle": "round,pad=0.25"}
            style = {"fontsize": HEADING_PT - 1, "weight": "bold", "color": "white", "bbox": badge}
            figure.text(right + 0.025, 1 - top_in / height_in, verdict.text.upper(), va="top", **style)
        top_in += 0.34
    for line in _note_lines(note):
        figure.text(0.02, 1 - top_in / height_in, line, va="top", fontsize=SMALL_PT, color=INK)
        top_in += NOTE_IN
    if table:
        draw_table(figure, table, top_in=top_in)
