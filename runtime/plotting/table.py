"""A table of text above plots, which is also their key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .figure import DARK_INK, INK, TEXT_PT, Verdict, series_style

Cell = str | Verdict

ROW_IN = 0.24  # the height of a row; the first, which names the columns, may have two lines
SPACE_IN = 0.14  # between two columns
KEY_IN = 0.32  # of a curve, before its name


def draw_table(figure: Any, table: Sequence[Sequence[Cell]], *, top_in: float) -> None:
    """Draw cells in columns as wide as their content; in smaller letters if they do not fit.

    Args:
        table: its first row names the columns. The first cell of each other row is the name of a curve, drawn beside it.
        top_in: from the figure's top to the table's, in inches.
    """
    width_in, height_in = figure.get_size_inches()
    renderer = figure.canvas.get_renderer()
    size = TEXT_PT
    rows = [
        [
            _draw_cell(figure, cell, 1 - (top_in + (ROW_IN * i + 0.16 if i else 0.0)) / height_in, i, j)
            for j, cell in enumerate(cells)
        ]
        for i, cells in enumerate(table)
    ]

    def widths_in() -> list[float]:
        return [
            max(cell.get_window_extent(renderer).width for cell in column) / figure.dpi for column in zip(*rows, strict=True)
        ]

    room_in = width_in - 0.28 - KEY_IN - SPACE_IN * (len(table[0]) - 1)
    if (needed_in := sum(widths_in())) > room_in:
        size *= room_in / needed_in
        for cell in (cell for row in rows for cell in row):
            cell.set_fontsize(size)
    left_in = 0.14 + KEY_IN
    for column, column_in in zip(zip(*rows, strict=True), widths_in(), strict=True):
        for cell in column:
            cell.set_x(left_in / width_in)
        left_in += column_in + SPACE_IN
    for number in range(len(table) - 1):
        _draw_curve(figure, number, y=1 - (top_in + ROW_IN * (number + 1) + 0.16 + 0.5 * size / 72) / height_in)


def _draw_cell(figure: Any, cell: Cell, y: float, row: int, column: int) -> Any:
    if isinstance(cell, Verdict):
        text, colour, bold = cell.text, cell.colour, not cell.passed
    else:
        text, colour, bold = cell, DARK_INK if row else INK, bool(row) and column == 0
    weight = "bold" if bold else "normal"
    return figure.text(0.0, y, text, fontsize=TEXT_PT, va="top", color=colour, weight=weight, linespacing=1.0)


def _draw_curve(figure: Any, number: int, *, y: float) -> None:
    """A piece of the curve of that number, left of its name."""
    from matplotlib.lines import Line2D

    width_in = figure.get_figwidth()
    ends = (0.14 / width_in, (0.14 + KEY_IN - 0.06) / width_in)
    figure.add_artist(Line2D(ends, (y, y), **series_style(number, measured=False) | {"linewidth": 2.0}))
