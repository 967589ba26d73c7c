"""MoveNet SinglePose through LiteRT (TensorFlow Lite): one person per picture, on any CPU."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArtefactError, FrameError, MissingError, missing_extra

MIN_SCORE = 0.1
"""Joints that MoveNet believes in less than this count as not seen: it guesses a place for every joint."""

MIN_JOINTS = 6
"""Fewer joints seen than this are nobody: an empty wall earns one or two."""


class MoveNet:
    """A MoveNet SinglePose network (Lightning or Thunder) in a ``.tflite`` file.

    It sees the whole picture, letterboxed to the network's square; the smart cropping of MoveNet's own demo, which
    follows the person from frame to frame, is left out. So it serves a person who fills a good part of the picture, and
    of several people it finds one, not always the same.

    Args:
        path: the ``.tflite`` file.
        threads: threads of the interpreter.
    """

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        file = Path(path)
        if not file.is_file():
            raise MissingError(f"no file {file}", expected="a MoveNet SinglePose .tflite file, as in movenet:FILE")
        with file.open("rb") as opened:
            head = opened.read(8)
        expected = "MoveNet SinglePose: image (1, S, S, 3) in, (1, 1, 17, 3) out"
        if head[4:] != b"TFL3":
            raise ArtefactError(f"{file} is not a .tflite file", expected=expected)
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise missing_extra("ai-edge-litert", "camera", "the detector movenet") from None
        try:
            with _native_stderr_held():
                self._interpreter: Any = Interpreter(model_path=str(file), num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ArtefactError(f"{file} cannot be loaded ({_first_line(error)})", expected=expected) from None
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        shape_in = tuple(int(n) for n in inputs[0]["shape"])
        shape_out = tuple(int(n) for n in outputs[0]["shape"])
        if len(inputs) != 1 or len(shape_in) != 4 or shape_in[1] != shape_in[2] or shape_out != (1, 1, 17, 3):
            raise ArtefactError(f"{file} takes {shape_in} and gives {shape_out}", expected=expected)
        self._input, self._output, self._type = inputs[0]["index"], outputs[0]["index"], inputs[0]["dtype"]
        self.size_px: int = shape_in[1]

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The one person found, or nobody.

        Args:
            image_bgr: (H, W, 3) uint8.

        Returns:
            [(17, 3)] x and y in pixels, score, COCO-17; or [] if fewer than six joints were seen.
        """
        if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8 or image_bgr.size == 0:
            raise FrameError(f"the picture is {image_bgr.shape} {image_bgr.dtype}", expected="(H, W, 3) uint8")
        square, scale, left, top = letterbox(image_bgr, self.size_px)
        rgb = np.ascontiguousarray(square[None, :, :, ::-1]).astype(self._type)
        self._interpreter.set_tensor(self._input, rgb)
        self._interpreter.invoke()
        found = self._interpreter.get_tensor(self._output)[0, 0].astype(np.float32)  # (17, 3) y, x, score, of the square
        person = np.empty((17, 3), np.float32)
        person[:, 0] = (found[:, 1] * self.size_px - left) / scale
        person[:, 1] = (found[:, 0] * self.size_px - top) / scale
        person[:, 2] = np.where(found[:, 2] < MIN_SCORE, 0.0, np.clip(found[:, 2], 0.0, 1.0))
        return [person] if np.count_nonzero(person[:, 2]) >= MIN_JOINTS else []


def letterbox(image: NDArray[np.uint8], size_px: int) -> tuple[NDArray[np.uint8], float, int, int]:
    """The picture shrunk or grown to fit a square, centred on black.

    Args:
        image: (H, W, 3).
        size_px: side S of the square.

    Returns:
        (S, S, 3), the scale, and the margins at the left and at the top in pixels of the square.
    """
    try:
        import cv2
    except ImportError:
        raise missing_extra("opencv-python-headless", "camera", "resizing pictures for a detector") from None
    height, width = image.shape[:2]
    scale = size_px / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    left, top = (size_px - inner[0]) // 2, (size_px - inner[1]) // 2
    square = np.zeros((size_px, size_px, 3), np.uint8)
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=smooth)
    return square, scale, left, top


@contextmanager
def _native_stderr_held() -> Iterator[None]:
    """Keep what native code writes to file descriptor 2: LiteRT greets there and has no switch for it."""
    sys.stderr.flush()
    try:
        stderr = os.dup(2)
    except OSError:  # no stderr at all: nothing to hold
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
