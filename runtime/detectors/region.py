"""Regions: turned squares of a picture in which a network looks for one person, and the crops that it sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64, ImageBgr
from ..errors import FrameError, missing_extra

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

_SAME_DIRECTION_RAD = 0.35
_MOST_REDUCTION = 2.0  # bilinear interpolation skips pixels where a picture shrinks by more than this


@dataclass(frozen=True)
class Region:
    """A square of a picture, which may be turned and may reach beyond the picture's edges.

    Args:
        x_px, y_px: its middle.
        side_px: above 0.
        angle_rad: of its upward direction, clockwise from the picture's.

    Raises:
        FrameError: a number that is not finite, or a side that is not above 0.
    """

    x_px: float
    y_px: float
    side_px: float
    angle_rad: float = 0.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.x_px, self.y_px, self.side_px, self.angle_rad))) or self.side_px <= 0:
            raise FrameError(f"the region {self}", expected="finite numbers and a side above 0")

    @classmethod
    def around(cls, box: Box, *, margin: float = 1.0, aspect: float = 1.0) -> Region:
        """The upright square around the middle of a box, ``margin`` times as large as its longer side, at least a pixel.

        Args:
            box: in pixels.
            margin: of the square.
            aspect: width / height of the middle of the square that is to hold the box: that of an oblong crop.
        """
        left, top, right, bottom = box
        side = max(1.0, margin * max((right - left) / min(1.0, aspect), (bottom - top) * max(1.0, aspect)))
        return cls((left + right) / 2, (top + bottom) / 2, side)

    @classmethod
    def whole(cls, image: ImageBgr, *, aspect: float = 1.0) -> Region:
        """The upright square around a whole picture (H, W, 3); ``aspect`` as for ``around``."""
        height, width = image.shape[:2]
        return cls.around((0.0, 0.0, float(width), float(height)), aspect=aspect)

    @property
    def box(self) -> Box:
        """The upright box around it."""
        half = self.side_px / 2 * (abs(math.cos(self.angle_rad)) + abs(math.sin(self.angle_rad)))
        return self.x_px - half, self.y_px - half, self.x_px + half, self.y_px + half

    def meets(self, image: ImageBgr) -> bool:
        """Whether any of a picture (H, W, 3) lies in the box around it."""
        left, top, right, bottom = self.box
        return right > 0 and bottom > 0 and left < image.shape[1] and top < image.shape[0]

    def moved(self, x_px: float, y_px: float) -> Region:
        """The same square elsewhere."""
        return Region(self.x_px + x_px, self.y_px + y_px, self.side_px, self.angle_rad)

    def is_near(self, other: Region) -> bool:
        """Whether both may hold the same person: nearly the same place and direction.

        Two people who pass each other are near each other for a moment, so the bounds are narrow: an eighth of the smaller side
        between the middles, and 0.35 rad.
        """
        distance = math.hypot(self.x_px - other.x_px, self.y_px - other.y_px)
        turn_rad = math.remainder(self.angle_rad - other.angle_rad, 2 * math.pi)
        return distance < min(self.side_px, other.side_px) / 8 and abs(turn_rad) < _SAME_DIRECTION_RAD

    def to_picture(self, width_px: int, height_px: int | None = None) -> F64:
        """(2, 3) from pixels of its crop of that size to pixels of the picture."""
        height_px = height_px or width_px
        scale = self.side_px / max(width_px, height_px)
        cos, sin = scale * math.cos(self.angle_rad), scale * math.sin(self.angle_rad)
        turn = np.array([[cos, -sin], [sin, cos]])
        corner = np.array([self.x_px, self.y_px]) - turn @ (width_px / 2, height_px / 2)
        return np.concatenate([turn, corner[:, None]], axis=1)

    def place(self, xy_px: NDArray[np.floating], width_px: int, height_px: int | None = None) -> F64:
        """(..., 2) pixels of its crop of that size as pixels of the picture."""
        to_picture = self.to_picture(width_px, height_px)
        placed: F64 = xy_px @ to_picture[:, :2].T + to_picture[:, 2]
        return placed


def crop(image: ImageBgr, region: Region, width_px: int, height_px: int | None = None) -> ImageBgr:
    """The picture in a region, upright; black beyond the picture's edges.

    Args:
        image: (H, W, 3).
        region: of the picture.
        width_px: of the crop.
        height_px: of the crop; None for a square. An oblong crop shows the middle of the region, as long as it is.
    """
    height_px = height_px or width_px
    try:
        import cv2
    except ImportError:
        raise missing_extra("opencv-python-headless", "camera", "cropping pictures for a detector") from None
    to_picture = region.to_picture(width_px, height_px)
    reduction = region.side_px / max(width_px, height_px)
    if reduction > _MOST_REDUCTION:
        # Whole blocks of pixels become their mean first, of the part that is needed alone: by a whole number it is fast.
        block = min(math.ceil(reduction / _MOST_REDUCTION), *image.shape[:2])
        left, top = (max(0, math.floor(edge / block - 2) * block) for edge in region.box[:2])  # blocks of one grid
        right, bottom = (math.ceil(edge) + 2 * block for edge in region.box[2:])
        part = image[top : max(bottom, 0), left : max(right, 0)]
        if part.size == 0:
            return np.zeros((height_px, width_px, 3), np.uint8)
        below, beside = -part.shape[0] % block, -part.shape[1] % block
        part = np.asarray(cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_CONSTANT), np.uint8)
        blocks = (part.shape[1] // block, part.shape[0] // block)
        image = np.asarray(cv2.resize(part, blocks, interpolation=cv2.INTER_AREA), np.uint8)
        to_picture[:, 2] -= (left, top)
        to_picture /= block
    # A pixel's middle is at a half: cv2 counts from the middle of the first pixel.
    to_picture[:, 2] += to_picture[:, :2] @ np.full(2, 0.5) - 0.5
    cropped = cv2.warpAffine(image, to_picture, (width_px, height_px), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(cropped, np.uint8)
