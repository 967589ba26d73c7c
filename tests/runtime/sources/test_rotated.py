"""Cameras that are mounted turned: their pictures are made upright, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from posemoe_edge.runtime.arrays import ImageBgr
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.events import SourceChanged, SourceLost
from posemoe_edge.runtime.pose.camera import Intrinsics
from posemoe_edge.runtime.pose.camera_model import Camera
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.sources import BaseSource, CameraFrame, RotatedSource, SourceInfo, open_source
from posemoe_edge.runtime.sources.base import SourceItem
from posemoe_edge.runtime.sources.iterable import IterableSource

PICTURE: ImageBgr = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


class Turned(BaseSource):
    """A source of two pictures with a loss in between."""

    closed = False
    pictures = True
    info = SourceInfo("turned", fps=5.0, frames=2, camera=Camera(Intrinsics(500, 510, 1.4, 1.1), ImageSize(3, 2)))

    def __iter__(self) -> Iterator[SourceItem]:
        yield CameraFrame(0.5, PICTURE)
        yield SourceLost(0.6, "unplugged")
        yield CameraFrame(0.7, PICTURE)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_pictures_are_turned_clockwise(degrees: int) -> None:
    cv2 = pytest.importorskip("cv2")
    turns = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
    inner = Turned()
    with RotatedSource(inner, degrees) as source:
        first, lost, second = source
    assert inner.closed and isinstance(lost, SourceLost)
    for frame, t_s in ((first, 0.5), (second, 0.7)):
        assert isinstance(frame, CameraFrame) and frame.t_s == t_s and frame.image_bgr.flags.c_contiguous
        np.testing.assert_array_equal(frame.image_bgr, cv2.rotate(PICTURE, turns[degrees]))


def test_what_is_known_of_the_source_stays_and_its_camera_turns() -> None:
    source = RotatedSource(Turned(), 90)
    assert source.pictures and (source.info.name, source.info.fps, source.info.frames) == ("turned", 5.0, 2)
    assert source.info.camera is not None and source.info.camera.size == ImageSize(2, 3)
    assert source.info.camera.intrinsics == Intrinsics(510, 500, 2 - 1.1, 1.4)


@pytest.mark.parametrize("degrees", [0, 45, -90, 360])
def test_other_angles_are_refused(degrees: int) -> None:
    with pytest.raises(UsageError, match="expected 90, 180 or 270"):
        RotatedSource(Turned(), degrees)


def test_keypoints_cannot_be_turned() -> None:
    with pytest.raises(UsageError, match="source of keypoints cannot be turned"):
        RotatedSource(open_source("synthetic://walk"), 90)


@pytest.mark.parametrize(("degrees", "size"), [(90, (480, 640)), (180, (640, 480)), (270, (480, 640))])
def test_a_change_of_the_size_is_that_of_the_turned_pictures(degrees: int, size: tuple[int, int]) -> None:
    source = IterableSource([SourceChanged(1.0, 640, 480)], pictures=True)
    assert list(RotatedSource(source, degrees)) == [SourceChanged(1.0, *size)]
