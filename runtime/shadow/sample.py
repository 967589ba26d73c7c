"""The sample: which frames of which streams a shadow gets, in spans of frames that follow one another.

What is here runs where streams step. It copies, draws and counts, and never waits for the reference.
"""

from __future__ import annotations

from queue import SimpleQueue
from threading import Lock
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckFailedError
from ..state import Memory, Slots

Floats = NDArray[np.float32]


class Span:
    """Frames of one stream that follow one another, and what the engine made of them."""

    def __init__(self, watch: Watch, frames: int, keypoints: Floats, *, follows: bool, memory: Memory | None) -> None:
        self.watch = watch
        self.follows, self.memory = follows, memory  # whether the frame before it was in a span too; else what was remembered
        self.keypoints = np.empty((frames, *keypoints.shape), np.float32)  # (T, J, channels)
        self.dt_s, self.reset = np.empty(frames, np.float32), np.empty(frames, np.bool_)
        self.xyz_m = np.empty((frames, len(keypoints), 3), np.float32)
        self.count = 0  # frames that are there
        self.from_s = self.to_s = 0.0
        self.life = 0  # of the watch, at the last frame


class Sample:
    """Draws spans, and keeps them until the reference takes them.

    Args:
        share: of the frames of all streams.
        span: frames of a span. It is shorter where the stream ends.
        waiting: spans that may wait.
        seed: of the spans' places.
    """

    def __init__(self, *, share: float, span: int, waiting: int, seed: int) -> None:
        self._share, self._span, self._waiting = share, span, waiting
        self._random, self._first = np.random.default_rng(seed), True
        # A frame outside of a span begins one with this probability; so spans take up the share of all frames.
        self._begins = share / (share + span * (1 - share))
        self._watches: WeakSet[Watch] = WeakSet()
        self.spans: SimpleQueue[Span | None] = SimpleQueue()  # None is the end of them
        self.lock = Lock()  # of all that streams record; the reference's thread never holds it
        self.ended = False  # nothing is recorded any more
        self.failure: str | None = None  # why no frame is to be taken any more
        self.streams = self.fed = self.dropped = self.resets = 0

    def watch(self) -> Watch:
        """A watch for a new stream."""
        with self.lock:
            made = Watch(self, self.streams)
            self.streams += 1
            self._watches.add(made)
        return made

    def end(self) -> None:
        """What is recorded is the last there is."""
        with self.lock:
            for watch in list(self._watches):
                watch.end()
            self.ended = True
        self.spans.put(None)

    # Under the lock, for watches.

    def draw(self, *, new: bool) -> tuple[int, int]:
        """How many frames of a stream are left out, and how long the span after them is.

        A new stream is met as if it had been there for ever, perhaps amid a span: so the share holds for short streams too,
        and spans of streams that began together do not all end together. The very first frame begins a whole span.
        """
        if self._first:
            self._first = False
            return 0, self._span
        if new and self._random.random() < self._share:
            return 0, int(self._random.integers(1, self._span + 1))
        return int(self._random.geometric(self._begins)) - (not new), self._span

    def take(self, span: Span) -> bool:
        """A span for the reference; whether there was room for it."""
        if self.spans.qsize() >= self._waiting:
            self.dropped += 1
            return False
        self.spans.put(span)
        return True


class Watch:
    """What the shadow sees of one stream. Whoever steps the stream calls it; the reference's thread only leaves word."""

    def __init__(self, sample: Sample, number: int) -> None:
        self.number = number
        self.carried: Memory | None = None  # the reference's thread's: its memory after its last span of the stream
        self.exceeded = 0  # the reference's thread's: spans past the budget
        self.doomed = -1  # the life that is to be forgotten
        self._sample = sample
        self._life = 0  # how often the stream began anew
        self._span: Span | None = None
        self._follows = False  # the frame before was the last one of a span that the reference has, or will have
        self._left_out, self._length = -1, 0  # not drawn yet

    @property
    def forget(self) -> bool:
        """Whether the stream is to forget what it remembers."""
        return self.doomed == self._life

    def check(self) -> None:
        """Raise if no frame is to be taken any more."""
        if self._sample.failure is not None:
            raise CheckFailedError(self._sample.failure, expected="poses within the shadow's budget", run="posemoe-edge verify")

    def saw(self, slots: Slots, seat: int, keypoints: Floats, dt_s: float, reset: bool, *, t_s: float, xyz_m: Floats) -> None:
        """A frame was lifted, and is about to be committed: a span that it begins takes the memory from before it.

        Args:
            keypoints, dt_s, reset: what the slot was given.
            t_s: capture time.
            xyz_m: (J, 3) what the model made of it.
        """
        sample = self._sample
        with sample.lock:
            sample.resets += reset and self.forget
            self._life += reset
            if sample.ended:
                return
            sample.fed += 1
            if self._left_out < 0:
                self._left_out, self._length = sample.draw(new=True)
            if self._left_out:
                self._left_out -= 1
                self._follows = False
                return
            span = self._span
            if span is None:
                memory = None if reset or self._follows else slots.copy(seat)
                span = self._span = Span(self, self._length, keypoints, follows=self._follows, memory=memory)
                span.from_s = t_s
            n = span.count
            span.keypoints[n], span.dt_s[n], span.reset[n], span.xyz_m[n] = keypoints, dt_s, reset, xyz_m
            span.count, span.to_s, span.life = n + 1, t_s, self._life
            if span.count == self._length:
                self.end()

    def cut(self) -> None:
        """What the stream remembers is about to be replaced, or nobody's any more."""
        with self._sample.lock:
            self.end()
            self._follows = False
            self._life += 1

    def end(self) -> None:
        """The span is over, if there is one. Under the sample's lock."""
        if self._span is not None:
            self._follows = self._sample.take(self._span)
            self._span = None
            self._left_out, self._length = self._sample.draw(new=False)
