"""BlazePose through LiteRT: several people, each with 33 landmarks, of which COCO-17's joints are kept.

Two networks. The first finds people (``person_search.py``): for each the middle of the hips, and a point on the circle around
the whole body, straight above the hips if the person stands. The second finds the landmarks of one person in the square
around that circle, turned so that the person is upright in it, and the same two points for the next frame.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ..arrays import F32, ImageBgr
from ..errors import UsageError
from ..pose.keypoints import ImageSize
from ..pose.skeleton import COCO17, Skeleton
from ..registry import suggest
from .base import Detection, check_picture
from .litert import LiteRtNetwork
from .litert_prune import without_outputs
from .models import DEFAULT, MODELS, POSE_LANDMARKS, ModelFile, get_command
from .person_search import PersonSearch, body_region, network_input, parts, sigmoid
from .region import Region
from .suppression import is_same_person

MIN_SCORE = 0.5
"""Least confidence of the landmark network that there is a person in a region."""

_SMALLER, _CERTAIN = 0.8, 0.8
"""Where a region reaches beyond the picture and nobody new is found in it with at least the second number as score, the network
runs once more on the region reduced by the first: the size of a body that is cut off by the picture's edge is overestimated,
and then somebody else in the region may be found."""

_SIZE_PX, _LANDMARKS = 256, 39
_UNREAD = ("Identity_2", "Identity_4")  # the person's outline, and BlazePose's own 3D
_HEATMAP_PX, _HEATMAP_REACH, _HEATMAP_SCORE = 64, 3, 0.5

_COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)  # COCO-17's joints among BlazePose's landmarks
_NEXT = (33, 34)  # the landmarks that give the next region: middle of the hips, and a point on the circle around the body


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
        self._network = self._open(landmark_file, threads, unread=_UNREAD)
        self._searched: tuple[int, ...] | None = None  # the shape of the last picture that was searched
        self._searches = 0

    def _open(self, file: ModelFile, threads: int, *, unread: Collection[str] = ()) -> LiteRtNetwork:
        content = file.read(run=get_command(f"blazepose:{self.variant}"))
        if unread:
            content = without_outputs(content, unread)
        purpose, expected = "the detector blazepose", f"{file.name} of {file.package}"
        return LiteRtNetwork(content, name=str(file.path), expected=expected, purpose=purpose, threads=threads)

    def find(self, image_bgr: ImageBgr) -> list[Region]:
        """The turned square around each person, the most certain first.

        The first picture is searched as a whole and in all of its parts. Of later ones of the same size the whole is searched
        in every second call, and one part, the next one, in those between: so no later call takes long, and a small person is
        found within about thirty.
        """
        check_picture(image_bgr)
        squares = [Region.whole(image_bgr), *parts(image_bgr)]
        if self._searched == image_bgr.shape:
            turn, is_part = divmod(self._searches, 2)
            squares = [squares[1 + turn % (len(squares) - 1)]] if is_part else squares[:1]
            self._searches += 1
        self._searched = image_bgr.shape
        return self._search.find(image_bgr, squares)

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
            person = self._person(image_bgr, region, size, others=people)
            people += [] if person is None else [person]
        return people

    def _person(self, image_bgr: ImageBgr, region: Region, size: ImageSize, *, others: Sequence[Detection]) -> Detection | None:
        """The person in a region who is none of the others, or None."""

        def is_new(person: Detection | None) -> bool:
            return person is not None and not any(is_same_person(person, other) for other in others)

        person = self._landmarks(image_bgr, region, size)
        left, top, right, bottom = region.box
        cut = left < 0 or top < 0 or right > size.width_px or bottom > size.height_px
        if not cut or (person is not None and person.score >= _CERTAIN and is_new(person)):
            return person if is_new(person) else None
        smaller = Region(region.x_px, region.y_px, _SMALLER * region.side_px, region.angle_rad)
        again = self._landmarks(image_bgr, smaller, size)
        return max((found for found in (person, again) if found and is_new(found)), key=lambda found: found.score, default=None)

    def _landmarks(self, image_bgr: ImageBgr, region: Region, size: ImageSize) -> Detection | None:
        self._network.run(network_input(image_bgr, region, _SIZE_PX))
        score = float(self._network.output("Identity_1")[0, 0])
        if not score >= MIN_SCORE:
            return None
        used = [*_COCO, *_NEXT]
        landmarks = self._network.output("Identity").reshape(_LANDMARKS, 5)[used]  # x, y, z, visibility, presence
        xy = region.place(refined(landmarks[:, :2], self._network.output("Identity_3")[0][..., used]), _SIZE_PX)
        inside = ((xy >= 0) & (xy <= (size.width_px, size.height_px))).all(axis=1)
        visible = np.where(inside, sigmoid(landmarks[:, 3]), 0)
        points = np.concatenate([xy, visible[:, None]], axis=1).astype(np.float32)[: len(_COCO)]
        next_region = body_region(*xy[len(_COCO) :])
        return Detection.from_coco(points, size=size, score=min(score, 1.0), region=next_region)


def refined(xy_px: F32, heatmaps: F32) -> F32:
    """The landmarks, moved to the middle of the probability around each, as MediaPipe does.

    Args:
        xy_px: (N, 2) in pixels of the crop.
        heatmaps: (64, 64, N) logits.

    Returns:
        (N, 2). A landmark outside of the crop, or without a place that is likely, stays where it is.
    """
    scale = _SIZE_PX / _HEATMAP_PX
    cells = np.floor(xy_px / scale).astype(int)
    steps = np.arange(-_HEATMAP_REACH, _HEATMAP_REACH + 1)
    columns, rows = cells[:, 0, None] + steps, cells[:, 1, None] + steps  # (N, 7)
    within = ((rows >= 0) & (rows < _HEATMAP_PX))[:, :, None] & ((columns >= 0) & (columns < _HEATMAP_PX))[:, None, :]
    inside = (cells >= 0).all(axis=1) & (cells < _HEATMAP_PX).all(axis=1)
    last = _HEATMAP_PX - 1
    around = heatmaps[rows.clip(0, last)[:, :, None], columns.clip(0, last)[:, None, :], np.arange(len(cells))[:, None, None]]
    weights = np.where(within, sigmoid(around), 0)  # (N, 7, 7)
    moved = inside & (weights.max(axis=(1, 2)) >= _HEATMAP_SCORE)
    total = np.where(moved, weights.sum(axis=(1, 2)), 1)
    x = (weights.sum(axis=1) * columns).sum(axis=1) / total
    y = (weights.sum(axis=2) * rows).sum(axis=1) / total
    return np.where(moved[:, None], scale * np.stack([x, y], axis=1), xy_px).astype(np.float32)
