"""The protocol of 2D detectors: a picture in, people with keypoints in pixels out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import ImageBgr
from ..errors import FrameError
from ..pose.keypoints import ImageSize, Keypoints
from ..pose.skeleton import COCO17, Skeleton
from .region import Box, Region

MIN_JOINTS = 6
"""With fewer joints seen there is no person: detectors see one or two joints on an empty wall."""


@dataclass(frozen=True, eq=False)
class Detection:
    """One person in a picture.

    Args:
        keypoints: in pixels, with the picture's size.
        box_px: left, top, right, bottom.
        score: confidence in [0, 1] that there is a person.
        region: where the detector would look for the person in the next frame; None if it looks everywhere.
    """

    keypoints: Keypoints
    box_px: Box
    score: float
    region: Region | None = None

    def __post_init__(self) -> None:
        if self.keypoints.size is None:
            raise FrameError("a detection with normalised keypoints", expected="keypoints in pixels, and the picture's size")
        left, top, right, bottom = self.box_px
        if not all(map(math.isfinite, self.box_px)) or left > right or top > bottom:
            raise FrameError(f"a detection with the box {self.box_px}", expected="finite left <= right and top <= bottom")
        if not 0 <= self.score <= 1:
            raise FrameError(f"a detection with the score {self.score}", expected="a score in [0, 1]")

    @classmethod
    def from_coco(
        cls,
        points_px: NDArray[np.floating],
        *,
        size: ImageSize,
        box_px: Box | None = None,
        score: float | None = None,
        region: Region | None = None,
    ) -> Detection:
        """A detection of COCO-17 keypoints.

        Args:
            points_px: (17, 3) x and y in pixels, score; a joint that was not seen has score 0.
            size: the picture's size.
            box_px: None encloses the joints that were seen.
            score: None is the mean score of the joints that were seen.
            region: where to look next.
        """
        return cls._of(Keypoints.from_coco(points_px, size=size), box_px, score, region)

    @classmethod
    def from_arrays(
        cls,
        xy_px: ArrayLike,
        joint_scores: ArrayLike,
        *,
        skeleton: Skeleton = COCO17,
        size: ImageSize,
        box_px: Box | None = None,
        score: float | None = None,
        region: Region | None = None,
    ) -> Detection:
        """A detection of separate arrays: (J, 2) x and y in pixels, and (J,) scores; the rest is as for ``from_coco``."""
        return cls._of(Keypoints.from_arrays(xy_px, joint_scores, skeleton=skeleton, size=size), box_px, score, region)

    @classmethod
    def _of(cls, keypoints: Keypoints, box_px: Box | None, score: float | None, region: Region | None) -> Detection:
        # Joints that are not finite do not count here; the stream refuses such keypoints by name.
        detected = keypoints.points[np.isfinite(keypoints.points).all(axis=1) & (keypoints.score > 0)]
        if box_px is None:
            corners = (*detected[:, :2].min(axis=0), *detected[:, :2].max(axis=0)) if len(detected) else (0.0, 0.0, 0.0, 0.0)
            box_px = (float(corners[0]), float(corners[1]), float(corners[2]), float(corners[3]))
        if score is None:
            score = float(np.clip(detected[:, 2].mean(), 0, 1)) if len(detected) else 0.0
        return cls(keypoints, box_px, score, region)


@runtime_checkable
class Detector(Protocol):
    """Finds people in a picture. ``skeleton`` is that of its keypoints: COCO-17 or Human3.6M-17."""

    skeleton: Skeleton

    def detect(self, image_bgr: ImageBgr, *, regions: Sequence[Region] | None = None) -> list[Detection]:
        """All people in the picture.

        Args:
            image_bgr: (H, W, 3) uint8, blue first.
            regions: where to look, for one person in each; None is the whole picture. A detector that sees the whole
                picture at once does not need them.
        """
        ...


@runtime_checkable
class RegionDetector(Detector, Protocol):
    """A detector in two stages: regions with people in them, then one person in each.

    A pipeline calls the first stage in some frames only; in the others it knows the regions from the frame before.
    """

    def find(self, image_bgr: ImageBgr) -> list[Region]:
        """Where people are in the picture, the most certain first."""
        ...


def check_picture(image_bgr: ImageBgr) -> None:
    """Raise a ``FrameError`` if this is no picture as detectors take it."""
    if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8 or image_bgr.size == 0:
        raise FrameError(f"the picture is {image_bgr.shape} {image_bgr.dtype}", expected="(H, W, 3) uint8")
