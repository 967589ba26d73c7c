"""The shadow: a thread in which the reference lifts spans of a run, and what it found."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from queue import Empty
from threading import Thread
from types import TracebackType
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from ..artefact.certificate import Budget
from ..artefact.record import Record
from ..errors import UsageError
from ..state import Memory
from .drift import DriftHistogram, DriftPercentiles
from .sample import Sample, Span, Watch

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Policy = Literal["warn", "reset", "fail"]

SPAN = 100  # frames: long enough for a state to go astray, short enough to be news
WAITING = 32  # spans, with a memory each where they do not follow one another: 0.7 MB of the shipped model
POLITE = 10  # of 19: who is last in the queue for a core may hold Python's lock meanwhile


class Reference(Protocol):
    """What an engine is compared with. One thread at a time calls it, the shadow's."""

    def lift(self, keypoints: Floats, dt_s: Floats, reset: NDArray[np.bool_], memory: Memory | None) -> tuple[Floats, Memory]:
        """(T, J, 3) poses of T frames that follow one another, and the memory after the last of them.

        Args:
            keypoints: (T, J, channels), as a step graph takes them.
            dt_s: (T,) seconds since the frame before.
            reset: (T,) true where the memory is cleared before the frame.
            memory: what came of the frames before, as ``Slots.copy`` or this method gave it; None is nothing.
        """
        ...


class ShadowReport(Record):
    """What a shadow has found so far.

    Args:
        fed_frames: frames of all streams that were fed while the shadow was on.
        frames, spans: those that were compared.
        over_budget: spans past the budget.
        dropped_spans: spans that were not compared, because the reference was behind.
        resets: how often a stream was made to forget.
        drift_mm: over all joints of the frames compared; None if there are none.
        error: why the shadow ended before the run; None if it did not.
    """

    share: float
    policy: Policy
    budget: Budget
    fed_frames: int
    frames: int
    spans: int
    over_budget: int
    dropped_spans: int
    resets: int
    drift_mm: DriftPercentiles | None
    error: str | None

    @property
    def failed(self) -> bool:
        """Whether the policy is to fail, and poses were over the budget or could not be compared."""
        return self.policy == "fail" and (self.over_budget > 0 or self.error is not None)


class Shadow:
    """Compares spans of a run's frames with a reference. Given to ``load``; closed by whoever made it.

    Closed loop: a span begins with a copy of what the stream remembers, or at a reset with nothing, and from there the
    reference carries its own memory. A span that follows another one goes on with what the reference carried. The first
    stream's first frame begins the first span; all others are drawn.

    A step never waits: a span for which there is no room is dropped and counted. If the reference raises, the shadow ends
    and says so, and the run goes on.

    Args:
        reference: what to compare with.
        budget: what is allowed of a span: its ``mean_mm``, ``p99_mm`` and ``max_mm``. It is too short to have a slope.
        share: of the frames of all streams.
        policy: what follows from a span past the budget. ``warn`` tells; ``reset`` tells, and the stream forgets before its
            next frame; ``fail`` tells, and from the next step on each raises a ``CheckFailedError``.
        span: frames of a span. It is shorter where the stream ends.
        waiting: spans that may wait for the reference.
        seed: of the spans' places.
        tell: takes lines for people, in the shadow's thread. Of a stream's spans past the budget it is told the first, the
            second, the fourth, the eighth ...
    """

    def __init__(
        self,
        reference: Reference,
        *,
        budget: Budget,
        share: float = 0.01,
        policy: Policy = "warn",
        span: int = SPAN,
        waiting: int = WAITING,
        seed: int = 0,
        tell: Callable[[str], None] = log.warning,
    ) -> None:
        if not 0 < share <= 1:
            raise UsageError(f"a shadow of a share of {share}", expected="more than 0, and at most 1")
        if policy not in get_args(Policy):
            raise UsageError(f"a shadow's policy {policy!r}", expected=f"one of {', '.join(get_args(Policy))}")
        if span < 1 or waiting < 1:
            raise UsageError(f"a shadow with {span} frames a span, {waiting} spans waiting", expected="at least 1 of each")
        self._reference, self._budget, self._share, self._policy = reference, budget, share, policy
        self._sample = Sample(share=share, span=span, waiting=waiting, seed=seed)
        self._tell = tell
        self._thread: Thread | None = None
        self._drift = DriftHistogram()
        self._frames = self._spans = self._over = 0
        self._found: tuple[int, int, int, DriftPercentiles | None] = (0, 0, 0, None)  # of one moment, for other threads
        self._error: str | None = None

    def watch(self) -> Watch:
        """A watch for a new stream: what ``Model.stream`` asks for."""
        with self._sample.lock:
            if self._thread is None and not self._sample.ended:
                self._thread = Thread(target=self._work, name="shadow", daemon=True)
                self._thread.start()
        return self._sample.watch()

    def report(self) -> ShadowReport:
        """What was found so far; after ``close``, all there is."""
        frames, spans, over, drift_mm = self._found
        return ShadowReport(
            share=self._share,
            policy=self._policy,
            budget=self._budget,
            fed_frames=self._sample.fed,
            frames=frames,
            spans=spans,
            over_budget=over,
            dropped_spans=self._sample.dropped,
            resets=self._sample.resets,
            drift_mm=drift_mm,
            error=self._error,
        )

    def close(self) -> None:
        """Compare what was recorded, then end the thread; a second call does nothing. Streams go on without a shadow."""
        self._sample.end()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Shadow:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _work(self) -> None:
        spans = self._sample.spans
        try:
            if sys.platform == "linux":  # where that is the thread's own priority: the engine has the cores first
                os.nice(POLITE)
            while (span := spans.get()) is not None:
                self._compare(span)
        except Exception as error:  # of whatever kind: a shadow must not end a run, nor vanish
            self._error, self._sample.ended = f"{type(error).__name__}: {error}", True
            log.debug("the shadow's reference failed", exc_info=error)
            self._tell(f"the shadow is off, its reference failed: {self._error}")
            try:
                while True:
                    spans.get_nowait()
            except Empty:
                pass

    def _compare(self, span: Span) -> None:
        n, watch = span.count, span.watch
        memory = watch.carried if span.follows else span.memory
        poses, watch.carried = self._reference.lift(span.keypoints[:n], span.dt_s[:n], span.reset[:n], memory)
        expected = span.xyz_m[:n].shape
        if poses.shape != expected:
            raise ValueError(f"poses of shape {poses.shape} instead of {expected}")
        drift_mm = 1000 * np.linalg.norm(poses.astype(np.float64) - span.xyz_m[:n], axis=-1)  # (T, J)
        drift_mm[np.isnan(drift_mm)] = np.inf
        exceeded = _exceeded(drift_mm, self._budget)
        self._drift.add(drift_mm)
        self._frames, self._spans, self._over = self._frames + n, self._spans + 1, self._over + bool(exceeded)
        self._found = (self._frames, self._spans, self._over, self._drift.percentiles())
        if exceeded:
            self._act(span, ", ".join(exceeded))

    def _act(self, span: Span, exceeded: str) -> None:
        watch, sample = span.watch, self._sample
        finding = f"stream {watch.number} drifted from the reference, {span.from_s:.2f} to {span.to_s:.2f} s: {exceeded}"
        watch.exceeded += 1
        if self._policy == "reset":
            watch.doomed = span.life
        if self._policy == "fail" and sample.failure is None:
            sample.failure = finding
        if watch.exceeded & (watch.exceeded - 1) == 0:  # 1, 2, 4, 8 ...
            self._tell(finding + (f" ({watch.exceeded} spans by now)" if watch.exceeded > 1 else ""))


def _exceeded(drift_mm: NDArray[np.float64], budget: Budget) -> list[str]:
    """What of a span's (T, J) drift is over the budget, in words."""
    with np.errstate(invalid="ignore"):  # between infinite ones a percentile is nan, which no budget allows
        have = {"mean_mm": drift_mm.mean(), "p99_mm": np.percentile(drift_mm, 99), "max_mm": drift_mm.max()}
    return [f"{name} {mm:.4g} > {getattr(budget, name):.4g}" for name, mm in have.items() if not mm <= getattr(budget, name)]
