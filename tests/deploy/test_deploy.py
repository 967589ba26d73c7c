"""The files for systemd and Docker: what their own programs or parsers say of them, and that they agree with the program."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.edge.cli.main import cli
from posemoe_edge.runtime.address import Address
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.live_status import LiveStatus
from posemoe_edge.runtime.metrics_server import MetricsServer
from posemoe_edge.runtime.sinks import RunInfo
from posemoe_edge.runtime.sources import SourceInfo

ROOT = Path(__file__).parents[2]
UNIT, COMPOSE = ROOT / "deploy" / "posemoe-edge.service", ROOT / "deploy" / "compose.yaml"


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The options of ``run``, as the program reads them."""
    assert arguments[0] == "run"
    command = cli.get_command(cli.make_context("posemoe-edge", ["run"], resilient_parsing=True), "run")
    assert command is not None
    return command.make_context("run", arguments[1:]).params


@pytest.fixture
def unit() -> configparser.SectionProxy:
    """The service's section."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(UNIT)
    return parser["Service"]


@pytest.fixture
def service() -> dict[str, Any]:
    """Of the compose file."""
    yaml = pytest.importorskip("yaml")
    record: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]["posemoe-edge"]
    return record


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    text = re.sub(
        "^ExecStart=/opt/[^ ]*", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE
    )  # it looks for the program
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    process = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in process.stderr.splitlines() if UNIT.name in line]
    assert ours == [], process.stderr
    copy.write_text(text.replace("WatchdogSec", "WatchDogSec"))
    process = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60, check=False)
    assert "WatchDogSec" in process.stderr, "it checks nothing here"


def test_the_unit_starts_a_run_that_tells_systemd_how_it_is(unit: configparser.SectionProxy) -> None:
    program, *arguments = shlex.split(unit["ExecStart"])
    assert Path(program).name == "posemoe-edge" and parsed(arguments)["source"] == "camera0"
    assert unit["Type"] == "notify" and unit["WatchdogSignal"] == "SIGTERM"  # which ends a run with its files kept


def test_the_container_starts_a_run_whose_metrics_are_where_they_are_looked_for(service: dict[str, Any]) -> None:
    address = Address.parse(f"//{parsed(service['command'])['metrics']}", form="HOST:PORT")
    (port,) = service["ports"]
    assert port == f"127.0.0.1:{address.port}:{address.port}"
    assert f"http://127.0.0.1:{address.port}/metrics" in service["healthcheck"]["test"][-1]
    assert (COMPOSE.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_the_image_has_what_its_run_needs() -> None:
    assert re.search(r'"/src\[[^]]*\bmetrics\b', (ROOT / "docker" / "desktop.Dockerfile").read_text())


@pytest.mark.parametrize(("age_s", "code"), [(1.0, 0), (31.0, 1), (None, 1)])
def test_the_health_check_fails_if_frames_stop(age_s: float | None, code: int, service: dict[str, Any]) -> None:
    """It is run as it stands in the file, against a real server at another port."""
    pytest.importorskip("prometheus_client")
    clock = Clock()
    status = LiveStatus(clock=clock)
    if age_s is not None:
        status.add(PoseFrame(0.0, {}))
        clock.now_s += age_s
    run = RunInfo(SourceInfo("camera0"), "tiny", "fp32", "step", "onnxruntime-cpu", latency_frames=0)
    with MetricsServer(status, run, Address("127.0.0.1", 0)) as server:
        kind, python, *arguments = service["healthcheck"]["test"]
        assert (kind, python) == ("CMD", "python")
        arguments[-1] = arguments[-1].replace("http://127.0.0.1:9464/metrics", server.url)
        process = subprocess.run([sys.executable, *arguments], capture_output=True, timeout=30, check=False)
    assert process.returncode == code


class Clock:
    """Seconds that pass when a test says so."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s
