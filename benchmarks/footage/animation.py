"""The moving picture of ``benchmarks/real.py``: a clip in real time, as 2D keypoints, a pose in 3D, and a path on the floor.

The photographs are left out. The cameras follow one another, and the room stays the same: what changes with the camera is what
one camera alone can know.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.artefact.atomic import AtomicFile
from posemoe_edge.runtime.errors import MissingError
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.overlay.figure2d import lines_of
from posemoe_edge.runtime.plotting.figure import DARK_INK, GUESSED, INK, LEFT, RIGHT, TORSO, new_figure
from posemoe_edge.runtime.plotting.skeletons import BALL
from posemoe_edge.runtime.pose.keypoints import Keypoints
from posemoe_edge.runtime.pose.skeleton import COCO_TO_H36M, H36M17, Skeleton
from posemoe_edge.runtime.pose.types import GUESSED_BELOW

from .clips import FPS, ClipView
from .ours import candidates
from .scoring import IN_COCO, IN_H36M, nearest

STEP = 4
"""Every fourth frame of 60 a second is drawn: 15 a second."""

SIZE_IN, PICTURE_DPI = (9.0, 4.7), 100
_TRUE = "#8A8A8A"
_FAINT, _GROUND = "#E4E4E4", "#F3F3F1"
_VEIL = 0.22  # opacity of standard deviations
_PATH = "#009E73"  # green: neither the left nor the right side
_DOWN_DEG, _TURN_DEG, _SWING_DEG = 10.0, 226.0, 25.0  # where the viewer of the 3D pose stands, and how far they swing
_HIPS = [H36M17.joints.index("left_hip"), H36M17.joints.index("right_hip")]
_TRUE_PARTS = COCO_TO_H36M["coco_eyes"]  # (17, 17) the joints of the truth in the pose's order
_GRID_M = 0.25
_BOTTOM, _HEIGHT = 0.15, 0.72  # of the panels, as shares of the picture


@dataclass(frozen=True, eq=False)
class Instant:
    """What is known of the person in one frame of one camera; positions in metres in the room, z up.

    Args:
        keypoints: as the detector found them.
        pose_m: (17, 3) the lifted joints, from the middle of the hips.
        sigma_m: (17,) their standard deviations; zeros from a model without them.
        truth_m: (17, 3) the true joints, from the middle of the hips.
        hip_m: (3,) where the hip is.
        hip_covariance: (2, 2) of it on the floor, square metres.
        true_hip_m: (3,) where it truly is.
        error_mm: mean distance of the 12 joints of the limbs, hips on hips.
    """

    keypoints: Keypoints
    pose_m: F64
    sigma_m: F64
    truth_m: F64
    hip_m: F64
    hip_covariance: F64
    true_hip_m: F64
    error_mm: float

    @property
    def off_mm(self) -> float:
        """How far the hip is from the true one, on the floor."""
        return 1000 * float(np.linalg.norm((self.hip_m - self.true_hip_m)[:2]))


@dataclass(frozen=True, eq=False)
class Shot:
    """All frames of one camera; None where the person was not found or has no place in the room."""

    view: ClipView
    instants: Sequence[Instant | None]


def read_shot(view: ClipView, frames: Iterator[PoseFrame], truth: F64) -> Shot:
    """What a run with a known camera found of the true person, (T, 17, 3) COCO-17 in world metres."""
    return Shot(view, [_instant(view, frame, joints) for frame, joints in zip(frames, truth, strict=False)])


def _instant(view: ClipView, frame: PoseFrame, truth: F64) -> Instant | None:
    person = nearest(candidates(frame), view.project(truth[IN_COCO]))
    pose = None if person is None else frame.poses[person.person]
    if pose is None or pose.root is None:
        return None
    turn = view.turn.T  # from the camera's axes to the room's
    pose_m = _from_hips(pose.xyz_m.astype(np.float64) @ view.turn)
    true_joints = _TRUE_PARTS @ truth
    truth_m = _from_hips(true_joints)
    covariance = turn @ np.diag(pose.root.sigma_m.astype(np.float64) ** 2) @ turn.T
    return Instant(
        keypoints=frame.keypoints[pose.person],
        pose_m=pose_m,
        sigma_m=np.zeros(len(pose_m)) if pose.sigma_m is None else pose.sigma_m.astype(np.float64),
        truth_m=truth_m,
        hip_m=turn @ pose.root.xyz_m.astype(np.float64) + view.eye_m,
        hip_covariance=covariance[:2, :2],
        true_hip_m=true_joints[_HIPS].mean(axis=0),
        error_mm=1000 * float(np.linalg.norm(pose_m - truth_m, axis=1)[IN_H36M].mean()),
    )


def _from_hips(joints_m: F64) -> F64:
    return np.asarray(joints_m - joints_m[_HIPS].mean(axis=0))


def write_gif(path: Path, shots: Sequence[Shot], *, detector: str, model: str) -> None:
    """Write the moving picture: one camera after the other, in real time, for ever.

    Raises:
        MissingError: nobody has a place in the room in any frame, or Matplotlib is not installed.
    """
    from PIL import Image  # comes with Matplotlib

    stage = _Stage(shots, detector, model)
    pictures = []
    for number, shot in enumerate(shots):
        for index in range(0, len(shot.instants), STEP):
            with io.BytesIO() as png:
                stage.draw(number, index).savefig(png, format="png", dpi=PICTURE_DPI)
                pictures.append(Image.open(png).convert("RGB"))
    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette())  # one for all frames, or the ground would flicker
    drawn = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    seconds = np.arange(len(drawn) + 1) * STEP / FPS
    hundredths = np.diff(np.round(100 * seconds)).astype(int)  # a GIF counts in hundredths: 7, 6, 7 ... are 15 a second
    durations = [int(10 * count) for count in hundredths]
    file = AtomicFile(path)
    with file.committing(), file.partial.open("wb") as stream:
        drawn[0].save(stream, "GIF", save_all=True, append_images=drawn[1:], duration=durations, loop=0, optimize=False)


def _palette() -> list[int]:
    """The colours of the picture: every ink, the grounds, and what lies between them at the edges of lines."""
    from matplotlib.colors import to_rgb

    grounds = [np.array(to_rgb(colour)) for colour in ("white", _GROUND)]
    colours = [*grounds, np.array(to_rgb(_FAINT))]
    for ink in (LEFT, RIGHT, TORSO, GUESSED, _TRUE, _PATH, INK, BALL):
        shades = (0.25, 0.5, 0.75, 1.0) if ink != BALL else (_VEIL, 1 - (1 - _VEIL) ** 2, 1 - (1 - _VEIL) ** 3)
        colours += [share * np.array(to_rgb(ink)) + (1 - share) * ground for share in shades for ground in grounds]
    return [int(value) for value in np.round(255 * np.array(colours)).ravel()]


class _Stage:
    """The three panels, whose scales are the same in all frames."""

    def __init__(self, shots: Sequence[Shot], detector: str, model: str) -> None:
        self._shots, self._detector = shots, detector
        self._foot = (
            f"Pose2Sim's demo clip, {len(shots)} cameras in turn, each lifted alone by {model}; real time, no smoothing"
        )
        known = [instant for shot in shots for instant in shot.instants if instant is not None]
        if not known:
            raise MissingError(
                "nobody has a place in the room in any frame", expected="clips of a person, and their calibration"
            )
        bodies = np.concatenate([_standing(joints, one) for one in known for joints in (one.pose_m, one.truth_m)])
        self._reach_m = float(np.hypot(bodies[:, 0], bodies[:, 1]).max())  # from the hip, whichever way the viewer stands
        self._tall_m = float(bodies[:, 2].max())
        hips = np.concatenate([[one.hip_m[:2], one.true_hip_m[:2]] for one in known])
        spread = max(float(np.sqrt(np.linalg.eigvalsh(one.hip_covariance)[-1])) for one in known)
        self._middle_m = (hips.min(axis=0) + hips.max(axis=0)) / 2
        self._half_m = float((hips.max(axis=0) - hips.min(axis=0)).max()) / 2 + 0.6 * spread
        self._frames = [range(0, len(shot.instants), STEP) for shot in shots]

    def draw(self, number: int, index: int) -> Any:
        """The figure of one frame of one camera."""
        shot = self._shots[number]
        instant = shot.instants[index]
        figure = new_figure(*SIZE_IN)
        name = self._detector.replace("blazepose:", "BlazePose ")
        self._head(figure, 0.137, f"2D keypoints, camera {number + 1}/{len(self._shots)}", f"found by {name}")
        if instant is None:
            figure.text(0.137, 0.5, "nobody found", ha="center", color=INK)
        else:
            self._keypoints(figure.add_axes((0.012, _BOTTOM, 0.25, _HEIGHT)), shot, instant)
        self._head(figure, 0.465, "3D pose", "" if instant is None else f"joints {instant.error_mm:.0f} mm off, hips aligned")
        if instant is not None:
            done = sum(map(len, self._frames[:number])) + index // STEP
            turn_deg = _TURN_DEG + _SWING_DEG * float(np.sin(2 * np.pi * done / sum(map(len, self._frames))))
            self._pose(figure.add_axes((0.285, _BOTTOM, 0.36, _HEIGHT)), instant, turn_deg)
        self._head(
            figure,
            0.8275,
            "Path of the hip, from above",
            "" if instant is None else f"{instant.off_mm:.0f} mm off on the floor",
        )
        self._floor(figure.add_axes((0.665, _BOTTOM, 0.325, _HEIGHT)), number, index)
        self._key(figure)
        return figure

    def _head(self, figure: Any, middle: float, title: str, under: str) -> None:
        figure.text(middle, 0.958, title, fontsize=11, weight="bold", ha="center", va="center", color=DARK_INK)
        figure.text(middle, 0.902, under, fontsize=10.5, ha="center", va="center", color=INK)

    def _keypoints(self, axes: Any, shot: Shot, instant: Instant) -> None:
        """The keypoints on a blank ground; the cut-out of the picture stays in place while the camera does."""
        found = [one.keypoints.points for one in shot.instants if one is not None]
        seen = np.concatenate([points[points[:, 2] >= GUESSED_BELOW, :2] for points in found])
        middle, half = (seen.min(axis=0) + seen.max(axis=0)) / 2, (seen.max(axis=0) - seen.min(axis=0)) / 2
        width_in, height_in = 0.25 * SIZE_IN[0], _HEIGHT * SIZE_IN[1]
        half_height = 1.12 * max(half[1], half[0] * height_in / width_in)
        _blank(axes, _GROUND)
        axes.set_xlim(middle[0] - half_height * width_in / height_in, middle[0] + half_height * width_in / height_in)
        axes.set_ylim(middle[1] + half_height, middle[1] - half_height)
        points = instant.keypoints.points
        unsure = points[:, 2] < GUESSED_BELOW
        for a, b in lines_of(instant.keypoints.skeleton):
            colour = GUESSED if unsure[a] or unsure[b] else _side(instant.keypoints.skeleton, a, b)
            axes.plot(points[[a, b], 0], points[[a, b], 1], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.scatter(points[~unsure, 0], points[~unsure, 1], s=12, color="white", edgecolors=TORSO, linewidths=0.9, zorder=3)

    def _pose(self, axes: Any, instant: Instant, turn_deg: float) -> None:
        _blank(axes, "white")
        height_in, width_in = _HEIGHT * SIZE_IN[1], 0.36 * SIZE_IN[0]
        low, high = -0.30 * self._reach_m, self._tall_m + 0.22
        half = (high - low) / 2 * width_in / height_in
        axes.set_xlim(-half, half)
        axes.set_ylim(low, high)
        for start, end in _floor_grid(0.75):
            line = _seen(np.array([start, end]), turn_deg)
            axes.plot(line[:, 0], line[:, 1], color=_FAINT, linewidth=0.8, zorder=0)
        ours = _seen(_standing(instant.pose_m, instant), turn_deg)
        truth = _seen(_standing(instant.truth_m, instant), turn_deg)
        angle = np.linspace(0, 2 * np.pi, 25)
        for (x, y, _), radius in zip(ours, instant.sigma_m, strict=True):
            axes.fill(x + radius * np.cos(angle), y + radius * np.sin(angle), color=BALL, alpha=_VEIL, linewidth=0, zorder=1)
        for a, b in H36M17.bones:
            axes.plot(truth[[a, b], 0], truth[[a, b], 1], color=_TRUE, linewidth=1.6, solid_capstyle="round", zorder=2)
        for a, b in sorted(H36M17.bones, key=lambda bone: float(ours[list(bone), 2].sum())):  # distant bones first
            axes.plot(ours[[a, b], 0], ours[[a, b], 1], color="white", linewidth=5.0, solid_capstyle="butt", zorder=3)
            colour = _side(H36M17, b)
            axes.plot(ours[[a, b], 0], ours[[a, b], 1], color=colour, linewidth=3.2, solid_capstyle="round", zorder=3)

    def _floor(self, axes: Any, number: int, index: int) -> None:
        width_in, height_in = 0.325 * SIZE_IN[0], _HEIGHT * SIZE_IN[1]
        _blank(axes, _GROUND)
        half = np.array([1.0, height_in / width_in]) * self._half_m
        low, high = self._middle_m - half, self._middle_m + half
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        for axis, line in ((0, axes.axvline), (1, axes.axhline)):
            for place in np.arange(np.ceil(low[axis] / _GRID_M), np.floor(high[axis] / _GRID_M) + 1) * _GRID_M:
                line(place, color="white", linewidth=1.2, zorder=0)
        instants = self._shots[number].instants
        shown = instants[: index + 1]
        axes.plot(*_path([None if one is None else one.true_hip_m for one in shown]), color=_TRUE, linewidth=2.2)
        axes.plot(*_path([None if one is None else one.hip_m for one in shown]), color=_PATH, linewidth=2.6)
        instant = instants[index]
        if instant is not None:
            values, vectors = np.linalg.eigh(instant.hip_covariance)
            angle = np.linspace(0, 2 * np.pi, 49)
            ring = instant.hip_m[:2] + (np.stack([np.cos(angle), np.sin(angle)], 1) * np.sqrt(values)) @ vectors.T
            axes.fill(*ring.T, color=BALL, alpha=_VEIL, linewidth=0)
            axes.scatter(*instant.true_hip_m[:2], s=34, color=_TRUE, zorder=4)
            axes.scatter(*instant.hip_m[:2], s=44, color=_PATH, edgecolors="white", zorder=5)
            self._arrow(axes, number, instant, low, high)
        left, bottom = low + 0.05 * (high - low)
        axes.plot([left, left + 2 * _GRID_M], [bottom, bottom], color=DARK_INK, linewidth=2.2, solid_capstyle="butt")
        above = bottom + 0.012 * (high - low)[1]
        axes.text(left, above, f"{2 * _GRID_M:g} m", fontsize=10, color=DARK_INK, va="bottom")

    def _arrow(self, axes: Any, number: int, instant: Instant, low: F64, high: F64) -> None:
        """Where the camera is, and how far: along this line a camera is least sure."""
        eye = self._shots[number].view.eye_m
        away = eye[:2] - instant.hip_m[:2]
        ahead = away / np.linalg.norm(away)
        limits = np.where(ahead > 0, high - instant.hip_m[:2], low - instant.hip_m[:2]) / np.where(ahead == 0, 1e-9, ahead)
        tip = instant.hip_m[:2] + 0.86 * float(limits.min()) * ahead
        start = instant.hip_m[:2] + 0.6 * (tip - instant.hip_m[:2])
        style = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", xy=tip, xytext=start, arrowprops=style, zorder=6)
        distance = float(np.linalg.norm(eye - instant.hip_m))
        right, bottom = high[0] - 0.05 * (high - low)[0], low[1] + 0.05 * (high - low)[1]
        words = f"arrow: to the camera,\n{distance:.1f} m away"
        axes.text(right, bottom, words, fontsize=10, color=INK, ha="right", va="bottom")

    def _key(self, figure: Any) -> None:
        from matplotlib.lines import Line2D

        names = {
            "left": LEFT,
            "right": RIGHT,
            "trunk": TORSO,
            "hip": _PATH,
            "truth, from four cameras": _TRUE,
            "±1 standard deviation": BALL,
        }
        handles = []
        for label, colour in names.items():
            style: dict[str, Any] = {"linewidth": 8.0, "alpha": 1 - (1 - _VEIL) ** 2} if colour == BALL else {"linewidth": 2.8}
            handles.append(Line2D([], [], color=colour, label=label, **style))
        figure.legend(
            handles=handles,
            loc="center",
            bbox_to_anchor=(0.5, 0.105),
            ncols=len(handles),
            frameon=False,
            fontsize=10.5,
            labelcolor=INK,
            handlelength=1.1,
            columnspacing=1.5,
            handletextpad=0.5,
        )
        figure.text(0.5, 0.04, self._foot, fontsize=10, color=INK, ha="center", va="center")


def _standing(joints_m: F64, instant: Instant) -> F64:
    """Joints from the hips, above the floor by the true height of the hips."""
    return np.asarray(joints_m + np.array([0.0, 0.0, instant.true_hip_m[2]]))


def _seen(points_m: F64, turn_deg: float) -> F64:
    """Points in the room as a viewer sees them who looks from that side and a little down: right, up, towards the viewer."""
    sin, cos = np.sin(np.radians(turn_deg)), np.cos(np.radians(turn_deg))
    low, far = np.sin(np.radians(_DOWN_DEG)), np.cos(np.radians(_DOWN_DEG))
    to_viewer = np.array([[-sin, cos, 0], [-low * cos, -low * sin, far], [far * cos, far * sin, low]])
    return np.asarray(points_m @ to_viewer.T)


def _floor_grid(half_m: float) -> list[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """Lines every quarter of a metre about the hip."""
    places = np.arange(-half_m, half_m + 1e-9, _GRID_M)
    across = [((x, -half_m, 0.0), (x, half_m, 0.0)) for x in places]
    return across + [((-half_m, y, 0.0), (half_m, y, 0.0)) for y in places]


def _path(places: Sequence[F64 | None]) -> tuple[F64, F64]:
    """x and y of a path on the floor; a gap where nothing is known."""
    points = np.array([(np.nan, np.nan) if place is None else place[:2] for place in places])
    return points[:, 0], points[:, 1]


def _side(skeleton: Skeleton, *joints: int) -> str:
    """The colour of a joint or a line: of the left or the right side, if all of it is there."""
    return LEFT if set(joints) <= set(skeleton.left) else RIGHT if set(joints) <= set(skeleton.right) else TORSO


def _blank(axes: Any, colour: str) -> None:
    """Axes with a ground and nothing else."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(colour)
    for spine in axes.spines.values():
        spine.set_visible(False)
