"""posemoe-edge doctor: why TensorRT is not used, and the command that changes it on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from posemoe_edge.edge import environment
from posemoe_edge.edge.cli import doctor_verb
from posemoe_edge.runtime import MissingError
from posemoe_edge.runtime.artefact.locate import DEFAULT_MODEL
from posemoe_edge.runtime.engines.tensorrt.plan import BuildKey, write_plan
from posemoe_edge.runtime.platform.jetson import ClockRange, PlatformInfo
from posemoe_edge.runtime.platform.nvidia import Gpu

Call = Callable[..., Any]
DESKTOP = PlatformInfo(None, None, None, None, "580.82", None, (), 32 << 30, {})
ORIN = PlatformInfo(
    model="NVIDIA Jetson Orin NX",
    l4t="36.4.3",
    jetpack="6.1 to 6.2",
    jetpack_tensorrt="10.3",
    driver=None,
    power_mode="2 15W",
    clocks=(ClockRange("cpu", 729.6, 729.6, 1984.0), ClockRange("gpu", 918.0, 918.0, 918.0)),
    memory_bytes=16 << 30,
    packages={"python3-libnvinfer": "10.3.0.30"},
    full_power=3,
)
GPU = Gpu(name="Orin", capability="sm87", cuda="12.6", memory_bytes=16 << 30, integrated=True)


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, zoo: Path) -> Callable[..., None]:
    """set_up(board, gpu, versions): doctor finds itself on such a machine, with these versions of the engines."""
    monkeypatch.setattr(doctor_verb, "list_cameras", lambda: [])
    monkeypatch.setattr(environment, "ask_nvidia_smi", lambda: None)

    def machine(board: PlatformInfo = DESKTOP, gpu: Gpu | None = None, **versions: str) -> None:
        def import_tensorrt(engine: str) -> Any:
            if engine.replace("-", "_") not in versions:
                raise MissingError(f"no {engine}", run=board.install(engine))
            return SimpleNamespace(__version__=versions[engine.replace("-", "_")])

        def find_gpu() -> Gpu:
            if gpu is None:
                raise MissingError("no driver")
            return gpu

        monkeypatch.setattr(doctor_verb, "read_platform", lambda: board)
        monkeypatch.setattr(environment, "find_gpu", find_gpu)
        monkeypatch.setattr(environment, "import_tensorrt", import_tensorrt)

    return machine


@pytest.fixture
def planned(zoo: Path, make_build_key: Callable[..., BuildKey]) -> Path:
    """The shipped default, with a plan of its fp16 graph."""
    folder = zoo / DEFAULT_MODEL
    write_plan(folder, make_build_key(folder, "fp16"), b"plan", seconds=1)
    return folder


def test_without_a_gpu_doctor_shows_what_still_works(run_cli: Call, set_up: Callable[..., None]) -> None:
    set_up(tensorrt_rtx="1.7.1")
    result = run_cli("doctor", "--json")
    assert result.code == 0 and result.json["gpu"]["error"] == "no driver"
    rtx = result.json["tensorrt"]["tensorrt-rtx"]
    assert not rtx["ok"] and "no GPU to run on; it builds plans" in rtx["why"] and rtx["run"].startswith("posemoe-edge build")
    assert result.json["tensorrt"]["tensorrt"]["run"] == 'pip install "posemoe-edge[tensorrt]"'
    assert "none    GPU     no driver" in result.err


def test_on_jetpack_6_the_systems_tensorrt_needs_an_environment_that_sees_it(
    run_cli: Call, set_up: Callable[..., None]
) -> None:
    set_up(ORIN, GPU)
    result = run_cli("doctor", "--json")
    status = result.json["tensorrt"]["tensorrt"]
    assert "JetPack's TensorRT 10.3.0.30 belongs to the system's Python" in status["why"]
    assert "--system-site-packages" in status["run"] and status["run"] in result.err


def test_a_jetson_is_shown_with_its_power_mode_and_clocks(run_cli: Call, set_up: Callable[..., None]) -> None:
    set_up(ORIN, GPU)
    result = run_cli("doctor", "--json")
    assert "NVIDIA Jetson Orin NX: JetPack 6.1 to 6.2 (L4T 36.4.3), power mode 2 15W" in result.err
    assert "Orin, sm87, 16.0 GiB shared with the processor" in result.err
    assert "cpu clock 730 MHz, moves between 730 and 1984" in result.err and "gpu clock 918 MHz, held" in result.err
    assert "for a measurement: sudo nvpmodel -m 3 && sudo jetson_clocks" in result.err
    assert [clock["held"] for clock in result.json["board"]["clocks"]] == [False, True]


def test_a_jetpack_that_is_too_old_is_reported(run_cli: Call, set_up: Callable[..., None]) -> None:
    from dataclasses import replace

    set_up(replace(ORIN, l4t="36.3.0", jetpack="6.0", jetpack_tensorrt="8.6"), GPU)
    assert "JetPack 6.0 brings TensorRT 8.6; flash JetPack 6.1 or newer" in run_cli("doctor").err


def test_a_jetson_without_a_visible_gpu_is_explained_by_groups(run_cli: Call, set_up: Callable[..., None]) -> None:
    set_up(ORIN)
    assert "sudo usermod -aG video,render" in run_cli("doctor").err
    set_up(DESKTOP)
    assert "usermod" not in run_cli("doctor").err


def test_a_tensorrt_that_does_not_load_is_not_reported_as_absent(
    run_cli: Call, set_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(ORIN, GPU)
    monkeypatch.setattr(
        environment, "package_version", lambda imported, installed: "10.3.0"
    )  # as in an environment that sees it
    assert run_cli("doctor", "--json").json["tensorrt"]["tensorrt"]["why"] == "no tensorrt"


def test_without_a_plan_the_command_that_builds_it_is_shown(run_cli: Call, set_up: Callable[..., None], zoo: Path) -> None:
    set_up(ORIN, GPU, tensorrt="10.3.0")
    status = run_cli("doctor", "--json").json["tensorrt"]["tensorrt"]
    assert not status["ok"] and "10.3.0 is installed; there is no plan of step.fp16.onnx" in status["why"]
    assert status["run"] == f"posemoe-edge build {zoo / DEFAULT_MODEL} --engine tensorrt --precision fp16"


def test_a_plan_of_another_version_is_reported(run_cli: Call, set_up: Callable[..., None], planned: Path) -> None:
    set_up(ORIN, GPU, tensorrt="10.13.3")
    status = run_cli("doctor", "--json").json["tensorrt"]["tensorrt"]
    assert not status["ok"] and "version: built by tensorrt 10.3.0, this machine has 10.13.3" in status["why"]


def test_with_a_plan_that_fits_tensorrt_is_ready(run_cli: Call, set_up: Callable[..., None], planned: Path) -> None:
    set_up(ORIN, GPU, tensorrt="10.3.0")
    result = run_cli("doctor", "--json").json
    status = result["tensorrt"]["tensorrt"]
    assert status == {
        "ok": True,
        "version": "10.3.0",
        "why": "10.3.0, step.fp16.b1-1-8.trt10.3.sm87.engine",
        "run": None,
    }
    assert result["engine"] == {"ok": True, "name": "tensorrt", "error": None} and result["ready"]


def test_without_a_cuda_package_the_one_with_wheels_is_recommended(
    run_cli: Call, set_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(DESKTOP, GPU, tensorrt="11.4.0")
    monkeypatch.setattr(environment, "CUDA_PACKAGES", (("no.such", "no-such"), ("nothing", "nothing")))
    status = run_cli("doctor", "--json").json["tensorrt"]["tensorrt"]
    assert "neither cuda-bindings nor pycuda" in status["why"] and status["run"] == "pip install cuda-bindings"
    set_up(ORIN, GPU, tensorrt="10.3.0")
    status = run_cli("doctor", "--json").json["tensorrt"]["tensorrt"]
    assert status["run"] == 'pip install "cuda-bindings==12.*"'


def test_a_desktops_clocks_are_those_of_nvidia_smi(
    run_cli: Call, set_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(DESKTOP, GPU)
    answers = {"driver": "1", "clock_mhz": "210", "most_mhz": "2520", "power_limit_w": "320.00", "persistence": "Enabled"}
    monkeypatch.setattr(environment, "ask_nvidia_smi", lambda: answers)
    result = run_cli("doctor")
    assert "driver 580.82" in result.err and "clock 210 of 2520 MHz, power limit 320.00 W" in result.err
