"""The benchmark of what is around the engine runs as a command, and sees what it is there to see."""

from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path

import pytest
from posemoe_edge.runtime.events import Event
from posemoe_edge.runtime.live_status import LiveStatus

AROUND = Path(__file__).parents[2] / "benchmarks" / "around.py"


def test_a_short_run_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "around.json"
    monkeypatch.setattr(sys, "argv", ["around.py", "--frames", "20", "--streams", "1", "2", "--json", str(written)])
    runpy.run_path(str(AROUND), run_name="__main__")
    one, two = json.loads(written.read_text())
    assert [(each["streams"], each["poses"]) for each in (one, two)] == [(1, 70), (2, 140)]  # 50 frames warm up
    assert not one["camera_known"] and min(one["engine_ms"], one["stages_ms"]["lift"]) > 0.05
    assert "1 streams: engine" in capsys.readouterr().out


def test_what_is_added_to_a_frame_is_around_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    added_ms, add = 40.0, LiveStatus.add

    def slow(self: LiveStatus, event: Event) -> None:
        time.sleep(added_ms / 1000)
        add(self, event)

    monkeypatch.setattr(LiveStatus, "add", slow)
    result = runpy.run_path(str(AROUND))["measure"](1, 5, fov_deg=70.0)
    assert result["camera_known"] and result["around_ms"] > added_ms
    assert result["around_cpu_share"] < result["around_share"]  # a sleep takes no processor time
