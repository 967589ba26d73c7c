"""MoveNet, in its two kinds: SinglePose follows one person with its crop, MultiPose finds up to six in the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..arrays import F32, ImageBgr
from ..pose.keypoints import ImageSize
from ..pose.skeleton import COCO17, Skeleton
from .base import MIN_JOINTS, Detection, Detector, check_picture
from .following import FollowingDetector
from .network import Network, open_network
from .region import Box, Region, crop

MIN_SCORE = 0.1
"""Joints with a lower score count as not seen: MoveNet guesses a position for every joint."""

MIN_PERSON_SCORE = 0.25
"""Least score of a person of MultiPose, which gives six in every picture."""

_SINGLE, _MULTI = (1, 1, 17, 3), (1, 6, 56)  # shapes of the output
_MULTI_SIDE_PX, _MULTI_STEP_PX = 256, 32  # of a MultiPose network of any input size

# The crop that MoveNet SinglePose was published with: a square around the middle of the hips.
_REGION_SCORE = 0.2  # least score of a joint that the region is measured by
_TORSO_REACH, _BODY_REACH = 1.9, 1.2  # half of its side, in distances from the hips to the farthest joint
_TORSO = [COCO17.joints.index(f"{side}_{joint}") for joint in ("shoulder", "hip") for side in ("left", "right")]


def open_movenet(path: str | Path, *, threads: int = 1) -> Detector:
    """The MoveNet in a ``.tflite`` or ``.onnx`` file: SinglePose or MultiPose, as the shape of its output says.

    Args:
        path: the file.
        threads: processor threads.
    """
    expected = f"MoveNet: image (1, H, W, 3) in, {_SINGLE} out (SinglePose) or {_MULTI} out (MultiPose)"
    network = open_network(path, form="movenet:FILE", expected=expected, threads=threads)
    shape_in, shapes_out = network.input_shape, list(network.output_shapes.values())
    if len(shape_in) == 4 and shape_in[3] == 3 and shapes_out == [_SINGLE] and shape_in[1] == shape_in[2] != -1:
        return MoveNetSinglePose(network)
    if len(shape_in) == 4 and shape_in[3] == 3 and shapes_out == [_MULTI]:
        return MoveNetMultiPose(network)
    raise network.unfit()


class MoveNetSinglePose(FollowingDetector):
    """A MoveNet SinglePose network (Lightning or Thunder): one person in each region.

    The first look is at the whole picture; from then on the region follows the person, whose joints are seen the better
    the more of the network's pixels show the person. Of several people it finds one in the first look.

    Args:
        network: with a square input, and the output (1, 1, 17, 3).
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        (self._output,) = network.output_shapes
        self.size_px: int = network.input_shape[1]

    def _people(self, image_bgr: ImageBgr, regions: Sequence[Region]) -> list[Detection]:
        size = ImageSize.of(image_bgr)
        people = [self._find_person(image_bgr, region) for region in regions]
        return [
            Detection.from_coco(person, size=size, region=_next_region(person, image_bgr))
            for person in people
            if np.count_nonzero(person[:, 2]) >= MIN_JOINTS
        ]

    def _find_person(self, image_bgr: ImageBgr, region: Region) -> F32:
        """(17, 3) x and y in pixels of the picture, score, COCO-17; all scores are 0 if the region lies outside of it."""
        if not region.meets(image_bgr):
            return np.zeros((17, 3), np.float32)
        square = crop(image_bgr, region, self.size_px)
        self._network.run(np.ascontiguousarray(square[None, :, :, ::-1]).astype(self._network.input_type))
        return _joints(self._network.output(self._output)[0, 0], region, self.size_px, self.size_px)


class MoveNetMultiPose:
    """A MoveNet MultiPose network (Lightning): up to six people in the whole picture. It does not need regions.

    Args:
        network: with the output (1, 6, 56). Where its input has any size, the longer side of a picture becomes 256 pixels
            and the other one the next multiple of 32.
    """

    skeleton: Skeleton = COCO17

    def __init__(self, network: Network) -> None:
        self._network = network
        (self._output,) = network.output_shapes

    def detect(self, image_bgr: ImageBgr, *, regions: Sequence[Region] | None = None) -> list[Detection]:
        """The people in the picture, wherever the regions are."""
        check_picture(image_bgr)
        width_px, height_px = self._input_size(image_bgr)
        whole = Region.whole(image_bgr, aspect=width_px / height_px)
        shown = crop(image_bgr, whole, width_px, height_px)
        self._network.run(np.ascontiguousarray(shown[None, :, :, ::-1]).astype(self._network.input_type))
        size, people = ImageSize.of(image_bgr), []
        for person in self._network.output(self._output)[0].astype(np.float64):  # (56,)
            joints, score = _joints(person[:51].reshape(17, 3), whole, width_px, height_px), float(person[55])
            sure = np.isfinite(person).all() and score >= MIN_PERSON_SCORE
            if sure and np.count_nonzero(joints[:, 2]) >= MIN_JOINTS:
                corners = person[[52, 51, 54, 53]].reshape(2, 2) * (width_px, height_px)  # from y, x, y, x
                box = whole.place(corners, width_px, height_px)
                people.append(Detection.from_coco(joints, size=size, box_px=_ordered(box), score=min(score, 1.0)))
        return people

    def _input_size(self, image_bgr: ImageBgr) -> tuple[int, int]:
        """Width and height of the network's input for a picture."""
        height_px, width_px = self._network.input_shape[1:3]
        if -1 not in (height_px, width_px):
            return width_px, height_px
        sides = np.array(image_bgr.shape[1::-1]) * _MULTI_SIDE_PX / max(image_bgr.shape[:2])
        width_px, height_px = (int(side) for side in np.ceil(np.round(sides) / _MULTI_STEP_PX) * _MULTI_STEP_PX)
        return max(width_px, _MULTI_STEP_PX), max(height_px, _MULTI_STEP_PX)


def _joints(output: F32, region: Region, width_px: int, height_px: int) -> F32:
    """(17, 3) x and y in pixels of the picture, score, from MoveNet's y, x, score, of which 1 is a side of its input."""
    joints = np.empty((17, 3), np.float32)
    joints[:, :2] = region.place(output[:, 1::-1] * (width_px, height_px), width_px, height_px)
    joints[:, 2] = np.where(output[:, 2] < MIN_SCORE, 0.0, np.clip(output[:, 2], 0.0, 1.0))
    return joints


def _ordered(corners: np.ndarray) -> Box:
    """The box of two opposite corners (2, 2)."""
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return left, top, right, bottom


def _next_region(person: F32, image_bgr: ImageBgr) -> Region | None:
    """Where the person of (17, 3) joints is looked for in the next frame; None without a shoulder and a hip in sight."""
    seen = person[:, 2] > _REGION_SCORE
    shoulders, hips = _TORSO[:2], _TORSO[2:]
    if not (seen[shoulders].any() and seen[hips].any()):
        return None
    middle = person[hips, :2].mean(axis=0)
    reach = np.abs(person[:, :2] - middle).max(axis=1)  # (17,)
    half = max(_TORSO_REACH * reach[_TORSO].max(), _BODY_REACH * reach[seen].max(), 1.0)
    whole = Region.whole(image_bgr)
    return Region(float(middle[0]), float(middle[1]), 2 * float(half)) if 2 * half < whole.side_px else whole
