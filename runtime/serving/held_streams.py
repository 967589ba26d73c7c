"""The streams that a server holds for its clients: one for each sequence, until it ends or is idle for too long."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..arrays import F32
from ..errors import FrameError
from ..model import Model
from ..pose.types import Pose
from ..stream import Stream
from . import wire

SequenceId = int | str


@dataclass(frozen=True, eq=False)
class SequenceFrame:
    """A request: a frame of a sequence, or with ``keypoints`` None its goodbye.

    Args:
        start: the sequence begins: what was held for it before is forgotten.
        end: nothing is held for it any more after this frame.
        reset: the stream begins anew with this frame.
    """

    sequence: SequenceId
    start: bool
    end: bool
    keypoints: F32 | None = None
    t_s: float | None = None
    reset: bool = False


@dataclass(eq=False)
class _Held:
    stream: Stream
    used_s: float


class HeldStreams:
    """A stream of a model for each sequence.

    Args:
        idle_s: how long a stream is kept without a frame.
        most: streams at once; a sequence that begins when there are so many is refused.
        clock: seconds that do not jump.
    """

    def __init__(self, model: Model, *, idle_s: float, most: int = 256, clock: Callable[[], float] = time.monotonic) -> None:
        self.model, self._idle_s, self._most, self._clock = model, idle_s, most, clock
        self._held: OrderedDict[SequenceId, _Held] = OrderedDict()  # the one that was used longest ago comes first
        self.refused = self.expired = 0

    def __len__(self) -> int:
        return len(self._held)

    def answer(self, frames: Sequence[SequenceFrame]) -> list[Pose | FrameError | None]:
        """The pose of each frame, or why it was refused; None for a goodbye. Frames of different sequences share a launch."""
        now_s = self._clock()
        self._expire(now_s)
        answers: list[Pose | FrameError | None] = [None] * len(frames)
        waiting = list(range(len(frames)))
        while waiting:  # a sequence has one frame in a launch; Triton brings no more, others may
            first_of: dict[SequenceId, int] = {}
            for i in waiting:
                first_of.setdefault(frames[i].sequence, i)
            for i, answer in self._launch({i: frames[i] for i in first_of.values()}, now_s).items():
                answers[i] = answer
            waiting = [i for i in waiting if i not in first_of.values()]
        self.refused += sum(isinstance(answer, FrameError) for answer in answers)
        return answers

    def close(self) -> None:
        """Forget everybody."""
        for sequence in list(self._held):
            self._forget(sequence)

    def _launch(self, frames: dict[int, SequenceFrame], now_s: float) -> dict[int, Pose | FrameError]:
        """One frame at most of each sequence."""
        answers: dict[int, Pose | FrameError] = {}
        streams: dict[int, Stream] = {}
        for i, frame in frames.items():
            if frame.start:
                self._forget(frame.sequence)
                if len(self._held) >= self._most:
                    answers[i] = FrameError(f"{self._most} people are held already", expected="fewer, or serve --people")
                    continue
                self._held[frame.sequence] = _Held(self.model.stream(), now_s)
            held = self._held.get(frame.sequence)
            if frame.keypoints is None:
                continue
            if held is None:
                answers[i] = FrameError(f"a request for sequence {frame.sequence}, which is not held, {wire.UNKNOWN}")
                continue
            held.used_s = now_s
            self._held.move_to_end(frame.sequence)
            if frame.reset:
                held.stream.reset()
            streams[i] = held.stream
        if streams:
            keypoints = {stream: points for i, stream in streams.items() if (points := frames[i].keypoints) is not None}
            times = {stream: t_s for i, stream in streams.items() if (t_s := frames[i].t_s) is not None}
            lifted = self.model.step_each(keypoints, t=times)
            answers |= {i: lifted[stream] for i, stream in streams.items()}
        for frame in frames.values():
            if frame.end:
                self._forget(frame.sequence)
        return answers

    def _expire(self, now_s: float) -> None:
        while self._held:
            sequence, held = next(iter(self._held.items()))
            if now_s - held.used_s < self._idle_s:
                return
            self._forget(sequence)
            self.expired += 1

    def _forget(self, sequence: SequenceId) -> None:
        if held := self._held.pop(sequence, None):
            held.stream.close()
