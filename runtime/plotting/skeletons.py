"""A row of skeletons seen in three dimensions, with plots over time below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64
from ..errors import FrameError
from ..pose.skeleton import H36M17, Skeleton
from .figure import (
    DARK_INK,
    GRID,
    GUESSED,
    HEADING_PT,
    INK,
    LEFT,
    RIGHT,
    TEXT_PT,
    TORSO,
    TRUTH,
    WIDTH_IN,
    add_colour_key,
    new_figure,
    save,
)
from .lines import Lines, draw_on_axes

_DOWN_DEG = 12.0  # how far the viewer looks down
_HIGHEST_ROW_IN = 2.8  # of the row of skeletons
_PLOT_IN = 2.55  # the height of a plot below them, with its labels and its key
BALL = "#8E7CC3"


def draw_skeletons(
    path: str | Path,
    *,
    poses: NDArray[Any],
    truth: NDArray[Any] | None = None,
    sigma: NDArray[Any] | None = None,
    guessed: NDArray[Any] | None = None,
    titles: Sequence[str] | None = None,
    heading: str | None = None,
    lines: Sequence[Lines] = (),
    skeleton: Skeleton = H36M17,
    turn_deg: float = 25.0,
    file_format: str | None = None,
) -> None:
    """Write a row of skeletons seen in three dimensions, and plots below them.

    Args:
        path: the file to write.
        poses: (N, J, 3) metres in camera axes (x right, y down, z forward).
        truth: (N, J, 3) drawn in grey behind the poses.
        sigma: (N, J) metres, drawn as balls around the joints in which two thirds of the true joints lie.
        guessed: (N, J) which joints the model guessed: their bones are grey and dotted.
        titles: N texts, one above each panel.
        heading: a text above everything.
        lines: plots below the panels.
        turn_deg: the angle by which the viewer walks round the person, from where the camera is.
        file_format: e.g. ``png``; None follows the path's suffix.
    """
    poses_m = np.asarray(poses, np.float64)
    if poses_m.ndim != 3 or poses_m.shape[1:] != (len(skeleton), 3) or len(poses_m) == 0:
        raise FrameError(f"the poses have shape {poses_m.shape}", expected=f"(N, {len(skeleton)}, 3) with N of at least 1")
    truth_m = None if truth is None else np.asarray(truth, np.float64)
    if truth_m is not None and truth_m.shape != poses_m.shape:
        raise FrameError(f"the truth has shape {truth_m.shape}", expected=f"the poses' {poses_m.shape}")
    sigma_m = None if sigma is None else np.asarray(sigma, np.float64)
    if sigma_m is not None and sigma_m.shape != poses_m.shape[:2]:
        raise FrameError(f"sigma has shape {sigma_m.shape}", expected=f"one number for each joint, {poses_m.shape[:2]}")
    unseen = np.zeros(poses_m.shape[:2], np.bool_) if guessed is None else np.asarray(guessed, np.bool_)
    if unseen.shape != poses_m.shape[:2]:
        raise FrameError(f"guessed has shape {unseen.shape}", expected=f"one for each joint, {poses_m.shape[:2]}")

    viewed = _viewed(poses_m, turn_deg)  # (N, J, 3)
    viewed_truth = None if truth_m is None else _viewed(truth_m, turn_deg)
    everything = viewed if viewed_truth is None else np.concatenate([viewed, viewed_truth])
    low, high = everything[..., :2].min((0, 1)), everything[..., :2].max((0, 1))
    low, high = low - 0.06, high + 0.06  # room for the joints' dots, in metres
    panels, width_in = len(poses_m), WIDTH_IN
    size = high - low
    inches_per_m = min(_HIGHEST_ROW_IN / size[1], 0.96 * width_in / panels / size[0])
    row_in = size[1] * inches_per_m
    top_in = 0.98 if heading else 0.68  # heading, colour key and titles
    height_in = top_in + row_in + 0.12 + _PLOT_IN * len(lines)
    centre, half = (low[0] + high[0]) / 2, 0.48 * width_in / panels / inches_per_m
    figure = new_figure(width_in, height_in)
    for i in range(panels):
        axes = figure.add_axes((0.02 + 0.96 * i / panels, 1 - (top_in + row_in) / height_in, 0.96 / panels, row_in / height_in))
        axes.set_xlim(centre - half, centre + half)
        axes.set_ylim(low[1], high[1])
        axes.set_axis_off()
        _draw_ground(axes, _ground_height(everything), turn_deg)
        if sigma_m is not None:
            _draw_balls(axes, viewed[i], sigma_m[i])
        if viewed_truth is not None:
            _draw_skeleton(axes, viewed_truth[i], skeleton, colour=TRUTH, guessed=np.zeros_like(unseen[i]))
        _draw_skeleton(axes, viewed[i], skeleton, colour=None, guessed=unseen[i])
        if titles is not None:
            axes.set_title(titles[i], fontsize=TEXT_PT, color=INK, pad=4)
    colours = {"left": LEFT, "right": RIGHT, "torso": TORSO} | ({} if truth_m is None else {"ground truth": TRUTH})
    colours |= {"guessed": GUESSED} if unseen.any() else {}
    colours |= {} if sigma_m is None else {"standard deviation": BALL}
    add_colour_key(figure, colours, x=0.14 / width_in, y=1 - (top_in - 0.58) / height_in)
    if heading:
        figure.text(
            0.14 / width_in, 1 - 0.12 / height_in, heading, fontsize=HEADING_PT, weight="bold", va="top", color=DARK_INK
        )
    for i, plot in enumerate(lines):
        bottom_in = 0.55 + _PLOT_IN * (len(lines) - 1 - i)
        draw_on_axes(figure.add_axes((0.7 / width_in, bottom_in / height_in, 1 - 0.9 / width_in, 1.45 / height_in)), plot)
    save(figure, path, file_format=file_format)


def _viewed(points: F64, turn_deg: float) -> F64:
    """Points in camera axes (x right, y down, z forward) as the viewer sees them: x right, y up, z towards the viewer.

    The viewer walks ``turn_deg`` round the vertical axis, then looks down by ``_DOWN_DEG``. There is no perspective.
    """
    x, y, z = points[..., 0], points[..., 2], -points[..., 1]  # right, away, up
    cos, sin = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    x, y = cos * x + sin * y, -sin * x + cos * y
    cos, sin = np.cos(np.radians(_DOWN_DEG)), np.sin(np.radians(_DOWN_DEG))
    return np.stack([x, sin * y + cos * z, sin * z - cos * y], -1)


def _ground_height(viewed: F64) -> float:
    """Height of the lowest joint relative to the hip, from (..., J, 3) as viewed; negative."""
    cos, sin = np.cos(np.radians(_DOWN_DEG)), np.sin(np.radians(_DOWN_DEG))
    return float((cos * viewed[..., 1] + sin * viewed[..., 2]).min())


def _draw_skeleton(axes: Any, viewed: F64, skeleton: Skeleton, *, colour: str | None, guessed: NDArray[np.bool_]) -> None:
    """Draw one skeleton, (J, 3) as viewed, distant bones first; ``colour`` None gives left and right their own colours.

    Bones of guessed joints are grey and dotted.
    """
    for parent, child in sorted(skeleton.bones, key=lambda bone: float(viewed[list(bone), 2].sum())):
        side = LEFT if child in skeleton.left else RIGHT if child in skeleton.right else TORSO
        ends = viewed[[parent, child], :2].T
        if colour is None:  # a white edge separates a near bone from a distant one behind it
            axes.plot(*ends, color="white", linewidth=4.6, solid_capstyle="butt")
        if guessed[parent] or guessed[child]:
            axes.plot(*ends, color=GUESSED, linewidth=2.2, linestyle=(0, (1.2, 1)))
        else:
            axes.plot(*ends, color=colour or side, linewidth=3.0, solid_capstyle="round")
    if colour is None:
        axes.scatter(viewed[:, 0], viewed[:, 1], s=9, color="white", edgecolors=TORSO, linewidths=0.7, zorder=3)


def _draw_balls(axes: Any, viewed: F64, sigma_m: F64) -> None:
    """Draw a translucent ball around each joint, (J, 3) as viewed, with its standard deviation as radius."""
    angle = np.linspace(0, 2 * np.pi, 33)
    for (x, y, _), radius in zip(viewed, sigma_m, strict=True):
        axes.fill(
            x + radius * np.cos(angle),
            y + radius * np.sin(angle),
            color=BALL,
            alpha=0.22,
            linewidth=0,
            zorder=0.5,
            clip_on=False,
        )


def _draw_ground(axes: Any, height: float, turn_deg: float) -> None:
    """Draw a light grid of quarter metres below the feet."""
    span = np.linspace(-0.5, 0.5, 5)
    for offset in span:
        for ends in ([[offset, -0.5], [offset, 0.5]], [[-0.5, offset], [0.5, offset]]):
            flat = np.array([[x, -height, z] for x, z in ends])  # in camera axes, where y is down
            axes.plot(*_viewed(flat, turn_deg)[:, :2].T, color=GRID, linewidth=0.7, zorder=0)
