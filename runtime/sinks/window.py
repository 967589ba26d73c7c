"""``window``: the run on the screen, with skeletons over the picture and people in 3D beside it."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from ..errors import MissingError, missing_extra
from ..events import Event, PoseFrame
from ..overlay import RunView
from .base import BaseSink, RunInfo

_TITLE = "posemoe-edge"
_STOP_KEYS = (ord("q"), 27)  # and Escape
_INSTEAD = "posemoe-edge run ... --sink video:run.mp4"


class WindowSink(BaseSink):
    """Shows every frame as it comes. Q, Escape or closing the window ends the run as Ctrl-C does, and other sinks keep theirs.

    Args:
        title: of the window.

    Raises:
        MissingError: no OpenCV, an OpenCV without windows, or no screen.
    """

    threaded = False  # windows belong to the main thread, and a key ends the run

    def __init__(self, title: str = "") -> None:
        try:
            import cv2
        except ImportError:
            raise missing_extra("opencv-python-headless", "camera", "drawing on pictures") from None
        if not _has_windows(cv2):
            raise MissingError(
                "the installed OpenCV has no windows (opencv-python-headless)",
                expected="opencv-python, or the run as a video",
                run="pip uninstall opencv-python-headless; pip install --force-reinstall opencv-python",
            )
        if not _has_screen():  # the window library would end the process
            raise MissingError("there is no screen for a window", expected="DISPLAY or WAYLAND_DISPLAY", run=_INSTEAD)
        self._cv2: Any = cv2
        self._title = title or _TITLE
        self._view = RunView()
        self._closed, self._shown = False, False

    def open(self, run: RunInfo) -> None:
        self._view = RunView(run)

    def write(self, event: Event) -> None:
        """Show a frame; other events are not shown."""
        if self._closed:
            raise ValueError("the sink is closed")
        if not isinstance(event, PoseFrame):
            return
        image = self._view.draw(event)
        if not self._shown:
            self._cv2.namedWindow(self._title, self._cv2.WINDOW_NORMAL | self._cv2.WINDOW_KEEPRATIO)
            self._cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
            self._shown = True
        self._cv2.imshow(self._title, image)
        key = self._cv2.waitKey(1) & 0xFF
        if key in _STOP_KEYS or self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE) < 1:
            raise KeyboardInterrupt

    def close(self) -> None:
        if self._shown and not self._closed:
            self._cv2.destroyWindow(self._title)
        self._closed = True

    def abort(self) -> None:
        self.close()


def _has_windows(cv2: Any) -> bool:
    gui = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    return gui is None or gui.group(1) != "NONE"


def _has_screen() -> bool:
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
