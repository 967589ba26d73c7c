"""Pictures of poses and of numbers over time, drawn with Matplotlib without a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FrameError, missing_extra
from ..pose.skeleton import H36M17, Skeleton

# Okabe and Ito's colours: told apart by everybody.
LEFT, RIGHT, TORSO, TRUTH = "#0072B2", "#D55E00", "#333333", "#B5B5B5"
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
_INK = "#444444"
_DOWN_DEG = 12.0  # how far the viewer looks down


@dataclass(frozen=True, eq=False)
class Lines:
    """A plot of numbers over a common axis.

    Args:
        x: (N,) the common axis, usually time.
        y: name of each line -> (N,) values; NaN leaves a gap.
        title, x_label, y_label: texts, the labels with their units.
        limit: draws a dashed line at this value, named in ``limit_label``.
        from_zero: the y axis starts at 0: for distances, whose size is the point.
        log: the y axis is logarithmic: for what differs by powers of ten.
        dashed: names of lines that are drawn behind the others, grey and dashed: what they are compared with.
        key: tells which line is which; without it only the limit and what is dashed, if a table has the colours.
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


@dataclass(frozen=True, eq=False)
class Bars:
    """Sizes side by side, the first on top.

    Args:
        sizes: by name.
        groups: which group each name is of; groups are told apart by colour.
        title, x_label: texts.
    """

    sizes: Mapping[str, float]
    groups: Mapping[str, str]
    title: str
    x_label: str


def draw_skeletons(
    path: str | Path,
    *,
    poses: NDArray[Any],
    truth: NDArray[Any] | None = None,
    titles: Sequence[str] | None = None,
    heading: str | None = None,
    lines: Sequence[Lines] = (),
    skeleton: Skeleton = H36M17,
    turn_deg: float = 25.0,
    file_format: str | None = None,
) -> None:
    """A row of skeletons seen in three dimensions, and below it plots over time.

    Args:
        path: the picture to write.
        poses: (N, J, 3) metres in camera axes (x right, y down, z forward).
        truth: (N, J, 3) drawn in grey behind the poses.
        titles: N texts, one above each panel.
        heading: a line above everything.
        lines: plots below the panels.
        turn_deg: how far the viewer walks round the person from the camera's place.
        file_format: e.g. ``png``; None for what the path's suffix says.
    """
    shown = np.asarray(poses, np.float64)
    if shown.ndim != 3 or shown.shape[1:] != (len(skeleton), 3) or len(shown) == 0:
        raise FrameError(f"the poses have shape {shown.shape}", expected=f"(N, {len(skeleton)}, 3) with N of at least 1")
    grey = None if truth is None else np.asarray(truth, np.float64)
    if grey is not None and grey.shape != shown.shape:
        raise FrameError(f"the truth has shape {grey.shape}", expected=f"the poses' {shown.shape}")

    seen = _viewed(shown, turn_deg)  # (N, J, 3)
    behind = None if grey is None else _viewed(grey, turn_deg)
    everything = seen if behind is None else np.concatenate([seen, behind])
    low, high = everything[..., :2].min((0, 1)), everything[..., :2].max((0, 1))
    low, high = low - 0.06, high + 0.06  # room for the joints' dots, in metres
    panels, per_m = len(shown), 2.8 / (high[1] - low[1])  # inches to the metre: the row is 2.8 inches high
    width_in = max(7.5, 0.6 + panels * (high[0] - low[0]) * per_m)
    top_in = 1.05 if heading else 0.75  # heading, colour key and titles
    height_in = top_in + 2.95 + 2.7 * len(lines)
    centre, half = (low[0] + high[0]) / 2, 0.48 * width_in / panels / per_m
    figure = _figure(width_in, height_in)
    for i in range(panels):
        axes = figure.add_axes((0.02 + 0.96 * i / panels, 1 - (top_in + 2.8) / height_in, 0.96 / panels, 2.8 / height_in))
        axes.set_xlim(centre - half, centre + half)
        axes.set_ylim(low[1], high[1])
        axes.set_axis_off()
        _draw_floor(axes, _floor(everything), turn_deg)
        if behind is not None:
            _draw_skeleton(axes, behind[i], skeleton, colour=TRUTH)
        _draw_skeleton(axes, seen[i], skeleton, colour=None)
        if titles is not None:
            axes.set_title(titles[i], fontsize=10, color=_INK, pad=6)
    _legend(figure, grey is not None, x=0.25 / width_in, y=1 - (top_in - 0.7) / height_in)
    if heading:
        figure.text(0.25 / width_in, 1 - 0.15 / height_in, heading, fontsize=12, weight="bold", va="top", color="#222222")
    for i, plot in enumerate(lines):
        _draw_lines(figure.add_axes((0.75 / width_in, (0.6 + 2.7 * (len(lines) - 1 - i)) / height_in,
                                     1 - 1.0 / width_in, 1.65 / height_in)), plot)  # fmt: skip
    figure.savefig(path, dpi=130, format=file_format)


def check_available() -> None:
    """Whether pictures can be drawn here, before an hour's work and not after it; if not, a MissingError."""
    _figure(1.0, 1.0)


def draw_lines(
    path: str | Path | BinaryIO,
    lines: Lines | Sequence[Lines],
    *,
    heading: str | None = None,
    note: str | None = None,
    table: Sequence[Sequence[str]] = (),
) -> None:
    """One plot, or several below each other, as a picture.

    Args:
        path: the picture to write; into an open file goes a PNG.
        heading, note: lines above everything, one that is seen first and one that explains it.
        table: rows of cells below them. The first row names the columns; the others are named by their first cell, in the
            colours of the lines.
    """
    plots = [lines] if isinstance(lines, Lines) else list(lines)
    upto = 0.0  # inches from the top
    texts: list[tuple[float, str, dict[str, Any]]] = []
    for text, size, style in (
        (heading, 0.32, {"fontsize": 12, "weight": "bold"}),
        (note, 0.22, {"fontsize": 9, "color": _INK}),
    ):
        if text:
            texts.append((upto + 0.14, text, style))
            upto += size
    table_at, upto = upto + 0.24, upto + (0.22 * len(table) + 0.24 if table else 0.0)
    height_in = 3.0 * len(plots) + upto + (0.1 if upto else 0.0)
    figure = _figure(9.0, height_in)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 3.0 * len(plots) / height_in))
    for at, text, style in texts:
        figure.text(0.02, 1 - at / height_in, text, va="top", **{"color": "#222222", **style})
    _draw_table(figure, table, top=1 - table_at / height_in, row=0.22 / height_in)
    for i, plot in enumerate(plots):
        _draw_lines(figure.add_subplot(len(plots), 1, i + 1), plot)
    figure.savefig(path, dpi=130, format=None if isinstance(path, (str, Path)) else "png")


def draw_bars(path: str | Path | BinaryIO, bars: Bars) -> None:
    """Horizontal bars, as a picture."""
    figure = _figure(9.0, 1.2 + 0.2 * len(bars.sizes))
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    kinds = list(dict.fromkeys(bars.groups.values()))
    for kind in kinds:
        of = {name: size for name, size in bars.sizes.items() if bars.groups[name] == kind}
        places = [len(bars.sizes) - 1 - list(bars.sizes).index(name) for name in of]
        axes.barh(places, list(of.values()), color=_LINES[kinds.index(kind) % len(_LINES)], label=kind)
    axes.set_yticks(range(len(bars.sizes)), list(bars.sizes)[::-1], fontsize=7, color=_INK)
    axes.set_title(bars.title, fontsize=10, loc="left", color=_INK)
    axes.set_xlabel(bars.x_label, fontsize=9, color=_INK)
    axes.tick_params(axis="x", labelsize=8, colors=_INK)
    axes.margins(y=0.01)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(kinds) > 1:
        axes.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=_INK)
    figure.savefig(path, dpi=130, format="png")


def _figure(width_in: float, height_in: float) -> Any:
    """A figure with its own canvas: pyplot's global state is left alone."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("matplotlib", "plot", "drawing pictures") from None
    figure = Figure(figsize=(width_in, height_in), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _viewed(points: NDArray[np.float64], turn_deg: float) -> NDArray[np.float64]:
    """Camera axes (x right, y down, z forward) as the viewer sees them: x right, y up, z towards the viewer, in metres.

    Up is up: the viewer walks ``turn_deg`` round the person, then looks down by ``_DOWN_DEG``, without perspective.
    """
    x, y, z = points[..., 0], points[..., 2], -points[..., 1]  # right, away, up
    cos, sin = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    x, y = cos * x + sin * y, -sin * x + cos * y
    cos, sin = np.cos(np.radians(_DOWN_DEG)), np.sin(np.radians(_DOWN_DEG))
    return np.stack([x, sin * y + cos * z, sin * z - cos * y], -1)


def _floor(seen: NDArray[np.float64]) -> float:
    """Height of the lowest joint above the hip's height, from (..., J, 3) as viewed; below zero."""
    cos, sin = np.cos(np.radians(_DOWN_DEG)), np.sin(np.radians(_DOWN_DEG))
    return float((cos * seen[..., 1] + sin * seen[..., 2]).min())


def _draw_skeleton(axes: Any, seen: NDArray[np.float64], skeleton: Skeleton, *, colour: str | None) -> None:
    """One skeleton, (J, 3) as viewed, far bones first; ``colour`` None tells left from right."""
    for parent, child in sorted(skeleton.bones, key=lambda bone: float(seen[list(bone), 2].sum())):
        side = LEFT if child in skeleton.left else RIGHT if child in skeleton.right else TORSO
        ends = seen[[parent, child], :2].T
        if colour is None:  # a white edge lets a near bone stand out from a far one
            axes.plot(*ends, color="white", linewidth=4.6, solid_capstyle="butt")
        axes.plot(*ends, color=colour or side, linewidth=3.0, solid_capstyle="round")
    if colour is None:
        axes.scatter(seen[:, 0], seen[:, 1], s=9, color="white", edgecolors=TORSO, linewidths=0.7, zorder=3)


def _draw_floor(axes: Any, height: float, turn_deg: float) -> None:
    """A faint grid of quarter metres below the feet."""
    span = np.linspace(-0.5, 0.5, 5)
    for offset in span:
        for ends in ([[offset, -0.5], [offset, 0.5]], [[-0.5, offset], [0.5, offset]]):
            flat = np.array([[x, -height, z] for x, z in ends])  # in camera axes, where y is down
            axes.plot(*_viewed(flat, turn_deg)[:, :2].T, color="#E6E6E6", linewidth=0.7, zorder=0)


def _legend(figure: Any, with_truth: bool, *, x: float, y: float) -> None:
    """Colour key, its upper left corner at (x, y) in figure fractions."""
    from matplotlib.lines import Line2D

    names = {"left": LEFT, "right": RIGHT, "torso": TORSO} | ({"ground truth": TRUTH} if with_truth else {})
    keys = [Line2D([], [], color=colour, linewidth=2.6, label=name) for name, colour in names.items()]
    figure.legend(
        handles=keys, loc="upper left", bbox_to_anchor=(x, y), ncols=len(keys), frameon=False, fontsize=9, labelcolor=_INK,
        handlelength=1.4, borderaxespad=0,
    )  # fmt: skip


def _draw_table(figure: Any, table: Sequence[Sequence[str]], *, top: float, row: float) -> None:
    """Cells in columns as wide as what is in them; heights in figure fractions."""
    if not table:
        return
    widths = [max(map(len, column)) + 3 for column in zip(*table, strict=True)]
    upto = np.cumsum([0, *widths])
    for i, cells in enumerate(table):
        for j, cell in enumerate(cells):
            name = bool(i) and j == 0
            colour = _LINES[(i - 1) % len(_LINES)] if name else "#222222" if i else _INK
            x = 0.02 + min(0.96 * upto[j] / upto[-1], 0.0095 * upto[j])  # no further apart than they are read together
            figure.text(x, top - i * row, cell, fontsize=9, va="top", color=colour, weight="bold" if name else "normal")


def _draw_lines(axes: Any, plot: Lines) -> None:
    """One plot on its axes; the key stands outside, where no line runs."""
    x = np.asarray(plot.x, np.float64)
    for i, (name, y) in enumerate(plot.y.items()):
        style: dict[str, Any] = {"color": _LINES[i % len(_LINES)], "linewidth": 1.5}
        if name in plot.dashed:
            style = {"color": TRUTH, "linewidth": 3.0, "linestyle": (0, (2, 1)), "zorder": 1}
        named = plot.key or name in plot.dashed
        axes.plot(x, np.asarray(y, np.float64), label=name if named else "_", **style)
    if plot.limit is not None:
        axes.axhline(plot.limit, color=_INK, linewidth=1.0, linestyle=(0, (5, 4)), label=plot.limit_label)
    axes.set_title(plot.title, fontsize=10, loc="left", color=_INK)
    axes.set_xlabel(plot.x_label, fontsize=9, color=_INK)
    axes.set_ylabel(plot.y_label, fontsize=9, color=_INK)
    axes.tick_params(labelsize=8, colors=_INK)
    axes.grid(color="#EBEBEB", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0)
    if plot.log:
        _in_decades(axes)
    if plot.from_zero:
        axes.set_ylim(bottom=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(plot.y) + (plot.limit is not None) > 1:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=8, frameon=False, fontsize=8, labelcolor=_INK)


def _in_decades(axes: Any) -> None:
    """A logarithmic axis of whole decades, so that two powers of ten at least are named on it."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high)))
    axes.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
    axes.yaxis.set_minor_formatter("")
