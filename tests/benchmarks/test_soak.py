"""The soak benchmark runs as a command, and sees a leak where there is one."""

from __future__ import annotations

import json
import runpy
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


def test_a_short_run_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "soak.json"
    monkeypatch.setattr(sys, "argv", ["soak.py", "--frames", "60", "--json", str(written)])
    runpy.run_path(str(SOAK), run_name="__main__")
    result = json.loads(written.read_text())
    assert json.loads(capsys.readouterr().out) == result
    assert (result["frames"], result["poses"]) == (60, 180) and result["sink_mb"] > 0
    assert len(result["step_p99_ms_by_tenth"]) == 10 and min(result["step_p99_ms_by_tenth"]) > 0
    assert result["resident_mb"]["end"] > 10


def test_a_leak_is_seen_as_its_rate() -> None:
    measured = count()
    result = runpy.run_path(str(SOAK))["measure"](100, memory_mb=lambda: 100 + 0.02 * next(measured))  # 20 kB a frame
    assert result["slope_mb_per_hour"] == pytest.approx(0.02 * 50 * 3600) and result["slope_standard_error"] < 0.01


def test_the_slope_and_its_error_are_those_of_a_fitted_line() -> None:
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 2, 50))
    y = 3 * x + 7 + rng.normal(size=50)
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    assert runpy.run_path(str(SOAK))["slope_of"](x, y) == pytest.approx((slope, np.sqrt(covariance[0, 0])))
