"""Sinks of a pipeline's events: files, recordings, a window, viewers, ROS 2, datagrams."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ..destination import check_apart
from ..registry import Registry
from ..sources.base import BaseSource, Source
from .base import BaseSink, RunInfo, Sink
from .group import SinkGroup

__all__ = ["SINKS", "BaseSink", "RunInfo", "Sink", "SinkGroup", "check_sinks", "open_sink", "open_sinks"]

SINKS: Registry[Callable[[str], Sink]] = Registry(
    "sink",
    group="posemoe_edge.sinks",
    builtin={
        "jsonl": "posemoe_edge.runtime.sinks.jsonl:JsonLinesSink",
        "png": "posemoe_edge.runtime.sinks.png:PngSink",
        "video": "posemoe_edge.runtime.sinks.video:VideoSink",
        "window": "posemoe_edge.runtime.sinks.window:WindowSink",
        "mcap": "posemoe_edge.runtime.sinks.mcap:McapSink",
        "ros2": "posemoe_edge.runtime.sinks.ros2:Ros2Sink",
        "rerun": "posemoe_edge.runtime.sinks.rerun:RerunSink",
        "foxglove": "posemoe_edge.runtime.sinks.foxglove:FoxgloveSink",
        "udp": "posemoe_edge.runtime.sinks.udp:UdpSink",
    },
    forms={
        "jsonl": "jsonl:FILE",
        "png": "png:FILE",
        "video": "video:FILE.mp4",
        "mcap": "mcap:FILE.mcap|FOLDER",
        "ros2": "ros2://NAMESPACE",
        "rerun": "rerun|rerun:FILE.rrd",
        "foxglove": "foxglove|foxglove://127.0.0.1:8765",
        "udp": "udp://HOST:PORT",
    },
)
"""Name -> factory that takes what stands behind ``NAME:``."""

_NAMES = {"mp4": "video", "rrd": "rerun"}
"""Suffix of a file -> the sink that writes it, where their names differ."""


def open_sink(spec: str) -> Sink:
    """The sink that ``spec`` names, e.g. ``jsonl:poses.jsonl``, ``jsonl:-`` (stdout), ``video:run.mp4``, ``mcap:run.mcap``,
    ``ros2://posemoe``, ``rerun``, ``udp://127.0.0.1:9000`` or ``window``."""
    suffix = spec.rpartition(".")[2].lower()
    name = _NAMES.get(suffix, suffix)
    if ":" not in spec and name in SINKS and spec not in SINKS:
        raise SINKS.unknown(spec, suggestion=f"; did you mean {name}:{spec}?")
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


def check_sinks(sinks: Iterable[Sink], source: Source) -> None:
    """Check that no file is written by two sinks, or by one while the source reads it.

    Raises:
        UsageError: one is.
    """
    paths = [getattr(sink, "path", None) for sink in sinks]
    written = [path for path in paths if isinstance(path, Path)]
    check_apart(written, source.files if isinstance(source, BaseSource) else [])
