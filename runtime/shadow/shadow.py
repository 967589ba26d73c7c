"""Shadow: a thread in which the reference lifts spans of a run and compares them with the engine's poses."""

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

from ..arrays import F32
from ..artefact.certificate import Budget, exceeded
from ..artefact.record import Record
from ..errors import UsageError
from ..state import StreamState
from .drift import DriftHistogram, DriftPercentiles
from .sampler import Span, SpanSampler, StreamSampler

log = logging.getLogger(__name__)

Policy = Literal["warn", "reset", "fail"]

SPAN = 100  # frames: long enough for a state to drift, short enough for a report in time
WAITING = 32  # spans; one that does not continue another holds a state, 0.7 MB of the shipped model
NICE_LEVEL = 10  # of 19: at 19 the thread waits longest for a core, and may hold Python's lock meanwhile


class Reference(Protocol):
    """What an engine is compared with. Only the shadow's thread calls it."""

    def lift(self, keypoints: F32, dt_s: F32, reset: NDArray[np.bool_], state: StreamState | None) -> tuple[F32, StreamState]:
        """(T, J, 3) poses of T consecutive frames, and the state after the last of them.

        Args:
            keypoints: (T, J, channels), as a step graph takes them.
            dt_s: (T,) seconds since the frame before.
            reset: (T,) true where the state is cleared before the frame.
            state: after the frame before, from ``Slots.state_copy`` or from this method; None is an empty one.
        """
        ...


class ShadowReport(Record):
    """What a shadow has measured so far.

    Args:
        fed_frames: frames of all streams that were fed while the shadow was on.
        frames, spans: how many were compared.
        over_budget: spans over the budget.
        dropped_spans: spans that were not compared, because the reference was too slow.
        resets: how often the shadow reset a stream.
        drift_mm: over all joints of the compared frames; None if there are none.
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
        """Whether the policy is ``fail``, and a span was over the budget or could not be compared."""
        return self.policy == "fail" and (self.over_budget > 0 or self.error is not None)


class Shadow:
    """Compares spans of a run's frames with a reference. The caller passes it to ``load`` and closes it.

    The comparison is closed loop: a span begins with a copy of the stream's state, or with an empty one at a reset, and from
    there the reference carries its own state. A span that continues another one begins with the reference's state. The first
    frame of the first stream begins the first span; the start of each other span is random.

    A step never waits for the reference: if too many spans wait, a new one is dropped and counted. If the reference raises,
    the shadow ends and reports it, and the run goes on.

    Args:
        reference: what to compare with.
        budget: the drift that a span may have: ``mean_mm``, ``p99_mm`` and ``max_mm``. A span is too short for a slope.
        share: the share of the frames of all streams that is compared.
        policy: the consequence of a span over the budget. ``warn`` reports it; ``reset`` also resets the stream's state before
            its next frame; ``fail`` also makes every later step raise a ``CheckFailedError``.
        span: frames of a span. It is shorter where the stream ends.
        waiting: spans that may wait for the reference.
        seed: of the random places of spans.
        on_report: called with a line of text, in the shadow's thread. Of a stream's spans over the budget the first, second,
            fourth, eighth ... are reported.
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
        on_report: Callable[[str], None] = log.warning,
    ) -> None:
        if not 0 < share <= 1:
            raise UsageError(f"a shadow with a share of {share}", expected="more than 0, and at most 1")
        if policy not in get_args(Policy):
            raise UsageError(f"unknown shadow policy {policy!r}", expected=f"one of {', '.join(get_args(Policy))}")
        if span < 1 or waiting < 1:
            raise UsageError(f"a shadow with spans of {span} frames, {waiting} waiting spans", expected="at least 1 of each")
        self._reference, self._budget, self._share, self._policy = reference, budget, share, policy
        self._span_sampler = SpanSampler(share=share, span=span, waiting=waiting, seed=seed)
        self._on_report = on_report
        self._thread: Thread | None = None
        self._drift = DriftHistogram()
        self._frames = self._spans = self._over = 0
        # Frames, spans, spans over the budget and drift, replaced as one tuple so that other threads read consistent numbers.
        self._totals: tuple[int, int, int, DriftPercentiles | None] = (0, 0, 0, None)
        self._error: str | None = None

    def stream_sampler(self) -> StreamSampler:
        """The sampler of a new stream; ``Model.stream`` calls this."""
        with self._span_sampler.lock:
            if self._thread is None and not self._span_sampler.ended:
                self._thread = Thread(target=self._work, name="shadow", daemon=True)
                self._thread.start()
        return self._span_sampler.stream_sampler()

    def report(self) -> ShadowReport:
        """What was measured so far; after ``close``, the final result."""
        frames, spans, over, drift_mm = self._totals
        return ShadowReport(
            share=self._share,
            policy=self._policy,
            budget=self._budget,
            fed_frames=self._span_sampler.fed,
            frames=frames,
            spans=spans,
            over_budget=over,
            dropped_spans=self._span_sampler.dropped,
            resets=self._span_sampler.resets,
            drift_mm=drift_mm,
            error=self._error,
        )

    def close(self) -> None:
        """Compare the recorded spans, then end the thread; a second call does nothing. Streams go on without a shadow."""
        self._span_sampler.end()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Shadow:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _work(self) -> None:
        spans = self._span_sampler.spans
        try:
            if sys.platform == "linux":  # where niceness is of a thread: the engine's threads get the cores first
                os.nice(NICE_LEVEL)
            while (span := spans.get()) is not None:
                self._compare(span)
        except Exception as error:  # a shadow must not end a run, nor vanish silently, whatever the error is
            self._error, self._span_sampler.ended = f"{type(error).__name__}: {error}", True
            log.debug("the shadow's reference failed", exc_info=error)
            self._on_report(f"the shadow is off, its reference failed: {self._error}")
            try:
                while True:
                    spans.get_nowait()
            except Empty:
                pass

    def _compare(self, span: Span) -> None:
        n, sampler = span.count, span.sampler
        state = sampler.reference_state if span.continues else span.state
        poses, sampler.reference_state = self._reference.lift(span.keypoints[:n], span.dt_s[:n], span.reset[:n], state)
        poses = poses[..., :3]  # a standard deviation may follow
        expected = span.xyz_m[:n].shape
        if poses.shape != expected:
            raise ValueError(f"poses of shape {poses.shape} instead of {expected}")
        drift_mm = 1000 * np.linalg.norm(poses.astype(np.float64) - span.xyz_m[:n], axis=-1)  # (T, J)
        drift_mm[np.isnan(drift_mm)] = np.inf
        with np.errstate(invalid="ignore"):  # a percentile between infinities is nan, which is over every budget
            measured = {"mean_mm": drift_mm.mean(), "p99_mm": np.percentile(drift_mm, 99), "max_mm": drift_mm.max()}
        over = exceeded(measured, self._budget)
        self._drift.add(drift_mm)
        self._frames, self._spans, self._over = self._frames + n, self._spans + 1, self._over + bool(over)
        self._totals = (self._frames, self._spans, self._over, self._drift.percentiles())
        if over:
            self._apply_policy(span, ", ".join(over))

    def _apply_policy(self, span: Span, reasons: str) -> None:
        sampler = span.sampler
        report = f"stream {sampler.number} drifted from the reference, {span.start_s:.2f} to {span.end_s:.2f} s: {reasons}"
        sampler.spans_over_budget += 1
        if self._policy == "reset":
            sampler.reset_epoch = span.epoch
        if self._policy == "fail" and self._span_sampler.failure is None:
            self._span_sampler.failure = report
        over = sampler.spans_over_budget
        if over & (over - 1) == 0:  # 1, 2, 4, 8 ...
            self._on_report(report + (f" ({over} spans by now)" if over > 1 else ""))
