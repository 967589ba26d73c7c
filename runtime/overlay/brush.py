"""Smooth lines, dots and words on a picture, through OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arrays import ImageBgr
from ..errors import missing_extra

Colour = tuple[int, int, int]
"""Blue, green, red."""

# Okabe and Ito's light blue and orange, which colour-blind readers can tell apart, on photographs and on a dark ground.
LEFT: Colour = (240, 190, 80)
RIGHT: Colour = (40, 140, 250)
TORSO: Colour = (240, 240, 240)
GUESSED: Colour = (150, 150, 150)
GROUND: Colour = (30, 25, 22)
BLANK: Colour = (44, 38, 34)
GRID: Colour = (64, 56, 50)
INK: Colour = (236, 232, 228)
FAINT_INK: Colour = (160, 150, 142)
EDGE: Colour = (20, 16, 14)

_FRACTION_BITS = 4  # of the sixteenths of a pixel in which OpenCV draws
_LARGEST_PX = 16_000  # OpenCV draws nothing sensible beyond the range of its integers


class Brush:
    """Draws on pictures (H, W, 3) uint8, blue first, in place.

    Raises:
        MissingError: OpenCV is not installed.
    """

    def __init__(self) -> None:
        try:
            import cv2
        except ImportError:
            raise missing_extra("opencv-python-headless", "camera", "drawing on pictures") from None
        self.cv2: Any = cv2

    def line(self, image: ImageBgr, start: Sequence[float], end: Sequence[float], colour: Colour, width: int) -> None:
        """A line between two points in pixels."""
        if _drawable(start) and _drawable(end):
            self.cv2.line(image, _fixed(start), _fixed(end), colour, width, self.cv2.LINE_AA, _FRACTION_BITS)

    def dot(self, image: ImageBgr, centre: Sequence[float], colour: Colour, radius: float) -> None:
        """A filled circle."""
        if _drawable(centre):
            size = round(radius * (1 << _FRACTION_BITS))
            self.cv2.circle(image, _fixed(centre), size, colour, -1, self.cv2.LINE_AA, _FRACTION_BITS)

    def words(self, image: ImageBgr, text: str, corner: Sequence[float], colour: Colour = INK, *, height: int = 14) -> None:
        """Text whose baseline begins at a corner; capitals are ``height`` pixels high."""
        at = (round(corner[0]), round(corner[1]))
        font, scale = self.cv2.FONT_HERSHEY_DUPLEX, height / 22
        self.cv2.putText(image, text, at, font, scale, colour, 1, self.cv2.LINE_AA)

    def width_of(self, text: str, *, height: int = 14) -> int:
        """How many pixels ``words`` takes to the right."""
        return int(self.cv2.getTextSize(text, self.cv2.FONT_HERSHEY_DUPLEX, height / 22, 1)[0][0])

    def tag(self, image: ImageBgr, text: str, foot: Sequence[float], *, height: int = 14) -> None:
        """Text on a dark label whose lower edge has its middle at ``foot``, kept inside the picture."""
        if not _drawable(foot):
            return
        pad = height // 2
        wide, tall = self.width_of(text, height=height) + 2 * pad, height + 2 * pad
        left = min(max(0, round(foot[0] - wide / 2)), max(0, image.shape[1] - wide))
        bottom = min(max(tall, round(foot[1])), image.shape[0])
        self.cv2.rectangle(image, (left, bottom - tall), (left + wide, bottom), EDGE, -1)
        self.words(image, text, (left + pad, bottom - pad), height=height)


def _drawable(point: Sequence[float]) -> bool:
    return abs(point[0]) < _LARGEST_PX and abs(point[1]) < _LARGEST_PX  # False for a number that is not finite


def _fixed(point: Sequence[float]) -> tuple[int, int]:
    return round(point[0] * (1 << _FRACTION_BITS)), round(point[1] * (1 << _FRACTION_BITS))
