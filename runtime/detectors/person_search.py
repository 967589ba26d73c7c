"""The first stage of BlazePose: where people are in a picture, as turned squares around their whole bodies.

The network sees 224 x 224 pixels, letterboxed. A person who is small in them is found with an imprecise position, and with
a wrong direction at times. Two things help. A person who is tilted or uncertain is looked at a second time, in a square around
them alone, and dropped if nobody is there. And besides the whole picture, parts of it are searched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..arrays import F32, F64, ImageBgr
from .anchors import anchors
from .litert import LiteRtNetwork
from .region import Region, crop
from .suppression import weighted_suppression

MARGIN = 1.25
"""Side of a region in diameters of the circle around the body, as the landmark network was trained."""

MIN_SCORE = 0.5
"""Least confidence of a person."""

MIN_HEIGHT = 0.15
"""Least height of a standing person in heights of the picture."""

MIN_SIDE_PX = 64
"""Least side of a region, about 1.3 times the height of a standing person: with fewer pixels the landmarks are guesses.

Measured on reduced pictures against the landmarks in the full ones: a tenth of the people are more than 1.6 % of their height
off with 64 pixels, 7 % with 48, 16 % with 40, while the network's score stays at 1.
"""

_SIDE_IN_HEIGHTS = 1.3  # of a region, in heights of the person who stands in it
_SIZE_PX, _LAYERS = 224, ((8, 2), (16, 2), (32, 6))  # pixels between two anchors, anchors at each place
_OVERLAP = 0.3
_SAME_PERSON = 0.12  # distance of the shoulders in sides of the smaller region
_AGAIN = 0.4  # least confidence of a second look
_CERTAIN, _UPRIGHT_RAD, _LARGE = 0.9, math.radians(30), 0.8  # need no second look
_MOST_FINDINGS = 24
_PART, _PART_STEP = 0.5, 0.7  # side of a part in heights of the picture, distance of two parts in sides
_MOST_PARTS = 5  # beside each other, without overlap, in a very long picture


@dataclass(frozen=True)
class Finding:
    """A person whom the network has found.

    Args:
        score: in [0, 1].
        shoulders_px: (2,) the middle of the shoulders.
        region: the square around the whole body.
        seen_in: the square in which the network has found them.
    """

    score: float
    shoulders_px: F64
    region: Region
    seen_in: Region

    def is_same(self, other: Finding) -> bool:
        """Whether both are the same person."""
        distance_px = float(np.hypot(*(self.shoulders_px - other.shoulders_px)))
        return distance_px < _SAME_PERSON * min(self.region.side_px, other.region.side_px)


class PersonSearch:
    """Finds people in pictures.

    Args:
        network: BlazePose's person detection.
    """

    def __init__(self, network: LiteRtNetwork) -> None:
        if network.input_shape != (1, _SIZE_PX, _SIZE_PX, 3):
            raise network.unfit()
        self._network = network
        self._anchors = anchors(_SIZE_PX, _LAYERS)  # (2254, 2)

    def find(self, image_bgr: ImageBgr, squares: Iterable[Region]) -> list[Region]:
        """The square around each person who is found in some squares of a picture, the most certain first."""
        findings = [finding for square in squares for finding in self._look(image_bgr, square, least=MIN_SCORE)]
        people: list[Finding] = []
        for finding in sorted(findings, key=lambda finding: -finding.score)[:_MOST_FINDINGS]:
            if not any(map(finding.is_same, people)):  # who is not confirmed may be by another finding of the same person
                person = self._confirmed(image_bgr, finding)
                people += [] if person is None else [person]
        people = distinct(people)
        least_px = max(MIN_SIDE_PX, _SIDE_IN_HEIGHTS * MIN_HEIGHT * image_bgr.shape[0])
        return [person.region for person in people if person.region.side_px >= least_px]

    def _confirmed(self, image_bgr: ImageBgr, finding: Finding) -> Finding | None:
        """The person as a second look sees them, where that helps; None if nobody is there."""
        region, whole_px = finding.region, max(image_bgr.shape[:2])
        large = region.side_px > _LARGE * whole_px and finding.seen_in.side_px >= whole_px
        if large or (finding.score >= _CERTAIN and abs(region.angle_rad) < _UPRIGHT_RAD):
            return finding
        x_px, y_px = finding.shoulders_px.tolist()
        again = self._look(image_bgr, Region(x_px, y_px, region.side_px), least=_AGAIN)
        return next((person for person in again if person.is_same(finding)), None)

    def _look(self, image_bgr: ImageBgr, square: Region, *, least: float) -> list[Finding]:
        """The people in a square of the picture whose score is ``least`` or more, the most certain first."""
        self._network.run(network_input(image_bgr, square, _SIZE_PX) * 2 - 1)
        scores = sigmoid(self._network.output("Identity_1")[0, :, 0])
        likely = scores >= least
        places, scores = self._anchors[likely], scores[likely]
        # The middle, width and height of a box around the head; then x and y of the middle of the hips, a point above it on
        # the circle around the body, and the same two for the shoulders and the upper body. All from the anchor.
        numbers = self._network.output("Identity")[0, likely]  # (N, 12)
        middle, half = numbers[:, :2] + places, numbers[:, 2:4] / 2
        boxes = np.concatenate([middle - half, middle + half], axis=1)
        points = numbers[:, 4:] + np.tile(places, 4)
        findings = []
        for mean, score in weighted_suppression(boxes, points, scores, overlap=_OVERLAP):
            hips, circle, shoulders, _ = square.place(mean.reshape(4, 2), _SIZE_PX)
            region = body_region(hips, circle)
            if region is not None:
                findings.append(Finding(score, shoulders, region, square))
        return findings


def distinct(findings: Iterable[Finding]) -> list[Finding]:
    """The most certain finding of each person, the most certain person first."""
    people: list[Finding] = []
    for finding in sorted(findings, key=lambda finding: -finding.score):
        if not any(map(finding.is_same, people)):
            people.append(finding)
    return people


def parts(image_bgr: ImageBgr) -> list[Region]:
    """Overlapping squares that cover a picture: in them a person of ``MIN_HEIGHT`` is large enough for the network."""
    height_px, width_px = image_bgr.shape[:2]
    side_px = max(min(float(width_px), _PART * height_px), max(width_px, height_px) / _MOST_PARTS)

    def middles(length_px: float) -> Iterator[float]:
        room_px = length_px - side_px
        if room_px <= 0:
            yield length_px / 2
            return
        steps = math.ceil(room_px / (_PART_STEP * side_px))
        yield from (side_px / 2 + room_px * step / steps for step in range(steps + 1))

    return [Region(x_px, y_px, side_px) for y_px in middles(height_px) for x_px in middles(width_px)]


def body_region(hips_px: F64, circle_px: F64) -> Region | None:
    """The region of a person from the middle of the hips and a point above it on the circle around the body, (2,) each."""
    (x, y), (x_up, y_up) = hips_px.tolist(), circle_px.tolist()
    radius = math.hypot(x_up - x, y_up - y)
    if not (math.isfinite(radius) and radius > 0):
        return None
    return Region(x, y, 2 * MARGIN * radius, math.atan2(x_up - x, y - y_up))


def network_input(image_bgr: ImageBgr, region: Region, size_px: int) -> F32:
    """(1, S, S, 3) the picture in a region, red first, from 0 to 1."""
    rgb = crop(image_bgr, region, size_px)[None, :, :, ::-1]
    return rgb.astype(np.float32) / np.float32(255)


def sigmoid(logits: F32) -> F32:
    """The probabilities of logits."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)
