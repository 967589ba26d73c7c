"""These tests run in a process of their own, on ``host_driver.c`` in libcuda's place: see ``test_on_host_driver``."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from posemoe_edge.runtime import Model
    from posemoe_edge.runtime.cuda.device import Device
    from posemoe_edge.runtime.engines.tensorrt.engine import TensorRtEngine
    from posemoe_edge.runtime.engines.tensorrt.plan import BuildKey

LIBRARY, PACKAGE = os.environ.get("POSEMOE_HOST_DRIVER"), os.environ.get("POSEMOE_CUDA", "cuda-bindings")
ARTEFACTS = os.environ.get("POSEMOE_ARTEFACTS")
LEFT = ("device", "pinned", "streams", "graphs", "executables", "events", "current")

if LIBRARY is None:
    collect_ignore_glob = ["test_*.py"]
else:
    ctypes.CDLL(LIBRARY, mode=ctypes.RTLD_GLOBAL)  # found from now on by its name, libcuda.so.1
    sys.setdlopenflags(os.RTLD_LAZY)  # pycuda's module wants functions that it never calls here
    import host_tensorrt

    sys.modules["tensorrt"] = host_tensorrt


class Driver:
    """What the driver saw, and what it shall refuse."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(LIBRARY))

    def __getitem__(self, what: str) -> int:
        self._library.host_driver_count.restype = ctypes.c_long
        return int(self._library.host_driver_count(what.encode()))

    def fail(self, function: str, *, after: int = 0, times: int = 1, result: int = 999) -> None:
        self._library.host_driver_fail(function.encode(), after, times, result)


@pytest.fixture(scope="session", autouse=True)
def _packages() -> None:
    """What was imported is garbage to nobody: each test looks for its own twice, and need not look through all of that."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def driver() -> Iterator[Driver]:
    """The driver. When a test is over, nothing of it may be left on the device, and nothing foul have happened."""
    driver = Driver()
    driver.fail("nothing")
    host_tensorrt.FOUL.clear()
    host_tensorrt.REFUSE.clear()
    gc.collect()
    before = {what: driver[what] for what in LEFT}
    yield driver
    gc.collect()
    assert {what: driver[what] for what in LEFT} == before
    assert not list(host_tensorrt.ALIVE)
    assert not host_tensorrt.FOUL


@pytest.fixture
def device() -> Iterator[Device]:
    from posemoe_edge.runtime.cuda.open import open_device

    device = open_device(PACKAGE)
    yield device
    device.close()


@pytest.fixture
def engine_of(artefact_of: Callable[[str], Path]) -> Callable[..., TensorRtEngine]:
    """engine_of("dssm", most=4): the TensorRT engine of an artefact's graph, with a plan for so many rows."""

    def make(kind: str, *, most: int = 8, graphs: bool = True, **plan: Any) -> TensorRtEngine:
        from posemoe_edge.runtime.artefact.manifest import read_manifest
        from posemoe_edge.runtime.cuda.open import open_device
        from posemoe_edge.runtime.engines.tensorrt.engine import TensorRtEngine

        folder = artefact_of(kind)
        data = (folder / read_manifest(folder).graph().file).read_bytes()
        return TensorRtEngine(host_tensorrt.make_plan(data, most=most, **plan), device=open_device(PACKAGE), graphs=graphs)

    return make


@pytest.fixture
def planned(artefact_of: Callable[[str], Path], make_build_key: Callable[..., BuildKey], tmp_path: Path) -> Callable[..., Path]:
    """planned("dssm", most=4): a copy of the artefact with a plan in it, for this machine."""

    def make(kind: str, *, most: int = 8, **other: Any) -> Path:
        from posemoe_edge.runtime.artefact.manifest import read_manifest
        from posemoe_edge.runtime.engines.tensorrt.plan import write_plan

        folder = Path(shutil.copytree(artefact_of(kind), tmp_path / kind))
        plan = host_tensorrt.make_plan((folder / read_manifest(folder).graph().file).read_bytes(), most=most)
        given: dict[str, Any] = {"version": host_tensorrt.__version__, "streams": (1, 1, most)}
        write_plan(folder, make_build_key(folder, **given | other), plan, seconds=0)
        return folder

    return make


@pytest.fixture(autouse=True)
def _package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices are opened with the package under test."""
    from posemoe_edge.runtime.cuda.open import open_device
    from posemoe_edge.runtime.engines.tensorrt import engine as tensorrt

    monkeypatch.setattr(tensorrt, "open_device", lambda: open_device(PACKAGE))


@pytest.fixture
def twins(planned: Callable[..., Path]) -> Callable[..., tuple[Model, Model]]:
    """The same artefact on TensorRT and on the CPU."""

    def make(kind: str, **plan: Any) -> tuple[Model, Model]:
        from posemoe_edge.runtime import load

        folder = planned(kind, **plan)
        gpu, cpu = load(folder, engine="tensorrt"), load(folder, engine="onnxruntime")
        assert (gpu.engine, cpu.engine) == ("tensorrt", "onnxruntime-cpu")
        return gpu, cpu

    return make


if ARTEFACTS:

    @pytest.fixture(scope="session")
    def artefact_of() -> Callable[[str], Path]:
        """Those that the tests outside have exported."""
        return lambda kind: Path(ARTEFACTS) / f"tiny-{kind}"
