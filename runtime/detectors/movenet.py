"""MoveNet SinglePose through LiteRT (TensorFlow Lite): one person per picture, on any CPU."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import F32, ImageBgr
from ..errors import ArtefactError, FrameError, MissingError, missing_extra
from ..pose.keypoints import ImageSize
from ..pose.skeleton import COCO17, Skeleton
from .base import Detection
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
        file = Path(path)
        if not file.is_file():
            raise MissingError(f"no file {file}", expected="a MoveNet SinglePose .tflite file, as in movenet:FILE")
        with file.open("rb") as stream:
            head = stream.read(8)
        expected = "MoveNet SinglePose: image (1, S, S, 3) in, (1, 1, 17, 3) out"
        if head[4:] != b"TFL3":
            raise ArtefactError(f"{file} is not a .tflite file", expected=expected)
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise missing_extra("ai-edge-litert", "camera", "the detector movenet") from None
        try:
            with _native_stderr_discarded():
                self._interpreter: Any = Interpreter(model_path=str(file), num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ArtefactError(f"{file} cannot be loaded ({_first_line(error)})", expected=expected) from None
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        shape_in = tuple(int(n) for n in inputs[0]["shape"])
        shape_out = tuple(int(n) for n in outputs[0]["shape"])
        if len(inputs) != 1 or len(shape_in) != 4 or shape_in[1] != shape_in[2] or shape_out != (1, 1, 17, 3):
            raise ArtefactError(f"{file} has the input {shape_in} and the output {shape_out}", expected=expected)
        self._input, self._output, self._type = inputs[0]["index"], outputs[0]["index"], inputs[0]["dtype"]
        self.size_px: int = shape_in[1]

    def detect(self, image_bgr: ImageBgr, *, regions: Sequence[Region] | None = None) -> list[Detection]:
        """The one person in the picture or in each region, if six joints or more are seen."""
        if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8 or image_bgr.size == 0:
            raise FrameError(f"the picture is {image_bgr.shape} {image_bgr.dtype}", expected="(H, W, 3) uint8")
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
        rgb = np.ascontiguousarray(square[None, :, :, ::-1]).astype(self._type)
        self._interpreter.set_tensor(self._input, rgb)
        self._interpreter.invoke()
        output = self._interpreter.get_tensor(self._output)[0, 0].astype(np.float32)  # (17, 3) y, x, score, of the square
        to_picture = region.to_picture(self.size_px)
        person = np.empty((17, 3), np.float32)
        person[:, :2] = output[:, 1::-1] * self.size_px @ to_picture[:, :2].T + to_picture[:, 2]
        person[:, 2] = np.where(output[:, 2] < MIN_SCORE, 0.0, np.clip(output[:, 2], 0.0, 1.0))
        return person


@contextmanager
def _native_stderr_discarded() -> Iterator[None]:
    """Discard what native code writes to file descriptor 2: LiteRT logs there when it starts, and no option prevents it."""
    sys.stderr.flush()
    try:
        stderr = os.dup(2)
    except OSError:  # the process has no stderr
        yield
        return
    with tempfile.TemporaryFile() as discarded:
        os.dup2(discarded.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
