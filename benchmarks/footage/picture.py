"""The picture of ``benchmarks/real.py``: the keypoints of a frame, and what each system makes of them beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from posemoe_edge.runtime.arrays import F32, F64, ImageBgr
from posemoe_edge.runtime.overlay.brush import BLANK, EDGE, FAINT_INK, GROUND, LEFT, RIGHT, TORSO, Brush, Colour
from posemoe_edge.runtime.overlay.figure2d import draw_keypoints
from posemoe_edge.runtime.pose.keypoints import ImageSize, Keypoints

from .scoring import LIMBS, from_hips

CELL_PX = (250, 380)
_HEAD_PX, _FOOT_PX, _GAP_PX = 34, 26, 6
_TRUTH: Colour = (150, 150, 150)
_LINES = (
    "left_hip right_hip", "left_shoulder right_shoulder", "left_shoulder left_hip", "right_shoulder right_hip",
    "left_hip left_knee", "left_knee left_ankle", "right_hip right_knee", "right_knee right_ankle",
    "left_shoulder left_elbow", "left_elbow left_wrist", "right_shoulder right_elbow", "right_elbow right_wrist",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class PictureRow:
    """One frame of one camera.

    Args:
        title: the camera.
        keypoints: (17, 3) COCO-17 in pixels, as the detector found them.
        size: of the camera's picture.
        image_bgr: the photograph; None leaves it out.
        truth_m: (12, 3) limbs in camera axes.
        systems: name -> (12, 3) limbs; None where it found nobody.
    """

    title: str
    keypoints: F32
    size: ImageSize
    image_bgr: ImageBgr | None
    truth_m: F64
    systems: Mapping[str, F64 | None]


def draw_rows(path: Path, rows: Sequence[PictureRow]) -> None:
    """Write the picture: a line for each row; every system from the camera and from its right, with the truth in grey."""
    brush = Brush()
    lines = [np.concatenate(_cells(brush, row), axis=1) for row in rows]
    gap = np.full((_GAP_PX, lines[0].shape[1], 3), GROUND, np.uint8)
    picture = np.concatenate([part for line in lines for part in (line, gap)])
    foot = np.full((30, picture.shape[1], 3), GROUND, np.uint8)
    left = 12.0
    for name, colour in (("left", LEFT), ("right", RIGHT), ("trunk", TORSO), ("truth", _TRUTH)):
        brush.line(foot, (left, 13), (left + 16, 13), colour, 4)
        brush.words(foot, name, (left + 24, 18), FAINT_INK, height=12)
        left += 24 + brush.width_of(name, height=12) + 20
    brush.cv2.imwrite(str(path), np.concatenate([picture, foot]))


def _cells(brush: Brush, row: PictureRow) -> list[ImageBgr]:
    width, height = CELL_PX
    cells = [_cell(brush, f"{row.title}: 2D", "")]
    part = cells[0][_HEAD_PX : _HEAD_PX + height, :width]
    part[:] = BLANK
    scale, offset = _around(row.keypoints)
    if row.image_bgr is not None:
        to_cell = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
        part[:] = brush.cv2.warpAffine(row.image_bgr, to_cell, (width, height), flags=brush.cv2.INTER_AREA)
    draw_keypoints(brush, part, {0: Keypoints.from_coco(row.keypoints, size=row.size)}, scale=scale, offset=offset)
    truth = from_hips(row.truth_m)
    for name, limbs_m in row.systems.items():
        limbs = None if limbs_m is None else from_hips(limbs_m)
        error = "nobody" if limbs is None else f"{1000 * np.linalg.norm(limbs - truth, axis=1).mean():.0f} mm"
        for view, axes in (("", (0, 1)), ("from the right", (2, 1))):
            cell = _cell(brush, view or name, "" if view else error)
            _draw_limbs(brush, cell, truth[:, axes], grey=True)
            if limbs is not None:
                _draw_limbs(brush, cell, limbs[:, axes], grey=False)
            cells.append(cell)
    return cells


def _around(keypoints: F32) -> tuple[float, tuple[float, float]]:
    """Scale and offset that bring a person, (17, 3) in pixels, into the middle of a cell."""
    xy = keypoints[keypoints[:, 2] > 0, :2].astype(np.float64)
    low, high = xy.min(axis=0), xy.max(axis=0)
    scale = float((0.74 * np.array(CELL_PX) / np.maximum(high - low, 1)).min())
    x, y = np.array(CELL_PX) / 2 - scale * (low + high) / 2
    return scale, (float(x), float(y) + 0.05 * CELL_PX[1])


def _cell(brush: Brush, title: str, foot: str) -> ImageBgr:
    width, height = CELL_PX
    cell: ImageBgr = np.full((_HEAD_PX + height + _FOOT_PX, width, 3), GROUND, np.uint8)
    brush.words(cell, title, (10, 23), height=13)
    brush.words(cell, foot, (10, _HEAD_PX + height + 16), FAINT_INK, height=12)
    return cell


def _draw_limbs(brush: Brush, cell: ImageBgr, limbs_m: F64, *, grey: bool) -> None:
    """Draw limbs (12, 2), metres to the right and down from the hips."""
    width, height = CELL_PX
    points = limbs_m * height / 2.0 + (width / 2, _HEAD_PX + 0.46 * height)
    for line in _LINES:
        a, b = line.split()
        colour = TORSO if a[0] != b[0] else LEFT if a[0] == "l" else RIGHT
        start, end = points[LIMBS.index(a)], points[LIMBS.index(b)]
        if grey:
            brush.line(cell, start, end, _TRUTH, 6)
        else:
            brush.line(cell, start, end, EDGE, 5)
            brush.line(cell, start, end, colour, 3)
