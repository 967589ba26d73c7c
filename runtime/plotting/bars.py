"""Horizontal bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .figure import (
    DARK_INK,
    HATCHES,
    INK,
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

MOST_LARGE = 16
"""With more bars than that the names are small."""


@dataclass(frozen=True, eq=False)
class Bars:
    """Sizes side by side, the first at the top.

    Args:
        values: name -> series -> length of its bar. Each series has a colour; a name need not have all of them. A series
            called "" has no place in the key.
        title, x_label: texts, the label with its unit.
        numbers: how the length is written beside each bar, e.g. ``.1f``; None for no numbers.
    """

    values: Mapping[str, Mapping[str, float]]
    title: str
    x_label: str
    numbers: str | None = None


def draw_bars(path: str | Path | BinaryIO, bars: Bars) -> None:
    """Write bars as a PNG, to a path or an open file."""
    count = sum(map(len, bars.values.values()))
    height = 0.24 if count <= MOST_LARGE else 0.155  # of a bar, in inches
    gap = 0.5 * height if any(len(values) > 1 for values in bars.values.values()) else 0.25 * height
    figure = new_figure(WIDTH_IN, 1.1 + height * count + gap * len(bars.values))
    lay_out(figure)
    axes = figure.add_subplot()
    series = list(dict.fromkeys(name for values in bars.values.values() for name in values))
    longest = max((length for values in bars.values.values() for length in values.values()), default=0.0)
    top, ticks = 0.0, []
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # so that the grid does not cross a number
    for values in bars.values.values():
        ticks.append(top + height * len(values) / 2)
        for name, length in values.items():
            number = series.index(name)
            axes.barh(
                [top + height / 2],
                [length],
                0.94 * height,
                color=SERIES[number % len(SERIES)],
                hatch=HATCHES[number % len(HATCHES)],
                edgecolor="white",
                linewidth=0,
                label=name if name and name not in axes.get_legend_handles_labels()[1] else "_",
            )
            if bars.numbers is not None:
                text = format(length, bars.numbers)
                axes.text(length + 0.01 * longest, top + height / 2, text, va="center", fontsize=SMALL_PT, color=INK, bbox=box)
            top += height
        top += gap
    label_axes(axes, bars.title, bars.x_label, grid="x")
    axes.set_yticks(ticks, list(bars.values), fontsize=TEXT_PT if count <= MOST_LARGE else 7.0, color=DARK_INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(top, -gap)
    axes.margins(x=0.1 if bars.numbers else 0.02)
    axes.xaxis.set_major_formatter(lambda value, place: plain_number(value))
    if len(series) > 1:
        add_key(axes, 0.7 * WIDTH_IN)
    save(figure, path)
