"""Horizontal bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .figure import DPI, INK, SERIES, label_axes, new_figure


@dataclass(frozen=True, eq=False)
class Bars:
    """Sizes side by side, the first at the top.

    Args:
        sizes: name -> length of its bar.
        groups: name -> its group; each group has a colour.
        title, x_label: texts.
    """

    sizes: Mapping[str, float]
    groups: Mapping[str, str]
    title: str
    x_label: str


def draw_bars(path: str | Path | BinaryIO, bars: Bars) -> None:
    """Write bars as a PNG, to a path or an open file."""
    figure = new_figure(9.0, 1.2 + 0.2 * len(bars.sizes))
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    names = list(bars.sizes)
    groups = list(dict.fromkeys(bars.groups.values()))
    for i, group in enumerate(groups):
        members = [name for name in names if bars.groups[name] == group]
        rows = [len(names) - 1 - names.index(name) for name in members]
        axes.barh(rows, [bars.sizes[name] for name in members], color=SERIES[i % len(SERIES)], label=group)
    axes.set_yticks(range(len(names)), names[::-1], fontsize=7, color=INK)
    axes.tick_params(axis="x", labelsize=8, colors=INK)
    axes.margins(y=0.01)
    label_axes(axes, bars.title, bars.x_label)
    if len(groups) > 1:
        axes.legend(loc="best", frameon=False, fontsize=9, labelcolor=INK)
    figure.savefig(path, dpi=DPI, format="png")
