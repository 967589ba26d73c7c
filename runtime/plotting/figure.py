"""What all figures share: colours, an empty figure, and the look of axes."""

from __future__ import annotations

from typing import Any

from ..errors import missing_extra

# Okabe and Ito's colours, which colour-blind readers can tell apart.
LEFT, RIGHT, TORSO, TRUTH = "#0072B2", "#D55E00", "#333333", "#B5B5B5"
GUESSED = "#8C8C8C"  # dotted, so that it is not taken for the truth
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
INK, DARK_INK = "#444444", "#222222"
DPI = 130


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


def check_available() -> None:
    """Raise a MissingError if figures cannot be drawn, so that a caller knows before an hour's work and not after it."""
    new_figure(1.0, 1.0)


def label_axes(axes: Any, title: str, x_label: str) -> None:
    """Title, label of the x axis, and no frame above and to the right."""
    axes.set_title(title, fontsize=10, loc="left", color=INK)
    axes.set_xlabel(x_label, fontsize=9, color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def add_colour_key(figure: Any, colours: dict[str, str], *, x: float, y: float) -> None:
    """A row of names with their colours; its upper left corner is at (x, y) in fractions of the figure."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, linewidth=2.6, label=name) for name, colour in colours.items()]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(x, y),
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=1.4,
        borderaxespad=0,
    )
