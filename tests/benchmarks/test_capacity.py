"""The capacity of a core and the need of cameras, against arithmetic by hand."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "capacity.py"
STEPS = [{"streams": n, "p99_ms": 1.2 + 0.5 * n, "engine": "onnxruntime-cpu", "precision": "fp32"} for n in (1, 8, 32)]


@pytest.fixture(scope="module")
def capacity() -> dict[str, Any]:
    pytest.importorskip("tritonclient")
    return runpy.run_path(str(SCRIPT))


def test_a_core_lifts_as_many_as_fit_into_a_frame(capacity: dict[str, Any]) -> None:
    core = capacity["core_of"](STEPS, 25.0)
    assert core.people == 77  # 1.2 + 0.5 * 77 = 39.7 of 40 ms
    assert core.person_ms == pytest.approx(0.5) and core.fixed_ms == pytest.approx(1.2)
    with pytest.raises(ValueError, match="one number of people"):
        capacity["core_of"](STEPS[:1], 25.0)


def test_what_cameras_need(capacity: dict[str, Any]) -> None:
    core = capacity["Core"](1.0, 0.5, 70)
    need = capacity["need_of"](100, core, state_bytes=70_000, fps=25.0, people=2.0, detector_ms=20.0, mbit=4.0)
    assert (need.people, need.lifting_cores, need.detecting_cores) == (200, 3, 100)
    assert need.state_gb == pytest.approx(0.028) and need.pictures_mbit_s == 400
    assert need.keypoints_mbit_s > 8 * 200 * 25 * 17 * 3 * 4 / 1e6  # more than the numbers alone
    assert need.poses_tb_a_day == pytest.approx(200 * 25 * (4 * 85 + 24) * 86_400 / 1e12)


def test_the_command_prints_a_row_for_each_number_of_cameras(
    capacity: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, out = tmp_path / "bench.json", tmp_path / "need.json"
    report = {"preset": "tiny", "state_bytes": 70_000, "machine": {"processor": "a core"}, "steps": STEPS}
    bench.write_text(json.dumps(report))
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(bench), "--detector-ms", "20", "--json", str(out)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    needs = json.loads(out.read_text())["needs"]
    assert [need["cameras"] for need in needs] == list(capacity["CAMERAS"])
    assert len(capsys.readouterr().out.splitlines()) == 4 + len(needs)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(bench), "--detector-ms", "20", "--fps", "1000"])
    with pytest.raises(SystemExit, match="does not lift one person"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
