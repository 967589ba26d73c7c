"""What Prometheus reads, by real requests."""

from __future__ import annotations

import socket
import sys
import threading
import urllib.request
from dataclasses import replace

import numpy as np
import pytest
from posemoe_edge.runtime.address import Address
from posemoe_edge.runtime.artefact.certificate import Budget
from posemoe_edge.runtime.errors import MissingError
from posemoe_edge.runtime.events import PoseFrame, SourceLost
from posemoe_edge.runtime.live_status import LiveStatus
from posemoe_edge.runtime.metrics_server import MetricsServer
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.shadow import DriftPercentiles, ShadowReport
from posemoe_edge.runtime.sinks import RunInfo
from posemoe_edge.runtime.sources import SourceInfo

RUN = RunInfo(SourceInfo("rtsp://user:secret@host"), "tiny", "fp16", "step", "onnxruntime-cpu", latency_frames=0)
ANYWHERE = Address("127.0.0.1", 0)
POSE = Pose(np.zeros((17, 3), np.float32), np.ones(17, np.float32), 0.0, 0.02, latency_frames=0, gap="decay")


def read(url: str) -> dict[tuple[str, str], float]:
    """(name, value of the only label or nothing) -> value."""
    parser = pytest.importorskip("prometheus_client.parser")
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    assert "secret" not in text
    samples = [sample for family in parser.text_string_to_metric_families(text) for sample in family.samples]
    assert all(sample.name.startswith("posemoe_edge_") for sample in samples)
    return {(sample.name, next(iter(sample.labels.values()), "")): sample.value for sample in samples}


def test_the_numbers_are_those_of_the_run_at_the_time_of_the_request() -> None:
    pytest.importorskip("prometheus_client")
    status = LiveStatus(fps=50)
    with MetricsServer(status, RUN, ANYWHERE) as server:
        assert read(server.url)["posemoe_edge_frames_total", ""] == 0
        for stages_s in ({"detect": 0.018, "lift": 0.004}, {"lift": 0.002}):
            status.add(replace(PoseFrame(0.0, {0: POSE, 1: POSE}), stages_s=stages_s, lag_s=0.03))
        status.add(SourceLost(1.0, "unplugged"))
        values = read(server.url)
    assert {name: values[f"posemoe_edge_{name}", ""] for name in ("frames_total", "poses_total", "deadline_misses_total")} == {
        "frames_total": 2,
        "poses_total": 4,
        "deadline_misses_total": 1,
    }
    assert values["posemoe_edge_gaps_total", "decay"] == 4 and values["posemoe_edge_gaps_total", "hold"] == 0
    assert values["posemoe_edge_stage_seconds_count", "lift"] == 2
    assert values["posemoe_edge_stage_seconds_sum", "lift"] == pytest.approx(0.006)
    assert values["posemoe_edge_recent_lag_max_seconds", ""] == 0.03
    assert (values["posemoe_edge_source_up", ""], values["posemoe_edge_source_losses_total", ""]) == (0, 1)


def test_the_drift_of_a_shadow_is_there_if_the_run_has_one() -> None:
    pytest.importorskip("prometheus_client")
    drift = DriftPercentiles(mean=0.1, p50=0.05, p95=0.3, p99=0.4, max=2.5)
    budget = Budget(mean_mm=1, p99_mm=5, max_mm=2, slope_mm_per_1000=0.1, mpjpe_loss_mm=0.5)
    report = ShadowReport(
        share=0.1, policy="warn", budget=budget, fed_frames=2000, frames=200, spans=2, over_budget=1, dropped_spans=3,
        resets=0, drift_mm=drift, error=None,
    )  # fmt: skip
    reports = [report.model_copy(update={"drift_mm": None, "error": "ValueError"}), report]  # the last first
    with MetricsServer(LiveStatus(shadow=lambda: reports.pop()), RUN, ANYWHERE) as server:
        values, broken = read(server.url), read(server.url)
    assert {key[1]: value for key, value in values.items() if key[0] == "posemoe_edge_shadow_drift_mm"} == drift.model_dump()
    assert values["posemoe_edge_shadow_frames_total", ""] == 200 and values["posemoe_edge_shadow_up", ""] == 1
    assert values["posemoe_edge_shadow_spans_over_budget_total", ""] == 1
    assert broken["posemoe_edge_shadow_up", ""] == 0
    assert not [name for name, _ in broken if name == "posemoe_edge_shadow_drift_mm"]


def test_what_is_not_known_is_left_out() -> None:
    pytest.importorskip("prometheus_client")
    with MetricsServer(LiveStatus(), RUN, ANYWHERE) as server:
        names = {name for name, _ in read(server.url)}
    assert not [name for name in names if "shadow" in name]
    assert not names & {
        "posemoe_edge_deadline_misses_total",
        "posemoe_edge_frame_age_seconds",
        "posemoe_edge_recent_lag_max_seconds",
    }


def test_it_ends_with_its_port_and_its_thread() -> None:
    pytest.importorskip("prometheus_client")
    threads = threading.active_count()
    with MetricsServer(LiveStatus(), RUN, ANYWHERE) as server:
        assert threading.active_count() > threads
    assert threading.active_count() == threads
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((server.address.host, server.address.port))


def test_a_port_that_is_taken_is_an_error() -> None:
    pytest.importorskip("prometheus_client")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(MissingError, match=r"cannot be served at 127\.0\.0\.1:"):
            MetricsServer(LiveStatus(), RUN, Address("127.0.0.1", taken.getsockname()[1]))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingError, match=r"posemoe-edge\[metrics\]"):
        MetricsServer(LiveStatus(), RUN, ANYWHERE)
