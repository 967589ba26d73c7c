"""Networks that see one person in a crop, in files of the user's with a description."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..arrays import F32, ImageBgr
from ..errors import ArtefactError
from ..pose.keypoints import ImageSize
from ..pose.skeleton import SKELETONS
from .base import MIN_JOINTS, Detection
from .decoders import decode_heatmaps, decode_keypoints, decode_simcc
from .description import NetworkDescription, read_description
from .following import FollowingDetector
from .network import Network, open_network
from .region import Box, Region, crop


class TopDownDetector(FollowingDetector):
    """A network that sees one person in a crop. All people are in one launch where its input takes any number of crops.

    Args:
        network: (N, 3, H, W) or (N, H, W, 3) in.
        description: of what it takes and gives.

    Raises:
        ArtefactError: the network is not as described.
    """

    def __init__(self, network: Network, description: NetworkDescription) -> None:
        self._network, self._description = network, description
        self.skeleton = SKELETONS[description.skeleton]
        shape = network.input_shape
        channels, sides = (1, shape[2:]) if description.layout == "nchw" else (3, shape[1:3])
        if len(shape) != 4 or shape[channels] not in (3, -1) or shape[0] not in (1, -1):
            raise network.unfit()
        width_px, height_px = description.size_px or (-1, -1)
        for described, actual in ((height_px, sides[0]), (width_px, sides[1])):
            if -1 not in (described, actual) and described != actual:
                raise ArtefactError(
                    f"size_px is {width_px} x {height_px}", expected=f"{sides[1]} x {sides[0]}, as the network's input says"
                )
        self.width_px, self.height_px = max(width_px, sides[1]), max(height_px, sides[0])
        if -1 in (self.width_px, self.height_px):
            raise ArtefactError(f"the network's input is {shape}", expected="size_px = [WIDTH, HEIGHT] in its description")
        self.aspect = self.width_px / self.height_px
        self._people(np.zeros((8, 8, 3), np.uint8), [Region(4.0, 4.0, 8.0)])  # so that an unfit output is known at once

    def _people(self, image_bgr: ImageBgr, regions: Sequence[Region]) -> list[Detection]:
        regions = [region for region in regions if region.meets(image_bgr)]
        if not regions:
            return []
        inputs = np.stack([self._input(image_bgr, region) for region in regions])
        batches = [inputs] if self._network.input_shape[0] == -1 else [one[None] for one in inputs]
        people = np.concatenate([self._decode(batch) for batch in batches])  # (N, J, 3)
        size, detections = ImageSize.of(image_bgr), []
        for region, points in zip(regions, people, strict=True):
            points[:, :2] = region.place(points[:, :2], self.width_px, self.height_px)
            points[points[:, 2] < self._description.min_score] = 0
            seen = points[points[:, 2] > 0, :2]
            if len(seen) >= MIN_JOINTS:
                box: Box = (*seen.min(axis=0).tolist(), *seen.max(axis=0).tolist())
                following = Region.around(box, margin=self._description.margin, aspect=self.aspect)
                scores = points[:, 2]
                detections.append(
                    Detection.from_arrays(points[:, :2], scores, skeleton=self.skeleton, size=size, region=following)
                )
        return detections

    def _input(self, image_bgr: ImageBgr, region: Region) -> F32:
        """(3, H, W) or (H, W, 3) what the network takes of a region."""
        shown = crop(image_bgr, region, self.width_px, self.height_px).astype(np.float32)
        if self._description.colour == "rgb":
            shown = shown[:, :, ::-1]
        mean, std = (np.asarray(numbers, np.float32) for numbers in (self._description.mean, self._description.std))
        values = (shown - mean) / std
        if self._description.layout == "nchw":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values, self._network.input_type)

    def _decode(self, inputs: F32) -> F32:
        """(N, J, 3) x and y in pixels of the crop, score."""
        self._network.run(inputs)
        outputs = [np.asarray(self._network.output(name), np.float32) for name in self._network.output_shapes]
        kind, width_px, height_px = self._description.output, self.width_px, self.height_px
        dims = {"simcc": 3, "heatmaps": 4, "keypoints": 3}[kind]
        joints = (len(inputs), len(self.skeleton))
        if len(outputs) != (2 if kind == "simcc" else 1) or any(out.ndim != dims or out.shape[:2] != joints for out in outputs):
            raise self._unfit(outputs)
        if kind == "simcc":
            return decode_simcc(*self._x_first(outputs), width_px=width_px, height_px=height_px)
        if kind == "heatmaps":
            return decode_heatmaps(outputs[0], width_px=width_px, height_px=height_px)
        if outputs[0].shape[-1] not in (2, 3):
            raise self._unfit(outputs)
        normalised = self._description.normalised
        return decode_keypoints(outputs[0], width_px=width_px, height_px=height_px, normalised=normalised)

    def _x_first(self, outputs: list[F32]) -> tuple[F32, F32]:
        """The scores along x and along y of SimCC. The names say which is which; else the first output is x."""
        x, y = reversed(outputs) if next(iter(self._network.output_shapes)).endswith("_y") else outputs
        if x.shape[-1] * self.height_px != y.shape[-1] * self.width_px:
            raise self._unfit(outputs)
        return x, y

    def _unfit(self, outputs: list[F32]) -> ArtefactError:
        joints, kind = len(self.skeleton), self._description.output
        shape = {
            "simcc": f"(N, {joints}, B * {self.width_px}) and (N, {joints}, B * {self.height_px})",
            "heatmaps": f"(N, {joints}, h, w)",
            "keypoints": f"(N, {joints}, 2 or 3)",
        }[kind]
        return ArtefactError(
            f"the network's outputs are {', '.join(str(out.shape) for out in outputs)}",
            expected=f"{shape} for the output {kind} of {self._description.skeleton}",
        )


def open_described(path: str | Path, *, threads: int = 1) -> TopDownDetector:
    """The network in ``FILE.onnx``, as ``FILE.toml`` beside it describes it.

    Args:
        path: of the network.
        threads: processor threads.
    """
    expected = "one input (N, 3, H, W) or (N, H, W, 3), and the outputs that its description names"
    network = open_network(path, form="onnx:FILE.onnx", expected=expected, threads=threads)
    return TopDownDetector(network, read_description(Path(path).with_suffix(".toml")))
