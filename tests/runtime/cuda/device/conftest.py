"""These tests run in their own process, with ``host_driver.c`` in place of libcuda: see ``test_on_host_driver``."""

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
RESOURCES = ("device", "pinned", "streams", "graphs", "executables", "events", "current")

if LIBRARY is None:
    collect_ignore_glob = ["test_*.py"]
else:
    ctypes.CDLL(LIBRARY, mode=ctypes.RTLD_GLOBAL)  # loading libcuda.so.1 returns it from now on
    sys.setdlopenflags(os.RTLD_LAZY)  # pycuda's module links to functions that it never calls here
    import host_tensorrt

    sys.modules["tensorrt"] = host_tensorrt


class Driver:
    """The counters of ``host_driver.c``, and the calls that it shall fail."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(LIBRARY))

    def __getitem__(self, counter: str) -> int:
        self._library.host_driver_count.restype = ctypes.c_long
        return int(self._library.host_driver_count(counter.encode()))

    def fail(self, function: str, *, after: int = 0, times: int = 1, result: int = 999) -> None:
        self._library.host_driver_fail(function.encode(), after, times, result)


@pytest.fixture(scope="session", autouse=True)
def _freeze_imports() -> None:
    """Each test collects garbage twice. Frozen modules are not searched again, which saves most of that time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def driver() -> Iterator[Driver]:
    """The driver. After a test, all its device resources must be released, and no misuse recorded."""
    driver = Driver()
    driver.fail("nothing")
    host_tensorrt.MISUSE.clear()
    host_tensorrt.REFUSE.clear()
    gc.collect()
    before = {name: driver[name] for name in RESOURCES}
    yield driver
    gc.collect()
    assert {name: driver[name] for name in RESOURCES} == before
    assert not list(host_tensorrt.ALIVE)
    assert not host_tensorrt.MISUSE


@pytest.fixture
def device() -> Iterator[Device]:
    from posemoe_edge.runtime.cuda.open import open_device

    device = open_device(PACKAGE)
    yield device
    device.close()


@pytest.fixture
def engine_of(artefact_of: Callable[[str], Path]) -> Callable[..., TensorRtEngine]:
    """engine_of("dssm", max_rows=4): the TensorRT engine of an artefact's graph, with a plan for at most four rows."""

    def open_engine(kind: str, *, max_rows: int = 8, graphs: bool = True, **plan: Any) -> TensorRtEngine:
        from posemoe_edge.runtime.artefact.manifest import read_manifest
        from posemoe_edge.runtime.cuda.open import open_device
        from posemoe_edge.runtime.engines.tensorrt.engine import TensorRtEngine

        folder = artefact_of(kind)
        data = (folder / read_manifest(folder).graph().file).read_bytes()
        plan_bytes = host_tensorrt.make_plan(data, max_rows=max_rows, **plan)
        return TensorRtEngine(plan_bytes, device=open_device(PACKAGE), graphs=graphs)

    return open_engine


@pytest.fixture
def planned(artefact_of: Callable[[str], Path], make_build_key: Callable[..., BuildKey], tmp_path: Path) -> Callable[..., Path]:
    """planned("dssm", max_rows=4): a copy of the artefact that contains a plan for this machine."""

    def copy_with_plan(kind: str, *, max_rows: int = 8, **changes: Any) -> Path:
        from posemoe_edge.runtime.artefact.manifest import read_manifest
        from posemoe_edge.runtime.engines.tensorrt.plan import write_plan

        folder = Path(shutil.copytree(artefact_of(kind), tmp_path / kind))
        plan = host_tensorrt.make_plan((folder / read_manifest(folder).graph().file).read_bytes(), max_rows=max_rows)
        fields: dict[str, Any] = {"version": host_tensorrt.__version__, "streams": (1, 1, max_rows)}
        write_plan(folder, make_build_key(folder, **fields | changes), plan, seconds=0)
        return folder

    return copy_with_plan


@pytest.fixture(autouse=True)
def _open_with_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines open their device with the package under test."""
    from posemoe_edge.runtime.cuda.open import open_device
    from posemoe_edge.runtime.engines.tensorrt import engine as tensorrt

    monkeypatch.setattr(tensorrt, "open_device", lambda: open_device(PACKAGE))


@pytest.fixture
def twins(planned: Callable[..., Path]) -> Callable[..., tuple[Model, Model]]:
    """The same artefact on TensorRT and on the CPU."""

    def load_both(kind: str, **plan: Any) -> tuple[Model, Model]:
        from posemoe_edge.runtime import load

        folder = planned(kind, **plan)
        gpu, cpu = load(folder, engine="tensorrt"), load(folder, engine="onnxruntime")
        assert (gpu.engine, cpu.engine) == ("tensorrt", "onnxruntime-cpu")
        return gpu, cpu

    return load_both


if ARTEFACTS:

    @pytest.fixture(scope="session")
    def artefact_of() -> Callable[[str], Path]:
        """The artefacts that the outer test session exported."""
        folder = Path(str(ARTEFACTS))
        return lambda kind: folder / f"tiny-{kind}"
