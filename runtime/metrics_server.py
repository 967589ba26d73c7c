"""``--metrics HOST:PORT``: how a run is going, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, get_args

from .address import Address
from .errors import MissingError, missing_extra
from .live_status import LiveStatus
from .pose.types import GapAction
from .shadow import ShadowReport
from .sinks import RunInfo

PREFIX = "posemoe_edge_"
FORM = "HOST:PORT, such as 127.0.0.1:9464, or port 0 for a free one"
"""How a user writes the address. The host is named, so that no network is opened unasked."""


class MetricsServer:
    """Serves a status at ``/metrics``, from threads of its own, until it is closed. A context manager.

    Args:
        status: what is served; it is read at each request.
        run: what is run, for the labels of ``posemoe_edge_run_info``.
        address: where to listen.

    Raises:
        MissingError: prometheus-client is not installed, or nothing can listen there.
    """

    def __init__(self, status: LiveStatus, run: RunInfo, address: Address) -> None:
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            raise missing_extra("prometheus-client", "metrics", "--metrics") from None
        registry = CollectorRegistry()  # of its own, without the metrics of other libraries
        registry.register(_StatusCollector(status, run))
        try:
            self._server, self._thread = start_http_server(address.port, address.host, registry=registry)
        except OSError as error:
            raise MissingError(
                f"metrics cannot be served at {address}: {error.strerror or error}", expected="a free port of this machine"
            ) from None
        self.address = Address(address.host, self._server.server_port)

    @property
    def url(self) -> str:
        return f"http://{self.address}/metrics"

    def close(self) -> None:
        """Free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()


@dataclass(frozen=True, eq=False)  # a CollectorRegistry keeps its collectors in a dictionary
class _StatusCollector:
    """A status as Prometheus' metrics."""

    status: LiveStatus
    run: RunInfo

    def collect(self) -> Iterator[Any]:
        """All metrics, of one instant."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, SummaryMetricFamily

        now = self.status.now()
        counters = {
            "frames": ("Frames of the source.", now.frames),
            "poses": ("Poses of all people.", now.poses),
            "frames_refused": ("Frames of one person that were refused.", now.refused),
            "people_started": ("How often somebody came into view.", now.people_started),
            "deadline_misses": ("Frames that took longer than the source's nominal interval.", now.deadline_misses),
            "source_losses": ("How often the source was lost.", now.losses),
            "source_returns": ("How often a lost source came back.", now.returns),
            "frames_dropped": ("Frames that sinks were too slow for.", now.dropped),
            "clock_resets": ("How often the source's clock jumped back.", now.clock_resets),
        }
        gauges = {
            "people": ("People in view in the newest frame.", now.people),
            "recent_frames_per_second": ("Frames a second in the last seconds.", now.fps),
            "source_up": ("1, or 0 while the source is lost.", now.source_up),
            "frame_age_seconds": ("Since the newest frame.", now.frame_age_s),
            "recent_lag_median_seconds": ("From a frame's arrival to its poses.", now.lag_s and now.lag_s[0]),
            "recent_lag_max_seconds": ("From a frame's arrival to its poses.", now.lag_s and now.lag_s[1]),
        }
        run = {"preset": self.run.preset, "precision": self.run.precision, "mode": self.run.mode, "engine": self.run.engine}
        yield InfoMetricFamily(f"{PREFIX}run", "What is run.", run)
        for name, (meaning, count) in counters.items():
            if count is not None:
                yield CounterMetricFamily(PREFIX + name, meaning, count)
        yield from _shadow_metrics(now.shadow)
        for name, (meaning, value) in gauges.items():
            if value is not None:
                yield GaugeMetricFamily(PREFIX + name, meaning, float(value))
        gaps = CounterMetricFamily(
            f"{PREFIX}gaps", "Poses for which time had to be bridged, by what was done.", labels=["action"]
        )
        for action in get_args(GapAction):
            if action != "none":
                gaps.add_metric([action], now.gaps.get(action, 0))
        yield gaps
        stages = SummaryMetricFamily(f"{PREFIX}stage_seconds", "Of the frames in which a stage ran.", labels=["stage"])
        for stage, (frames, total_s) in now.stage_totals_s.items():
            stages.add_metric([stage], frames, total_s)
        yield stages


def _shadow_metrics(report: ShadowReport | None) -> Iterator[Any]:
    """What a shadow has measured; nothing without one."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    if report is None:
        return
    prefix = f"{PREFIX}shadow_"
    yield GaugeMetricFamily(f"{prefix}up", "1, or 0 since the shadow's reference failed.", float(report.error is None))
    counters = {
        "frames": ("Frames that the reference lifted too.", report.frames),
        "spans_over_budget": ("Spans of frames whose drift was over the budget.", report.over_budget),
        "spans_dropped": ("Spans that were not compared, because the reference was too slow.", report.dropped_spans),
        "resets": ("How often a stream was reset for its drift.", report.resets),
    }
    for name, (meaning, count) in counters.items():
        yield CounterMetricFamily(prefix + name, meaning, count)
    drift = GaugeMetricFamily(
        f"{prefix}drift_mm", "Distance of the engine's joints from the reference's, since the run began.", labels=["statistic"]
    )
    for statistic, mm in report.drift_mm or ():
        drift.add_metric([statistic], mm)
    yield drift
