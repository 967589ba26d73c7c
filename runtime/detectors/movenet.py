"""MoveNet SinglePose through LiteRT (TensorFlow Lite): one person per picture, on any CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..arrays import F32, ImageBgr
from ..pose.keypoints import ImageSize
from ..pose.skeleton import COCO17, Skeleton
from .base import Detection, check_picture
from .litert import LiteRtNetwork
from .network_file import check_network_file
from .region import Region, crop

MIN_SCORE = 0.1
"""Joints with a lower score count as not seen: MoveNet guesses a position for every joint."""

MIN_JOINTS = 6
"""With fewer joints seen there is no person: an empty wall gets one or two."""


class MoveNet:
    """A MoveNet SinglePose network (Lightning or Thunder) in a ``.tflite`` file.

    The network sees the whole picture, letterboxed to its square; the cropping of MoveNet's own demo, which follows the
    person from frame to frame, is left out. So the person has to fill a good part of the picture, and of several people
    it finds one, not always the same. With ``regions`` it finds one person in each of them.

    Args:
        path: the ``.tflite`` file.
        threads: threads of the interpreter.
    """

    skeleton: Skeleton = COCO17

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        file, expected = Path(path), "MoveNet SinglePose: image (1, S, S, 3) in, (1, 1, 17, 3) out"
        check_network_file(file, expected="a MoveNet SinglePose .tflite file, as in movenet:FILE")
        self._network = LiteRtNetwork(
            file.read_bytes(), name=str(file), expected=expected, purpose="the detector movenet", threads=threads
        )
        shape_in, shapes_out = self._network.input_shape, self._network.output_shapes
        if len(shape_in) != 4 or shape_in[1] != shape_in[2] or list(shapes_out.values()) != [(1, 1, 17, 3)]:
            raise self._network.unfit()
        (self._output,) = shapes_out
        self.size_px: int = shape_in[1]

    def detect(self, image_bgr: ImageBgr, *, regions: Sequence[Region] | None = None) -> list[Detection]:
        """The one person in the picture or in each region, if six joints or more are seen."""
        check_picture(image_bgr)
        size = ImageSize.of(image_bgr)
        searched = [Region.whole(image_bgr)] if regions is None else regions
        people = [self._find_person(image_bgr, region) for region in searched]
        return [Detection.from_coco(person, size=size) for person in people if np.count_nonzero(person[:, 2]) >= MIN_JOINTS]

    def _find_person(self, image_bgr: ImageBgr, region: Region) -> F32:
        """(17, 3) x and y in pixels of the picture, score, COCO-17; all scores are 0 if the region lies outside of it."""
        height, width = image_bgr.shape[:2]
        left, top, right, bottom = region.box
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            return np.zeros((17, 3), np.float32)
        square = crop(image_bgr, region, self.size_px)
        rgb = np.ascontiguousarray(square[None, :, :, ::-1]).astype(self._network.input_type)
        self._network.run(rgb)
        output = self._network.output(self._output)[0, 0].astype(np.float32)  # (17, 3) y, x, score, of the square
        to_picture = region.to_picture(self.size_px)
        person = np.empty((17, 3), np.float32)
        person[:, :2] = output[:, 1::-1] * self.size_px @ to_picture[:, :2].T + to_picture[:, 2]
        person[:, 2] = np.where(output[:, 2] < MIN_SCORE, 0.0, np.clip(output[:, 2], 0.0, 1.0))
        return person
