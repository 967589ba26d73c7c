"""Poses as a picture: Matplotlib's three-dimensional axes, one for each moment."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import F64
from ..pose.skeleton import H36M17
from .figure import GUESSED, INK, LEFT, RIGHT, TORSO, add_colour_key, new_figure
from .moments import Moment, Moments, Person
from .skeletons import BALL

MOST_PANELS = 5
"""A longer clip is shown at so many moments, evenly spread."""

_FROM_DEG, _DOWN_DEG = -65.0, 14.0  # the viewer stands behind the camera, a little to its right, and looks down


def draw_static(moments: Moments) -> Any:
    """A Matplotlib figure. All panels have the same scale and true proportions; each is about the people of its moment."""
    shown = moments.spread(MOST_PANELS)
    boxes = [moment.box_m for moment in shown.all]
    size_m = np.max([box[1] - box[0] for box in boxes], axis=0)
    panels = len(boxes)
    side_in, cell_in = (5.0, 4.8) if panels == 1 else (4.4, 3.0)  # the corners of a panel are empty, and lie over each other
    width_in, height_in = 0.6 + panels * cell_in, side_in + 0.45
    figure = new_figure(width_in, height_in)
    for i, (moment, box) in enumerate(zip(shown.all, boxes, strict=True)):
        left_in = 0.2 + (i + 0.5) * cell_in - side_in / 2
        place = (left_in / width_in, 0.0, side_in / width_in, side_in / height_in)
        axes = figure.add_axes(place, projection="3d", facecolor="none")
        several = len(moment.people) > 1
        for person in moment.people:
            _draw_person(axes, person, named=several)
        labels = (*shown.axes[:2], shown.axes[2] if i == panels - 1 else "")  # the next panel would cover it
        _set_axes(axes, box.mean(axis=0), size_m, labels)  # after everything: what is drawn would change the limits
        axes.set_title(f"t = {moment.t_s:.2f} s", fontsize=9, color=INK, y=0.99 if panels == 1 else 0.92)
    add_colour_key(figure, _colours(shown.all), x=0.15 / width_in, y=1 - 0.15 / height_in)
    return figure


def _set_axes(axes: Any, middle_m: F64, size_m: F64, labels: tuple[str, str, str]) -> None:
    axes.set_proj_type("ortho")  # so that a ball of one size is drawn in one size
    axes.view_init(elev=_DOWN_DEG, azim=_FROM_DEG)
    low, high = middle_m - size_m / 2, middle_m + size_m / 2
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    for k, axis in enumerate((axes.xaxis, axes.yaxis, axes.zaxis)):
        axis.set_label_text(labels[k], fontsize=7, color=INK)
        axis.set_pane_color((0.975, 0.975, 0.97, 1.0))
        axis.set_ticks(0.5 * np.arange(np.ceil(2 * low[k]), np.floor(2 * high[k]) + 1))  # every half metre
    axes.tick_params(labelsize=6, colors=INK, pad=0)
    axes.set_box_aspect(tuple(size_m), zoom=0.82)  # a copy: Matplotlib scales an array in place


def _draw_person(axes: Any, person: Person, *, named: bool) -> None:
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    if person.sigma_m is not None:
        discs = Poly3DCollection(_discs(person.xyz_m, person.sigma_m), facecolors=BALL, alpha=0.2, linewidths=0)
        axes.add_collection3d(discs)
    for a, b in H36M17.bones:
        guessed = person.guessed[a] or person.guessed[b]
        colour = GUESSED if guessed else LEFT if b in H36M17.left else RIGHT if b in H36M17.right else TORSO
        style = {"linewidth": 2.0, "linestyle": (0, (1.2, 1))} if guessed else {"linewidth": 2.8, "solid_capstyle": "round"}
        axes.plot(*person.xyz_m[[a, b]].T, color=colour, **style)
    axes.scatter(*person.xyz_m.T, s=7, color="white", edgecolors=TORSO, linewidths=0.6, depthshade=False)
    if named:
        head = person.xyz_m[H36M17.joints.index("head")] + np.array([0, 0, 0.15])
        axes.text(*head, str(person.person), fontsize=8, color=INK, ha="center")


def _discs(xyz_m: F64, sigma_m: F64) -> F64:
    """(17, 25, 3) circles that face the viewer: how balls look from there."""
    sin, cos = np.sin(np.radians(_FROM_DEG)), np.cos(np.radians(_FROM_DEG))
    low, far = np.sin(np.radians(_DOWN_DEG)), np.cos(np.radians(_DOWN_DEG))
    right, up = np.array([-sin, cos, 0]), np.array([-low * cos, -low * sin, far])
    angle = np.linspace(0, 2 * np.pi, 25)
    circle = np.cos(angle)[:, None] * right + np.sin(angle)[:, None] * up  # (25, 3)
    return np.asarray(xyz_m[:, None] + sigma_m[:, None, None] * circle)


def _colours(moments: tuple[Moment, ...]) -> dict[str, str]:
    people = [person for moment in moments for person in moment.people]
    colours = {"left": LEFT, "right": RIGHT, "trunk": TORSO}
    if any(person.guessed.any() for person in people):
        colours["guessed"] = GUESSED
    if any(person.sigma_m is not None for person in people):
        colours["standard deviation"] = BALL
    return colours
