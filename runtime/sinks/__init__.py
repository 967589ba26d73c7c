"""Sinks of a pipeline's events: JSON lines, pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..registry import Registry
from .base import BaseSink, RunInfo, Sink
from .group import SinkGroup

__all__ = ["SINKS", "BaseSink", "RunInfo", "Sink", "SinkGroup", "open_sink", "open_sinks"]

SINKS: Registry[Callable[[str], Sink]] = Registry(
    "sink",
    group="posemoe_edge.sinks",
    builtin={
        "jsonl": "posemoe_edge.runtime.sinks.jsonl:JsonLinesSink",
        "png": "posemoe_edge.runtime.sinks.png:PngSink",
    },
    forms={"jsonl": "jsonl:FILE", "png": "png:FILE"},
)
"""Name -> factory that takes what stands behind ``NAME:``."""


def open_sink(spec: str) -> Sink:
    """The sink that ``spec`` names, e.g. ``jsonl:poses.jsonl``, ``jsonl:-`` (stdout) or ``png:run.png``."""
    suffix = spec.rpartition(".")[2].lower()
    if ":" not in spec and suffix in SINKS and spec not in SINKS:
        raise SINKS.unknown(spec, suggestion=f"; did you mean {suffix}:{spec}?")
    factory, location = SINKS.resolve(spec)
    return factory(location)


def open_sinks(specs: Iterable[str]) -> list[Sink]:
    """The sinks that ``specs`` name; if one cannot be opened, the ones before it are aborted."""
    sinks: list[Sink] = []
    try:
        for spec in specs:
            sinks.append(open_sink(spec))
    except BaseException:
        for sink in sinks:
            sink.abort()
        raise
    return sinks
