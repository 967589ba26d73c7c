"""The style of all figures, of the product and of the benchmarks: size, fonts, colours, marks, axes and keys.

A page is about 700 px wide, so a figure is 7 inches at 100 px an inch, drawn with twice as many pixels for sharp screens. It is
white also where the page is dark. Curves differ in colour and in dash or marker, since not every reader sees every colour. A
key stands above the axes, where it covers nothing. The label of an axis ends with its unit in brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import missing_extra

WIDTH_IN, DPI = 7.0, 200
PAD_IN = 0.09  # around axes
HEADING_PT, TITLE_PT, TEXT_PT, SMALL_PT = 12.0, 10.0, 9.0, 8.0

# Okabe and Ito's colours, which colour-blind readers can tell apart.
LEFT, RIGHT, TORSO, TRUTH = "#0072B2", "#D55E00", "#333333", "#B5B5B5"
GUESSED = "#8C8C8C"  # dotted, so that it is not taken for the truth
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1)), (0, (9, 2)), (0, (2, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "----", "++++")
INK, DARK_INK = "#444444", "#222222"
GRID, SPAN = "#E6E6E6", "#F0F0F0"
GOOD, BAD = "#00785A", "#B84300"  # green and vermilion, dark enough for text on white


@dataclass(frozen=True)
class Verdict:
    """Whether something passed: a colour, a mark and a word, since not every reader sees the colour."""

    passed: bool

    @property
    def text(self) -> str:
        return "\N{CHECK MARK} passed" if self.passed else "\N{BALLOT X} FAILED"

    @property
    def colour(self) -> str:
        return GOOD if self.passed else BAD


def new_figure(width_in: float, height_in: float) -> Any:
    """An empty figure with its own canvas, so that pyplot's global state is not touched.

    Raises:
        MissingError: Matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("matplotlib", "plot", "drawing pictures") from None
    figure = Figure(figsize=(width_in, height_in), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def lay_out(figure: Any, *, header_in: float = 0.0) -> None:
    """Let Matplotlib place axes, labels and keys so that none overlap, below a header of that height."""
    share = 1 - header_in / figure.get_figheight()
    figure.set_layout_engine("constrained", rect=(0, 0, 1, share), w_pad=PAD_IN, h_pad=PAD_IN)


def check_available() -> None:
    """Raise a MissingError if figures cannot be drawn, so that a caller knows before an hour's work and not after it."""
    new_figure(1.0, 1.0)


def save(figure: Any, path: str | Path | BinaryIO, *, file_format: str | None = None) -> None:
    """Write a figure to a path, in the format of its suffix, or as a PNG to an open file."""
    figure.savefig(path, dpi=DPI, format=file_format or (None if isinstance(path, str | Path) else "png"))


def series_style(number: int, *, measured: bool) -> dict[str, Any]:
    """How Matplotlib draws the curve of that number, counted from 0.

    Args:
        measured: each value is a measurement: it gets a marker, and the line between two is only a guide.
    """
    style: dict[str, Any] = {"color": SERIES[number % len(SERIES)], "linewidth": 1.6}
    if measured:
        size = max(5.0, 8.5 - 1.1 * number)  # so that those below show where two meet
        return style | {"marker": MARKERS[number % len(MARKERS)], "markersize": size, "markeredgecolor": "white", "zorder": 3}
    return style | {"linestyle": DASHES[number % len(DASHES)]}


def label_axes(axes: Any, title: str, x_label: str, y_label: str = "", *, grid: str = "both") -> None:
    """Titles, labels, ticks and grid of the house's style; no frame above and to the right.

    Args:
        x_label, y_label: with their units in brackets.
        grid: across which axis its lines run: ``x``, ``y`` or ``both``.
    """
    axes.set_title(title, fontsize=TITLE_PT, loc="left", color=DARK_INK)
    axes.set_xlabel(x_label, fontsize=TEXT_PT, color=INK)
    axes.set_ylabel(y_label, fontsize=TEXT_PT, color=INK)
    axes.tick_params(labelsize=TEXT_PT, colors=INK)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)


def plain_number(value: float) -> str:
    """A tick's label: 50,000 or 0.00001, never 5e+04 or 1e-05."""
    return f"{value:,.10f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{value:,.10g}"


def add_key(axes: Any, width_in: float) -> None:
    """The key of the axes' curves, between their title and themselves, in as many rows as it needs.

    Args:
        width_in: the room for it, in inches.
    """
    names = axes.get_legend_handles_labels()[1]
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), **_row_by_row(axes, width_in), **_KEY)
    pad = 9 + 14 * key_rows(names, width_in)
    axes.set_title(axes.get_title(loc="left"), fontsize=TITLE_PT, loc="left", color=DARK_INK, pad=pad)


def add_figure_key(figure: Any, axes: Any) -> None:
    """The key of the curves that all axes of a figure share, at its top; the figure's layout is constrained."""
    figure.legend(loc="outside upper left", **_row_by_row(axes, figure.get_figwidth()), **_KEY)


def key_rows(names: Sequence[str], width_in: float) -> int:
    """How many rows the key of these names has."""
    return -(-len(names) // _columns(names, width_in))


def add_colour_key(figure: Any, colours: dict[str, str], *, x: float, y: float) -> None:
    """A row of names with their colours; its upper left corner is at (x, y) in fractions of the figure."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, linewidth=2.6, label=name) for name, colour in colours.items()]
    anchor = {"loc": "upper left", "bbox_to_anchor": (x, y), "borderaxespad": 0.0}
    figure.legend(
        handles=handles, ncols=_columns(list(colours), figure.get_figwidth()), **_KEY | anchor | {"handlelength": 1.4}
    )


_KEY: dict[str, Any] = {
    "frameon": False,
    "fontsize": TEXT_PT,
    "labelcolor": INK,
    "handlelength": 2.6,
    "handletextpad": 0.5,
    "columnspacing": 1.4,
    "borderaxespad": 0.2,
    "borderpad": 0.2,
}


def _row_by_row(axes: Any, width_in: float) -> dict[str, Any]:
    """Handles, labels and columns of a key that is read row by row; Matplotlib fills column by column."""
    handles, names = axes.get_legend_handles_labels()
    columns = _columns(names, width_in)
    order = [i for column in range(columns) for i in range(column, len(names), columns)]
    return {"handles": [handles[i] for i in order], "labels": [names[i] for i in order], "ncols": columns}


def _columns(names: Sequence[str], width_in: float) -> int:
    """How many names stand beside each other in a row of a key; each column is as wide as its longest name."""
    for columns in range(len(names), 1, -1):
        widest = [max(len(name) for name in names[column::columns]) for column in range(columns)]
        if sum(0.55 + 0.068 * characters for characters in widest) <= width_in:
            return columns
    return 1
