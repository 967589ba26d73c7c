"""2D keypoints of one person: in the pixels of a picture, or normalised as the lifters take them.

Normalised means x from -1 at the left edge to 1 at the right edge, and y on the same scale around the picture's middle:
``x / w * 2 - 1`` and ``y / w * 2 - h / w``. Each frame is normalised by itself, never by a whole clip: that cannot stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import F32
from ..errors import FrameError, UsageError
from ..registry import suggest
from .camera import Intrinsics, normalise_by_camera
from .skeleton import COCO17, COCO_TO_H36M, H36M17, Skeleton, coco_to_h36m

MOST_NORMALISED = 20.0
"""No normalised coordinate is larger: it would be ten pictures away. What is larger is in pixels, or garbage that would
overflow in half precision."""

MOST_SCORE = 1.3
"""Scores of some detectors exceed 1 (SimCC's reach 1.12) and count as 1. Larger ones than this are in another unit."""

View = Literal["image", "person"]
"""What a lifter sees: the picture as it is, or the picture of a virtual camera that looks at the person."""


@dataclass(frozen=True)
class ImageSize:
    """Width and height of a picture in pixels; a ``FrameError`` if they are not positive."""

    width_px: float
    height_px: float

    def __post_init__(self) -> None:
        _check_size(self.width_px, self.height_px)

    @classmethod
    def of(cls, image: NDArray[Any]) -> ImageSize:
        """The size of an (H, W, ...) picture."""
        return cls(width_px=image.shape[1], height_px=image.shape[0])


@dataclass(frozen=True, eq=False)
class Keypoints:
    """One person's keypoints in one picture. Numbers that are not finite are allowed: the stream refuses such a frame.

    Args:
        points: (J, 3) x, y, score in [0, 1], float32 or float64; a joint that was not seen has score 0.
        skeleton: the joints' names and order.
        size: size of the picture in whose pixels x and y are; None if x and y are normalised already.
    """

    points: NDArray[np.floating]
    skeleton: Skeleton
    size: ImageSize | None

    def __post_init__(self) -> None:
        """A joint at exactly (0, 0) or (-1, -1) px was not seen, whatever its score: so detectors write it."""
        expected = f"({len(self.skeleton)}, 3) x, y, score of {self.skeleton.name}"
        if self.points.dtype not in (np.float32, np.float64):
            raise FrameError(f"the keypoints are of type {self.points.dtype}", expected="float32 or float64")
        if self.points.shape != (len(self.skeleton), 3):
            raise FrameError(f"the keypoints have shape {self.points.shape}", expected=expected)
        if self.size is not None:
            x, y = self.points[:, 0], self.points[:, 1]
            missing = (x == y) & ((x == 0) | (x == -1)) & (self.points[:, 2] != 0)
            if missing.any():
                points = self.points.copy()
                points[missing, 2] = 0
                object.__setattr__(self, "points", points)

    @classmethod
    def from_coco(cls, points_px: NDArray[np.floating], *, size: ImageSize) -> Keypoints:
        """Keypoints of COCO-17: (17, 3) x and y in pixels, score."""
        return cls(points_px, COCO17, size)

    @classmethod
    def from_arrays(cls, xy_px: ArrayLike, score: ArrayLike, *, skeleton: Skeleton = COCO17, size: ImageSize) -> Keypoints:
        """Keypoints of separate arrays: (J, 2) x and y in pixels, and (J,) scores."""
        xy, scores = np.asarray(xy_px, np.float32), np.asarray(score, np.float32)
        if xy.ndim != 2 or xy.shape[1] != 2 or scores.shape != xy.shape[:1]:
            raise FrameError(f"the keypoints have shapes {xy.shape} and {scores.shape}", expected="(J, 2) x, y and (J,) scores")
        return cls(np.concatenate([xy, scores[:, None]], axis=1), skeleton, size)

    @classmethod
    def from_normalised(cls, points: NDArray[np.floating], *, skeleton: Skeleton = H36M17) -> Keypoints:
        """Keypoints that are normalised already: (J, 3) x, y, score."""
        return cls(points, skeleton, None)

    @property
    def xy(self) -> NDArray[np.floating]:
        """(J, 2) x and y."""
        return self.points[:, :2]

    @property
    def score(self) -> NDArray[np.floating]:
        """(J,) scores."""
        return self.points[:, 2]

    def in_h36m(self, recipe: str) -> NDArray[np.floating]:
        """(17, 3) in Human3.6M order, in the same pixels; the recipe makes them of COCO-17."""
        if self.skeleton == H36M17:
            return self.points
        if self.skeleton != COCO17:
            raise FrameError(f"keypoints of the skeleton {self.skeleton.name}", expected=f"{H36M17.name} or {COCO17.name}")
        if recipe not in COCO_TO_H36M:
            suggestion = suggest(recipe, COCO_TO_H36M)
            raise UsageError(f"no keypoint recipe {recipe!r}{suggestion}", expected=" or ".join(COCO_TO_H36M))
        return coco_to_h36m(self.points, recipe)

    def normalised(self, *, recipe: str = "coco_eyes", view: View = "image", intrinsics: Intrinsics | None = None) -> F32:
        """The keypoints as ``Stream.step`` takes them.

        Args:
            recipe: how COCO-17 becomes Human3.6M-17; the artefact's manifest names the one that it was trained for.
            view: of the lifter, as its manifest says: "image" normalises by the picture's size, "person" by the camera.
            intrinsics: of the camera; None for nominal ones. Keypoints that are normalised already stay as they are.

        Returns:
            (17, 3) float32 normalised x, y, score in Human3.6M order.
        """
        points = self.in_h36m(recipe)
        if self.size is None:
            return points.astype(np.float32, copy=False)
        width_px, height_px = self.size.width_px, self.size.height_px
        if view == "person":
            return normalise_by_camera(points, intrinsics or Intrinsics.nominal(width_px, height_px))
        return normalise_screen(points, width_px=width_px, height_px=height_px)


def normalise_screen(keypoints_px: NDArray[Any], *, width_px: float, height_px: float) -> F32:
    """Pixels to normalised screen coordinates.

    Args:
        keypoints_px: (..., J, 3) x and y in pixels, score in [0, 1].
        width_px, height_px: size of the image.

    Returns:
        (..., J, 3) float32 x, y, score; a joint of score 0 becomes exactly (0, 0, 0).
    """
    points = np.asarray(keypoints_px, np.float64)
    _check_size(width_px, height_px)
    normalised = np.empty(points.shape, np.float32)
    with np.errstate(over="ignore"):  # what is past float32 is infinite, and refused as such
        normalised[..., 0] = points[..., 0] / width_px * 2 - 1
        normalised[..., 1] = points[..., 1] / width_px * 2 - height_px / width_px
        normalised[..., 2] = points[..., 2]
    normalised[points[..., 2] == 0] = 0
    return normalised


def to_pixels(keypoints: NDArray[Any], *, width_px: float, height_px: float) -> F32:
    """Normalised screen coordinates back to pixels: the inverse of ``normalise_screen``.

    Args:
        keypoints: (..., J, 3) normalised x, y and score.
        width_px, height_px: size of the image.

    Returns:
        (..., J, 3) float32 x and y in pixels, score; a joint of score 0 stays (0, 0, 0): where it was is not known.
    """
    points = np.asarray(keypoints, np.float64)
    _check_size(width_px, height_px)
    pixels = np.empty(points.shape, np.float32)
    pixels[..., 0] = (points[..., 0] + 1) * width_px / 2
    pixels[..., 1] = (points[..., 1] + height_px / width_px) * width_px / 2
    pixels[..., 2] = points[..., 2]
    pixels[points[..., 2] == 0] = 0
    return pixels


def check_keypoints(keypoints: ArrayLike, joints: int = 17) -> F32:
    """One person's normalised keypoints in one frame, or a ``FrameError`` that names what is wrong with them.

    Args:
        keypoints: (J, 3) normalised x, y, score; or (J, 2), which means score 1 everywhere.
        joints: the number of joints J.

    Returns:
        (J, 3) float32, always a copy: the caller may reuse its buffer.
    """
    expected = f"({joints}, 3) x, y, score or ({joints}, 2) x, y"
    try:
        with np.errstate(over="ignore"):  # what is past float32 is infinite, and refused as such
            values = np.asarray(keypoints, np.float32)
    except (TypeError, ValueError) as error:
        raise FrameError(f"the keypoints are not an array of numbers ({error})", expected=expected) from None
    if values.shape not in ((joints, 2), (joints, 3)):
        raise FrameError(f"the keypoints have shape {values.shape}", expected=expected)
    points = np.ones((joints, 3), np.float32)
    points[:, : values.shape[1]] = values
    if not np.isfinite(points).all():
        bad = int(np.argmin(np.isfinite(points).all(axis=1)))
        raise FrameError(
            f"joint {bad} of the keypoints is not finite: {points[bad].tolist()}",
            expected="finite numbers; a missing joint is (0, 0, 0)",
        )
    score = points[:, 2]
    if score.min() < 0 or score.max() > MOST_SCORE:
        bad = int(np.argmin((score >= 0) & (score <= MOST_SCORE)))
        raise FrameError(f"joint {bad} of the keypoints has score {points[bad, 2]:g}", expected="scores in [0, 1]")
    np.minimum(score, 1, out=score)
    if np.abs(points[:, :2]).max() > MOST_NORMALISED:
        far = (np.abs(points[:, :2]).max(axis=1) > MOST_NORMALISED) & (score > 0)
        if far.any():
            bad = int(np.argmax(far))
            raise FrameError(
                f"joint {bad} of the keypoints lies at ({points[bad, 0]:g}, {points[bad, 1]:g})",
                expected=f"normalised x and y, at most {MOST_NORMALISED:g}; of pixels, Keypoints.from_coco(...).normalised()",
            )
    return points


def _check_size(width_px: float, height_px: float) -> None:
    if not (width_px > 0 and height_px > 0):
        raise FrameError(f"the image size is {width_px} x {height_px} px", expected="a positive width and height")
