"""One person who is lifted on a server."""

from __future__ import annotations

import math
import secrets
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from ..errors import FrameError, UsageError
from ..pose.keypoints import check_keypoints
from ..pose.types import Pose
from .messages import Frame

if TYPE_CHECKING:
    from .remote import RemoteModel

NEVER = -1
"""The generation of a stream that the server does not hold."""


class RemoteStream:
    """One person in one camera, lifted on a server; see ``Stream``. It keeps its number there for life."""

    def __init__(self, model: RemoteModel, person: int) -> None:
        self._model, self._person = model, person
        self._sequence = 1 + secrets.randbits(62)  # nobody else's, on however many clients
        self._generation = NEVER
        self._past: deque[Frame] = deque()
        self._last_s: float | None = None
        self._reset, self._open = False, True

    def step(self, keypoints: ArrayLike, *, t: float | None = None) -> Pose:
        """Lift one frame: see ``Stream.step``.

        Raises:
            FrameError: the frame was refused, here or there, or the server is not there.
        """
        return self._model.step_batch({self: keypoints}, t=t)[self]

    def reset(self) -> None:
        """Clear the state: the next frame is treated as the first one."""
        self._past.clear()
        self._last_s, self._reset = None, True

    def close(self) -> None:
        """Free the state on the server; a second call does nothing. Where the server is not there, it does so by itself."""
        if self._open:
            self._open = False
            self._model._goodbye(self)

    def __enter__(self) -> RemoteStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _accept(self, keypoints: ArrayLike, t: float | None) -> Frame:
        """The frame as it is sent, if ``Stream`` would take it."""
        if not self._open:
            raise UsageError("the stream is closed", expected="a new stream from model.stream()")
        checked = check_keypoints(keypoints)
        last_s = self._last_s
        if t is None:
            t = 0.0 if last_s is None else last_s + 1 / self._model.manifest.fps
        if not math.isfinite(t):
            raise FrameError(f"the frame's time is {t}", expected="seconds")
        if last_s is not None and t <= last_s:
            raise FrameError(f"time went from {last_s:.6f} s to {t:.6f} s", expected="each frame later than the one before")
        return checked, float(t)

    def _remember(self, frame: Frame, replay_s: float) -> None:
        """Keep a frame that was taken, for as long as it is sent again."""
        self._last_s = frame[1]
        self._past.append(frame)
        while self._past and frame[1] - self._past[0][1] >= replay_s:
            self._past.popleft()
