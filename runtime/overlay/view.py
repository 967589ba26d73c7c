"""One picture of a run: the skeletons over the camera's picture, and beside it the people in three dimensions."""

from __future__ import annotations

import time

import numpy as np

from ..arrays import ImageBgr
from ..events import PoseFrame
from ..sinks.base import RunInfo
from .brush import BLANK, FAINT_INK, GROUND, GUESSED, INK, LEFT, RIGHT, TORSO, Brush
from .figure2d import draw_keypoints
from .scene import Scene

HEIGHT_PX = 720
SCENE_WIDTH_PX = 560
_WIDEST_PX = 1280  # of the camera's picture, as it is shown
_BLANK_PX = (960, HEIGHT_PX)  # without a picture whose size is known
_MARGIN_PX = 18
_RATE_OVER_S = 1.0  # the frame rate is that of the last second


class RunView:
    """Draws the frames of a run. All pictures have the size of the first one, with even sides.

    Args:
        run: what is run, for the words in the corner, and by which camera; None leaves them out.
    """

    def __init__(self, run: RunInfo | None = None) -> None:
        self._brush, self._run = Brush(), run
        camera = None if run is None else run.camera
        self._scene = Scene(self._brush, gravity=None if camera is None else camera.gravity)
        self._picture_px = (0, 0)  # width and height of the camera's picture, as it is shown
        self._empty: ImageBgr | None = None  # what is drawn on
        self._arrivals_s: list[float] = []

    def draw(self, frame: PoseFrame) -> ImageBgr:
        """(H, W, 3) the picture of a frame."""
        source_px = _source_size(frame)
        if self._empty is None:
            self._picture_px = _shown_size(source_px)
            self._empty = np.full((HEIGHT_PX, self._picture_px[0] + SCENE_WIDTH_PX, 3), GROUND, np.uint8)
            self._picture_part(self._empty)[:] = BLANK
        width = self._picture_px[0]
        canvas = self._empty.copy()
        self._draw_picture(self._picture_part(canvas), frame, source_px)
        panel = canvas[:, width:]
        places = {person: float(keypoints.xy[:, 0].mean()) for person, keypoints in frame.keypoints.items()}
        self._scene.draw(panel, frame.poses, places)
        if not frame.keypoints and not frame.poses:
            self._scene.draw_nobody(panel)
        self._draw_words(panel, frame)
        return canvas

    def _picture_part(self, canvas: ImageBgr) -> ImageBgr:
        """The part of a canvas that shows the camera's picture."""
        width, height = self._picture_px
        top = (HEIGHT_PX - height) // 2
        return canvas[top : top + height, :width]

    def _draw_picture(self, part: ImageBgr, frame: PoseFrame, source_px: tuple[float, float]) -> None:
        """The camera's picture, as large as fits, and the skeletons over it."""
        height, width = part.shape[:2]
        scale = min(width / source_px[0], height / source_px[1])
        offset = ((width - scale * source_px[0]) / 2, (height - scale * source_px[1]) / 2)
        if frame.image_bgr is not None:
            cv2 = self._brush.cv2
            size = (max(1, round(scale * source_px[0])), max(1, round(scale * source_px[1])))
            shrunk = cv2.resize(frame.image_bgr, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            left, top = int(offset[0]), int(offset[1])
            part[top : top + size[1], left : left + size[0]] = shrunk[: height - top, : width - left]
        draw_keypoints(self._brush, part, frame.keypoints, scale=scale, offset=offset)

    def _draw_words(self, panel: ImageBgr, frame: PoseFrame) -> None:
        brush, right, bottom = self._brush, panel.shape[1] - _MARGIN_PX, panel.shape[0] - _MARGIN_PX
        if self._run is not None:
            brush.words(panel, self._run.preset, (_MARGIN_PX, 34), INK, height=16)
            brush.words(panel, f"{self._run.engine}, {self._run.precision}", (_MARGIN_PX, 58), FAINT_INK, height=12)
        rate = self._rate()
        if rate is not None:
            text = f"{rate:.0f} fps" if rate >= 10 else f"{rate:.1f} fps"
            brush.words(panel, text, (right - brush.width_of(text, height=16), 34), INK, height=16)
        text = f"{frame.t_s:.2f} s"
        brush.words(panel, text, (right - brush.width_of(text, height=12), bottom), FAINT_INK, height=12)
        left = float(_MARGIN_PX)
        for name, colour in (("left", LEFT), ("right", RIGHT), ("trunk", TORSO), ("guessed", GUESSED)):
            brush.line(panel, (left, bottom - 5), (left + 16, bottom - 5), colour, 4)
            brush.words(panel, name, (left + 24, bottom), FAINT_INK, height=12)
            left += 24 + brush.width_of(name, height=12) + 20

    def _rate(self) -> float | None:
        """Frames drawn a second, by this machine's clock; None before the second frame."""
        now_s = time.monotonic()
        self._arrivals_s = [t_s for t_s in self._arrivals_s if now_s - t_s < _RATE_OVER_S] or self._arrivals_s[-1:]
        self._arrivals_s.append(now_s)
        span_s = now_s - self._arrivals_s[0]
        return (len(self._arrivals_s) - 1) / span_s if span_s > 0 else None


def _source_size(frame: PoseFrame) -> tuple[float, float]:
    """Width and height in which the keypoints are: of the picture, or of the one that they were found in."""
    if frame.image_bgr is not None:
        return float(frame.image_bgr.shape[1]), float(frame.image_bgr.shape[0])
    for keypoints in frame.keypoints.values():
        if keypoints.size is not None:
            return keypoints.size.width_px, keypoints.size.height_px
    return _BLANK_PX


def _shown_size(source_px: tuple[float, float]) -> tuple[int, int]:
    """The size in which the first frame is shown, even, with its own proportions."""
    scale = min(HEIGHT_PX / source_px[1], _WIDEST_PX / source_px[0])
    return max(2, round(scale * source_px[0] / 2) * 2), max(2, round(scale * source_px[1] / 2) * 2)
