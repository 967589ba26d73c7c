"""The sampling side of the shadow: which frames of which streams it compares, in spans of consecutive frames.

This code runs in the threads that step streams. It copies, draws and counts, and never waits for the reference.
"""

from __future__ import annotations

from queue import SimpleQueue
from threading import Lock
from weakref import WeakSet

import numpy as np

from ..arrays import F32
from ..errors import CheckFailedError
from ..state import Slots, StreamState


class Span:
    """Consecutive frames of one stream, with the poses that the engine computed.

    Args:
        sampler: of the stream.
        frames: the length that was drawn; the span is shorter if the stream ends.
        keypoints: (J, channels), for the shape of a frame.
        continues: whether the frame before the span was the last one of the stream's previous span.
        state: the stream's state before the span; None if the span continues another one or begins with a reset.
    """

    def __init__(
        self, sampler: StreamSampler, frames: int, keypoints: F32, *, continues: bool, state: StreamState | None
    ) -> None:
        self.sampler, self.continues, self.state = sampler, continues, state
        self.keypoints = np.empty((frames, *keypoints.shape), np.float32)  # (T, J, channels)
        self.dt_s, self.reset = np.empty(frames, np.float32), np.empty(frames, np.bool_)  # (T,)
        self.xyz_m = np.empty((frames, len(keypoints), 3), np.float32)  # (T, J, 3)
        self.count = 0  # frames that are recorded
        self.start_s = self.end_s = 0.0
        self.epoch = 0  # of the stream, at the last frame


class SpanSampler:
    """Draws spans of all streams, and queues them for the reference.

    Args:
        share: the share of all frames that spans cover.
        span: frames of a span. It is shorter where the stream ends.
        waiting: how many spans may wait in the queue.
        seed: of the random places of spans.
    """

    def __init__(self, *, share: float, span: int, waiting: int, seed: int) -> None:
        self._share, self._span, self._waiting = share, span, waiting
        self._random, self._first = np.random.default_rng(seed), True
        # The probability that a frame outside of a span begins one, so that spans cover the share of all frames.
        self._start_probability = share / (share + span * (1 - share))
        self._samplers: WeakSet[StreamSampler] = WeakSet()
        self.spans: SimpleQueue[Span | None] = SimpleQueue()  # None is put last
        self.lock = Lock()  # for everything that streams record; the reference's thread never holds it
        self.ended = False  # nothing more is recorded
        self.failure: str | None = None  # why streams must not take frames any more
        self.streams = self.fed = self.dropped = self.resets = 0

    def stream_sampler(self) -> StreamSampler:
        """The sampler of a new stream."""
        with self.lock:
            sampler = StreamSampler(self, self.streams)
            self.streams += 1
            self._samplers.add(sampler)
        return sampler

    def end(self) -> None:
        """Queue the unfinished spans, and record nothing more."""
        with self.lock:
            for sampler in list(self._samplers):
                sampler.end_span()
            self.ended = True
        self.spans.put(None)

    # Stream samplers call these, holding the lock.

    def draw(self, *, new: bool) -> tuple[int, int]:
        """How many frames of a stream are skipped, and how long the span after them is.

        A new stream is treated as if it had run for ever, and may begin in the middle of a span. So the share is kept for short
        streams too, and the spans of streams that began together do not all end together. The very first frame of all begins
        a whole span.
        """
        if self._first:
            self._first = False
            return 0, self._span
        if new and self._random.random() < self._share:
            return 0, int(self._random.integers(1, self._span + 1))
        return int(self._random.geometric(self._start_probability)) - (not new), self._span

    def queue(self, span: Span) -> bool:
        """Queue a span for the reference; False if the queue is full, and the span is dropped."""
        if self.spans.qsize() >= self._waiting:
            self.dropped += 1
            return False
        self.spans.put(span)
        return True


class StreamSampler:
    """Records spans of one stream. The stream's thread calls its methods; the reference's thread only sets attributes."""

    def __init__(self, spans: SpanSampler, number: int) -> None:
        self.number = number
        self.reference_state: StreamState | None = None  # after the stream's last span; only the reference's thread uses it
        self.spans_over_budget = 0  # only the reference's thread uses it
        self.reset_epoch = -1  # the epoch that is to end with a reset
        self._spans = spans
        self._epoch = 0  # how often the stream began anew
        self._span: Span | None = None
        self._continues = False  # the frame before was the last one of a span that was queued
        self._skip, self._length = -1, 0  # frames before the next span, and its length; -1 before they are drawn

    @property
    def reset_pending(self) -> bool:
        """Whether the stream must reset its state before its next frame."""
        return self.reset_epoch == self._epoch

    def check(self) -> None:
        """Raise a ``CheckFailedError`` if the shadow's policy lets streams take no more frames."""
        if self._spans.failure is not None:
            raise CheckFailedError(self._spans.failure, expected="poses within the shadow's budget", run="posemoe-edge verify")

    def record(self, slots: Slots, slot: int, keypoints: F32, dt_s: float, reset: bool, *, t_s: float, xyz_m: F32) -> None:
        """Record a frame that was lifted and is not committed yet, so that a span begins with the state from before it.

        Args:
            keypoints, dt_s, reset: what was put into the slot; keypoints are (J, channels).
            t_s: capture time.
            xyz_m: (J, 3) the pose, in the model's joint order.
        """
        spans = self._spans
        with spans.lock:
            spans.resets += reset and self.reset_pending
            self._epoch += reset
            if spans.ended:
                return
            spans.fed += 1
            if self._skip < 0:
                self._skip, self._length = spans.draw(new=True)
            if self._skip:
                self._skip -= 1
                self._continues = False
                return
            span = self._span
            if span is None:
                state = None if reset or self._continues else slots.state_copy(slot)
                span = self._span = Span(self, self._length, keypoints, continues=self._continues, state=state)
                span.start_s = t_s
            n = span.count
            span.keypoints[n], span.dt_s[n], span.reset[n], span.xyz_m[n] = keypoints, dt_s, reset, xyz_m
            span.count, span.end_s, span.epoch = n + 1, t_s, self._epoch
            if span.count == self._length:
                self.end_span()

    def interrupt(self) -> None:
        """End the span, because the stream's state is replaced or the stream is closed."""
        with self._spans.lock:
            self.end_span()
            self._continues = False
            self._epoch += 1

    def end_span(self) -> None:
        """Queue the span, if there is one, and draw the next. The caller holds the lock."""
        if self._span is not None:
            self._continues = self._spans.queue(self._span)
            self._span = None
            self._skip, self._length = self._spans.draw(new=False)
