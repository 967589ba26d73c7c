"""The figures of the concepts, from what benchmarks/concepts.py measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from posemoe_edge.runtime.plotting import LEFT, RIGHT, Lines
from posemoe_edge.runtime.plotting.figure import (
    GRID,
    INK,
    TEXT_PT,
    TORSO,
    WIDTH_IN,
    add_colour_key,
    new_figure,
    save,
)
from posemoe_edge.runtime.pose.skeleton import H36M17

Result = Mapping[str, Any]

STATE_SHOWN_S = 3.0
GAP_SHOWN_S, GAP_COUNTED_S = 1.0, 0.25
"""The gap that is drawn, of those that were measured; and how long after it errors are counted."""

STATES = {"kept": "state kept as it was", "faded": "state faded by the time", "reset": "state reset"}
"""What is done to the state at a gap -> its name."""


def drift(result: Result) -> Lines:
    """Distance of each graph from PyTorch over the age of the streams."""
    points = len(next(iter(result["drift_mm"].values())))
    return Lines(
        x=(np.arange(points) + 0.5) * result["frames"] / points,
        y={name.upper(): curve for name, curve in result["drift_mm"].items()},
        limits={"budget": result["budget_mm"]},
        title=f"{result['model']}: distance from PyTorch over {result['frames']:,} frames",
        x_label="age of the stream (frames)",
        y_label="mean over joints (mm)",
        log=True,
    )


def state(result: Result) -> Lines:
    """How far two disturbances take the pose, and for how long."""
    frames = round(STATE_SHOWN_S * result["fps"])
    names = {"outlier": f"after {result['outlier_frames']} wrong frames", "late": "of a stream that joined at 0 s"}
    return Lines(
        x=np.arange(frames) / result["fps"],
        y={text: result[f"{name}_mm"][:frames] for name, text in names.items()},
        limits={"error of the model itself": result["own_error_mm"], "1 mm": 1.0},
        title="Distance from the pose of the undisturbed stream",
        x_label="time since the disturbance began (s)",
        y_label="mean over joints (mm)",
        log=True,
    )


def gaps(result: Result) -> list[Lines]:
    """The error around a gap by what is done to the state, and what gaps of other lengths cost."""
    row, fps = next(row for row in result["gaps"] if row["gap_s"] == GAP_SHOWN_S), result["fps"]
    before, gap, after = len(row["before_mm"]), round(row["gap_s"] * fps), len(row["no_gap_mm"])
    y = {text: np.concatenate([np.full(before + gap, np.nan), row[f"{name}_mm"]]) for name, text in STATES.items()}
    y["no gap"] = np.concatenate([row["before_mm"], np.full(gap, np.nan), row["no_gap_mm"]])
    first = round(GAP_COUNTED_S * fps)

    def mean_mm(row: Result, name: str) -> float:
        return float(np.mean(row[f"{name}_mm"][:first]))

    around = Lines(
        x=(np.arange(before + gap + after) - before) / fps,
        y=y,
        behind=["no gap"],
        spans={f"no frames for {row['gap_s']:g} s": (0.0, row["gap_s"])},
        title=f"Error around a gap of {row['gap_s']:g} s, the mean of {row['tried']} gaps",
        x_label="time since the gap began (s)",
        y_label="MPJPE (mm)",
    )
    by_length = Lines(
        x=np.arange(len(result["gaps"])),
        y={text: [mean_mm(row, name) - mean_mm(row, "no_gap") for row in result["gaps"]] for name, text in STATES.items()},
        title=f"What gaps cost in the first {GAP_COUNTED_S:g} s after them",
        x_label="length of the gap (s)",
        x_ticks={float(place): f"{row['gap_s']:g}" for place, row in enumerate(result["gaps"])},
        y_label="added MPJPE (mm)",
        measured=True,
    )
    return [around, by_length]


def sigma(result: Result) -> list[Lines]:
    """How often joints are within their standard deviation, and the error by standard deviation."""
    kinds = {"exact": "exact keypoints", "noisy": "noisy keypoints"}
    nominal = np.array(result["nominal_percent"])
    largest = max(max(result[kind]["sigma_mm"]) for kind in kinds)
    # The classes of the two kinds have other standard deviations: one axis holds both, with gaps.
    x = np.sort(np.concatenate([[0.0, largest], *(result[kind]["sigma_mm"] for kind in kinds)]))
    rms = {kind: dict(zip(result[kind]["sigma_mm"], result[kind]["rms_error_mm"], strict=True)) for kind in kinds}
    return [
        Lines(
            x=np.concatenate([[0], nominal, [100]]),
            y={text: [np.nan, *result[kind]["within_percent"], np.nan] for kind, text in kinds.items()}
            | {"perfect": np.concatenate([[0], nominal, [100]])},
            behind=["perfect"],
            title="Joints within 0.25 to 3 sigma of the truth",
            x_label="expected share (%)",
            y_label="measured share (%)",
            measured=True,
        ),
        Lines(
            x=x,
            y={text: [rms[kind].get(sigma_mm, np.nan) for sigma_mm in x] for kind, text in kinds.items()} | {"perfect": x},
            behind=["perfect"],
            title="Error of joints, by their sigma",
            x_label="sigma (mm)",
            y_label="root mean square error (mm)",
            from_zero=True,
            measured=True,
            joined=False,
        ),
    ]


def draw_view(path: Path, result: Result) -> None:
    """A row for each camera: the person in its picture, and in the view that the lifter makes of it."""
    rows, (width_px, height_px) = result["cameras"], result["picture_px"]
    side_in, top_in = 2.1, 0.36  # the height of a picture, and the room for the key
    row_in = side_in + 0.36
    height_in = top_in + row_in * len(rows)
    figure = new_figure(WIDTH_IN, height_in)
    add_colour_key(figure, {"left": LEFT, "right": RIGHT, "torso": TORSO}, x=0.02, y=1 - 0.1 / height_in)
    size = 1.1 * max(float(np.abs(row["view"]).max()) for row in rows)
    for i, row in enumerate(rows):
        bottom = 1 - (top_in + row_in * (i + 1) - 0.1) / height_in
        picture = figure.add_axes((0.02, bottom, side_in * width_px / height_px / WIDTH_IN, side_in / height_in))
        view = figure.add_axes((0.98 - side_in / WIDTH_IN, bottom, side_in / WIDTH_IN, side_in / height_in))
        up_deg = -row["pitch_deg"]
        angles = (
            f"{row['fov_deg']:g}° wide, rolled {row['roll_deg']:g}°, pitched {'up' if up_deg > 0 else 'down'} {abs(up_deg):g}°"
        )
        _frame(picture, (0, width_px), (height_px, 0), f"A camera {angles}")
        _frame(view, (-size, size), (size, -size), "What the model sees")
        _draw_person(picture, np.array(row["pixels"]))
        _draw_person(view, np.array(row["view"]))
        figure.text(0.615, bottom + 0.5 * side_in / height_in, "→", fontsize=22, ha="center", va="center", color=INK)
    save(figure, path)


def _frame(axes: Any, x: tuple[float, float], y: tuple[float, float], title: str) -> None:
    """Axes as the edge of a picture, with the same scale in both directions."""
    axes.set_xlim(*x)
    axes.set_ylim(*y)
    axes.set_aspect("equal", anchor="W")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("#F7F7F7")
    axes.set_title(title, fontsize=TEXT_PT, loc="left", color=INK)
    for spine in axes.spines.values():
        spine.set_color(INK)
    axes.axhline(sum(y) / 2, color=GRID, linewidth=0.8, zorder=0)
    axes.axvline(sum(x) / 2, color=GRID, linewidth=0.8, zorder=0)


def _draw_person(axes: Any, xy: NDArray[Any]) -> None:
    """Bones (17, 2), left and right in their colours."""
    for parent, child in H36M17.bones:
        colour = LEFT if child in H36M17.left else RIGHT if child in H36M17.right else TORSO
        axes.plot(*xy[[parent, child]].T, color=colour, linewidth=2.4, solid_capstyle="round")
    axes.scatter(xy[:, 0], xy[:, 1], s=7, color="white", edgecolors=TORSO, linewidths=0.7, zorder=3)
