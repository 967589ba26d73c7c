"""BlazePose through LiteRT: several people, each with 33 landmarks, of which COCO-17's joints are kept.

Two networks. The first finds people (``person_search.py``): for each the middle of the hips, and a point on the circle around
the whole body, straight above the hips if the person stands. The second finds the landmarks of one person in the square
around that circle, turned so that the person is upright in it, and the same two points for the next frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import F32, ImageBgr
from ..errors import UsageError
from ..pose.keypoints import ImageSize
from ..pose.skeleton import COCO17, Skeleton
from ..registry import suggest
from .base import Detection, check_picture
from .litert import LiteRtNetwork
from .models import DEFAULT, MODELS, POSE_LANDMARKS, ModelFile, get_command
from .person_search import PersonSearch, body_region, network_input, parts, sigmoid
from .region import Region
from .suppression import is_same_person

MIN_SCORE = 0.5
"""Least confidence of the landmark network that there is a person in a region."""

_SMALLER, _CERTAIN = 0.8, 0.8
"""A region beyond the picture's edge in which nobody is recognised with such certainty is tried once more, reduced so much: the
size of a body that is partly in the picture is overestimated."""

_SIZE_PX, _LANDMARKS = 256, 39
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
        self._search = PersonSearch(self._open(person_file, threads))
        self._network = self._open(landmark_file, threads)
        self._searched: tuple[int, ...] | None = None  # the shape of the last picture that was searched
        self._searches = 0

    def _open(self, file: ModelFile, threads: int) -> LiteRtNetwork:
        content = file.read(run=get_command(f"blazepose:{self.variant}"))
        purpose, expected = "the detector blazepose", f"{file.name} of {file.package}"
        return LiteRtNetwork(content, name=str(file.path), expected=expected, purpose=purpose, threads=threads)

    def find(self, image_bgr: ImageBgr) -> list[Region]:
        """The turned square around each person, the most certain first.

        The first picture is searched as a whole and in all of its parts; later ones of the same size as a whole and in one
        part, the next one in each call. So a small person is found within about fifteen calls, and no later call takes long.
        """
        check_picture(image_bgr)
        squares = parts(image_bgr)
        if self._searched == image_bgr.shape:
            squares = [squares[self._searches % len(squares)]]
            self._searches += 1
        self._searched = image_bgr.shape
        return self._search.find(image_bgr, [Region.whole(image_bgr), *squares])

    def detect(self, image_bgr: ImageBgr, *, regions: Sequence[Region] | None = None) -> list[Detection]:
        """The people in the regions; None searches the whole picture and all of its parts.

        Of several regions with the same person the first one counts.
        """
        check_picture(image_bgr)
        if regions is None:
            regions = self._search.find(image_bgr, [Region.whole(image_bgr), *parts(image_bgr)])
        size = ImageSize.of(image_bgr)
        people: list[Detection] = []
        for region in regions:
            person = self._person(image_bgr, region, size)
            if person is not None and not any(is_same_person(person, other) for other in people):
                people.append(person)
        return people

    def _person(self, image_bgr: ImageBgr, region: Region, size: ImageSize) -> Detection | None:
        """The person in a region, or None if nobody is there."""
        person = self._landmarks(image_bgr, region, size)
        left, top, right, bottom = region.box
        cut = left < 0 or top < 0 or right > size.width_px or bottom > size.height_px
        if not cut or (person is not None and person.score >= _CERTAIN):
            return person
        smaller = Region(region.x_px, region.y_px, _SMALLER * region.side_px, region.angle_rad)
        again = self._landmarks(image_bgr, smaller, size)
        return max(filter(None, (person, again)), key=lambda found: found.score, default=None)

    def _landmarks(self, image_bgr: ImageBgr, region: Region, size: ImageSize) -> Detection | None:
        self._network.run(network_input(image_bgr, region, _SIZE_PX))
        score = float(self._network.output("Identity_1")[0, 0])
        if not score >= MIN_SCORE:
            return None
        landmarks = self._network.output("Identity").reshape(_LANDMARKS, 5)  # x, y, z, visibility, presence
        refine(landmarks, self._network.output("Identity_3")[0])
        xy = region.place(landmarks[:, :2], _SIZE_PX)
        inside = ((xy >= 0) & (xy <= (size.width_px, size.height_px))).all(axis=1)
        visible = np.where(inside, sigmoid(landmarks[:, 3]), 0)
        points = np.concatenate([xy, visible[:, None]], axis=1).astype(np.float32)[list(_COCO)]
        next_region = body_region(xy[_HIPS], xy[_CIRCLE])
        return Detection.from_coco(points, size=size, score=min(score, 1.0), region=next_region)


def refine(landmarks: F32, heatmaps: F32) -> None:
    """Move landmarks to the middle of the probability around them, as MediaPipe does.

    Args:
        landmarks: (39, 5), changed in place: x and y in pixels of the crop.
        heatmaps: (64, 64, 39) logits.
    """
    scale = _SIZE_PX / _HEATMAP_PX
    for joint, (x, y) in enumerate(landmarks[:, :2] / scale):
        if not (0 <= x < _HEATMAP_PX and 0 <= y < _HEATMAP_PX):
            continue
        top, left = max(0, int(y) - _HEATMAP_REACH), max(0, int(x) - _HEATMAP_REACH)
        around = sigmoid(heatmaps[top : int(y) + _HEATMAP_REACH + 1, left : int(x) + _HEATMAP_REACH + 1, joint])
        if around.max() >= _HEATMAP_SCORE:
            rows, columns = np.indices(around.shape)
            weights = around / around.sum()
            landmarks[joint, :2] = scale * (left + (columns * weights).sum()), scale * (top + (rows * weights).sum())
