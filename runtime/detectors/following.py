"""What detectors of one person in a region share: without a search of their own they begin with the whole picture."""

from __future__ import annotations

from collections.abc import Sequence

from ..arrays import ImageBgr
from ..pose.skeleton import COCO17, Skeleton
from .base import Detection, check_picture
from .region import Region


class FollowingDetector:
    """A detector that finds one person in each region, and says where to look for that person in the next frame.

    The region to begin with is the whole picture. It is looked at only where no other region holds a person: the one
    person that it shows is the same as theirs, seen with fewer pixels. Who is found in it is looked at again at once, in a
    region of their own: too few pixels make joints and scores too poor to start with.
    """

    skeleton: Skeleton = COCO17
    aspect: float = 1.0
    """Width / height of what the network sees."""

    def find(self, image_bgr: ImageBgr) -> list[Region]:
        """The whole picture."""
        return [Region.whole(image_bgr, aspect=self.aspect)]

    def detect(self, image_bgr: ImageBgr, *, regions: Sequence[Region] | None = None) -> list[Detection]:
        """The person in each region, or the one in the whole picture."""
        check_picture(image_bgr)
        whole = Region.whole(image_bgr, aspect=self.aspect)
        searched = [whole] if regions is None else regions
        people = self._people(image_bgr, [region for region in searched if region != whole])
        if people or whole not in searched:
            return people
        people = self._people(image_bgr, [whole])
        return self._people(image_bgr, [person.region for person in people if person.region is not None]) or people

    def _people(self, image_bgr: ImageBgr, regions: Sequence[Region]) -> list[Detection]:
        """The person in each of the regions that hold one."""
        raise NotImplementedError
