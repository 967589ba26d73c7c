"""The first keypoints of a source are looked at while it goes, since nothing can be looked at before."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from ..pose.keypoints import Keypoints
from .base import People, Source, SourceItem
from .keypoint_doubts import keypoint_doubts

WATCHED = 50
"""How many keypoints are looked at, each of one person in one frame: a second of one person."""

log = logging.getLogger(__name__)


def watched(source: Source) -> Iterator[SourceItem]:
    """The items of a source. What is odd about the first keypoints of all people is logged, once.

    Nothing is refused here: the stream refuses the frames that cannot be, and others may follow. Sources of pictures, and those
    that were looked at as a whole, are left alone.
    """
    if source.pictures or getattr(source, "checked", False):
        yield from source
        return
    name, seen, told = source.info.name, list[Keypoints](), False
    try:
        for item in source:
            if isinstance(item, People) and not told:
                seen.extend(item.keypoints.values())
                if len(seen) >= WATCHED:
                    _tell(name, seen)
                    told = True
            yield item
    finally:
        if not told:
            _tell(name, seen)


def _tell(name: str, keypoints: list[Keypoints]) -> None:
    for doubt in keypoint_doubts(keypoints):
        log.warning("%s: %s", name, doubt)
