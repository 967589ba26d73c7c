"""BlazePose through LiteRT: several people, each with 33 landmarks, of which COCO-17's joints are kept.

Two networks. The first finds people in the whole picture: for each the middle of the hips, and a point on the circle around
the whole body, straight above the hips if the person stands. The second finds the landmarks of one person in the square
around that circle, turned so that the person is upright in it, and the same two points for the next frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, F64, ImageBgr
from ..errors import UsageError
from ..pose.keypoints import ImageSize
from ..pose.skeleton import COCO17, Skeleton
from ..registry import suggest
from .anchors import anchors
from .base import Detection, check_picture
from .litert import LiteRtNetwork
from .models import DEFAULT, MODELS, POSE_LANDMARKS, ModelFile, get_command
from .region import Region, crop
from .suppression import weighted_suppression

MIN_SCORE = 0.5
"""Least confidence of a person, in the first network and in the second."""

MARGIN = 1.25
"""Side of a region in diameters of the circle around the body, as the landmark network was trained."""

_FIND_PX, _OVERLAP = 224, 0.3
_ANCHOR_LAYERS = ((8, 2), (16, 2), (32, 6))  # pixels between two anchors, anchors at each place
_LANDMARKS_PX, _LANDMARKS = 256, 39
_HEATMAP_PX, _HEATMAP_REACH, _HEATMAP_SCORE = 64, 3, 0.5

_COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)  # COCO-17's joints among BlazePose's landmarks
_HIPS, _CIRCLE = 33, 34  # the landmarks that give the next region


class BlazePose:
    """BlazePose with its person detection, a detector in two stages.

    Args:
        variant: of the landmark network: ``lite``, ``full`` or ``heavy``; "" is ``full``.
        threads: processor threads of each network.

    Raises:
        UsageError: there is no such variant.
        MissingError: the networks are not in the cache, or LiteRT is not installed.
        ArtefactError: a file in the cache is not the network that it should be.
    """

    skeleton: Skeleton = COCO17

    def __init__(self, variant: str = "", *, threads: int = 1) -> None:
        self.variant = variant or DEFAULT["blazepose"]
        if self.variant not in POSE_LANDMARKS:
            raise UsageError(
                f"no variant {self.variant!r} of blazepose{suggest(self.variant, POSE_LANDMARKS)}",
                expected=f"one of {', '.join(f'blazepose:{name}' for name in POSE_LANDMARKS)}",
            )
        person_file, landmark_file = MODELS[f"blazepose:{self.variant}"]
        self._persons = self._open(person_file, threads)
        self._landmarks = self._open(landmark_file, threads)
        self._anchors = anchors(_FIND_PX, _ANCHOR_LAYERS)  # (2254, 2)

    def _open(self, file: ModelFile, threads: int) -> LiteRtNetwork:
        content = file.read(run=get_command(f"blazepose:{self.variant}"))
        purpose, expected = "the detector blazepose", f"{file.name} of {file.package}"
        return LiteRtNetwork(content, name=str(file.path), expected=expected, purpose=purpose, threads=threads)

    def find(self, image_bgr: ImageBgr) -> list[Region]:
        """The turned square around each person, the most certain first."""
        check_picture(image_bgr)
        whole = Region.whole(image_bgr)
        self._persons.run(_network_input(image_bgr, whole, _FIND_PX) * 2 - 1)
        scores = _sigmoid(self._persons.output("Identity_1")[0, :, 0])
        likely = scores >= MIN_SCORE
        # Middle, width and height of a box, then x and y of four points, from the anchor, in pixels of the square.
        numbers = self._persons.output("Identity")[0, likely]  # (N, 12)
        middle = numbers[:, :2] + self._anchors[likely]
        boxes = np.concatenate([middle - numbers[:, 2:4] / 2, middle + numbers[:, 2:4] / 2], axis=1)
        points = numbers[:, 4:] + np.tile(self._anchors[likely], 4)
        people = weighted_suppression(boxes, points, scores[likely], overlap=_OVERLAP)
        regions = [_body_region(whole.place(points[:4].reshape(2, 2), _FIND_PX)) for points, _ in people]
        return [region for region in regions if region is not None]

    def detect(self, image_bgr: ImageBgr, *, regions: Sequence[Region] | None = None) -> list[Detection]:
        """The people in the regions, or in the whole picture."""
        if regions is None:
            regions = self.find(image_bgr)
        check_picture(image_bgr)
        size = ImageSize.of(image_bgr)
        found = [self._detect_person(image_bgr, region, size) for region in regions]
        return [person for person in found if person is not None]

    def _detect_person(self, image_bgr: ImageBgr, region: Region, size: ImageSize) -> Detection | None:
        """The person in a region, or None if nobody is there."""
        self._landmarks.run(_network_input(image_bgr, region, _LANDMARKS_PX))
        score = float(self._landmarks.output("Identity_1")[0, 0])
        if not score >= MIN_SCORE:
            return None
        landmarks = self._landmarks.output("Identity").reshape(_LANDMARKS, 5)  # x, y, z, visibility, presence
        _refine(landmarks, self._landmarks.output("Identity_3")[0])
        xy = region.place(landmarks[:, :2], _LANDMARKS_PX)
        inside = ((xy >= 0) & (xy <= (size.width_px, size.height_px))).all(axis=1)
        visibility = np.where(inside, _sigmoid(landmarks[:, 3]), 0)
        points = np.concatenate([xy, visibility[:, None]], axis=1).astype(np.float32)[list(_COCO)]
        return Detection.from_coco(points, size=size, score=min(score, 1.0), region=_body_region(xy[[_HIPS, _CIRCLE]]))


def _network_input(image_bgr: ImageBgr, region: Region, size_px: int) -> F32:
    """(1, S, S, 3) red first, from 0 to 1."""
    rgb = crop(image_bgr, region, size_px)[None, :, :, ::-1]
    return rgb.astype(np.float32) / np.float32(255)


def _body_region(points_px: F64) -> Region | None:
    """The region of a person from the middle of the hips and a point above it on the circle around the body, (2, 2)."""
    (x, y), (x_up, y_up) = points_px.tolist()
    radius = math.hypot(x_up - x, y_up - y)
    if not (math.isfinite(radius) and radius > 0):
        return None
    return Region(x, y, 2 * MARGIN * radius, math.atan2(x_up - x, y - y_up))


def _refine(landmarks: F32, heatmaps: F32) -> None:
    """Move landmarks to the middle of the probability around them, as MediaPipe does.

    Args:
        landmarks: (39, 5), changed in place: x and y in pixels of the crop.
        heatmaps: (64, 64, 39) logits.
    """
    scale = _LANDMARKS_PX / _HEATMAP_PX
    for joint, (x, y) in enumerate(landmarks[:, :2] / scale):
        if not (0 <= x < _HEATMAP_PX and 0 <= y < _HEATMAP_PX):
            continue
        top, left = max(0, int(y) - _HEATMAP_REACH), max(0, int(x) - _HEATMAP_REACH)
        around = _sigmoid(heatmaps[top : int(y) + _HEATMAP_REACH + 1, left : int(x) + _HEATMAP_REACH + 1, joint])
        if around.max() >= _HEATMAP_SCORE:
            rows, columns = np.indices(around.shape)
            weights = around / around.sum()
            landmarks[joint, :2] = scale * (left + (columns * weights).sum()), scale * (top + (rows * weights).sum())


def _sigmoid(logits: NDArray[np.floating]) -> F32:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)
