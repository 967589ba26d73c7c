"""A pipeline's run as a person at the terminal sees it: a progress bar, or how it is going if it has no end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from ...runtime.events import ClockReset, Event, FrameRefused, PoseFrame, SourceBack, SourceLost, TrackLost
from ...runtime.live_status import LiveStatus, Status
from ...runtime.pipeline import Pipeline
from ...runtime.run_stats import RunStats
from ...runtime.sinks import Sink
from .output import Output

_NUMBERS = re.compile(r"[-+]?\d[\d.]*(e[-+]?\d+)?")
_MOST_LOSSES = 20
"""The first 20 people who are lost are printed, later ones only while fewer than one in 20 frames loses somebody. Where a
source gives its times in a wrong unit, every frame loses everybody."""


def run_pipeline(
    out: Output,
    pipeline: Pipeline,
    sinks: Sequence[Sink],
    *,
    total: int | None,
    status: LiveStatus | None = None,
    watch: Sequence[Callable[[Event], None]] = (),
) -> RunStats:
    """Run a pipeline, and print the events that a person should see.

    Args:
        total: frames of the source, for a progress bar; None if it has no end.
        status: is told of each event, and shown if the source has no end.
        watch: called with each event.
    """
    watching = [*([status.add] if status else []), *watch]
    endless = status is not None and total is None

    refusals, seen = Counter[tuple[int, str]](), Counter[type[Event]]()

    def show(event: Event) -> None:
        seen[type(event)] += 1
        for see in watching:
            see(event)
        if isinstance(event, FrameRefused):
            kind = event.person, _NUMBERS.sub("", event.error.what)
            refusals[kind] += 1
            if refusals[kind] == 1:  # the others of its kind are counted: there may be one in each frame of an hour
                out.warn(f"person {event.person} at {event.t_s:.3f} s: frame refused, {event.error}")
        elif isinstance(event, TrackLost):
            losses = seen[TrackLost]
            if losses <= _MOST_LOSSES or losses < seen[PoseFrame] / _MOST_LOSSES:
                out.print(f"  person {event.person} lost at {event.t_s:.2f} s")
        elif isinstance(event, SourceLost):
            out.warn(f"the source was lost at {event.t_s:.2f} s: {event.reason}")
        elif isinstance(event, SourceBack):
            out.print(f"  the source is back at {event.t_s:.2f} s")
        elif isinstance(event, ClockReset):
            out.warn(f"the source's clock started again: from {event.before_s:.3f} s to {event.t_s:.3f} s")

    if endless and status is not None:
        with out.live(lambda: status_lines(status.now())):
            stats = pipeline.run(sinks, on_event=show)
    else:
        with out.progress("lifting", total=total) as advance:
            watching.append(lambda event: advance(1) if isinstance(event, PoseFrame) else None)
            stats = pipeline.run(sinks, on_event=show)
    for (person, _), count in refusals.items():
        if count > 1:
            out.warn(f"person {person}: {count} frames refused for that in all")
    if seen[TrackLost] > _MOST_LOSSES:
        out.print(f"  people were lost {seen[TrackLost]} times in all")
    if stats.failed_check:
        out.warn(f"the run ends here: {stats.failed_check.what}")
    return stats


def status_lines(status: Status) -> str:
    """How a run is going, in one to four lines: the rate, what a frame takes, the shadow's drift, what went wrong."""
    lines = [str(status)]
    if status.stages_s:
        times = [f"{stage} {1000 * stage_s:.1f}" for stage, stage_s in status.stages_s.items()]
        lines.append(f"a frame takes {1000 * sum(status.stages_s.values()):.1f} ms: {', '.join(times)}")
    shadow = status.shadow
    if shadow and shadow.drift_mm:
        drift = shadow.drift_mm
        millimetres = f"mean {drift.mean:.2g}, p99 {drift.p99:.2g}, max {drift.max:.2g} mm"
        lines.append(f"the shadow's drift is {millimetres}, over {shadow.frames} frames")
    troubles = {
        "deadlines missed": status.deadline_misses,
        "refused": status.refused,
        **{f"gaps ({gap})": count for gap, count in status.gaps.items()},
        "source lost": status.losses,
        "source back": status.returns,
        "clock resets": status.clock_resets,
        "dropped before sinks": status.dropped,
        "shadow's spans over the budget": shadow.over_budget if shadow else 0,
        "shadow's spans dropped": shadow.dropped_spans if shadow else 0,
        "shadow failed": bool(shadow and shadow.error),
    }
    if any(troubles.values()):
        lines.append(", ".join(f"{name} {count}" for name, count in troubles.items() if count))
    return "\n".join(f"  {line}" for line in lines)
