"""Engine selection on a machine without a GPU: the CPU, without a warning. A requested GPU engine is an error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from posemoe_edge.runtime import ArtefactError, MissingError, UsageError, load
from posemoe_edge.runtime.engines import open_engine, select
from posemoe_edge.runtime.engines.tensorrt import library
from posemoe_edge.runtime.engines.tensorrt.plan import BuildKey, write_plan
from posemoe_edge.runtime.platform.nvidia import find_gpu


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the GPU where the machine has one: the driver is searched under a name that does not exist."""
    for module in (select, library):
        monkeypatch.setattr(module, "find_gpu", lambda: find_gpu("libcuda-that-does-not-exist.so"))
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails


@pytest.fixture
def planned(copied_artefact: Path, make_build_key: Callable[..., BuildKey]) -> Path:
    """An artefact with a plan of its fp16 graph."""
    write_plan(copied_artefact, make_build_key(copied_artefact, "fp16"), b"a plan", seconds=0)
    return copied_artefact


def test_the_cpu_is_selected_without_a_warning_although_a_plan_exists(planned: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        model = load(planned)
    assert (model.engine, model.graph.precision) == ("onnxruntime-cpu", "fp32")
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    message = next(record.getMessage() for record in caplog.records if "chosen" in record.getMessage())
    assert "onnxruntime is chosen" in message
    assert (
        "tensorrt: no NVIDIA driver" in message
        and "tensorrt-rtx: no plan" in message
        and "onnxruntime-cuda: no NVIDIA" in message
    )


def test_without_plans_tensorrt_is_not_imported(retention_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise AssertionError("called without a plan")

    monkeypatch.setattr(library, "import_tensorrt", fail)
    monkeypatch.setattr(select, "find_plan", fail)
    assert load(retention_artefact).engine == "onnxruntime-cpu"


@pytest.mark.parametrize("engine", ["tensorrt", "tensorrt-rtx"])
def test_a_requested_gpu_engine_without_a_gpu_is_an_error(planned: Path, engine: str) -> None:
    with pytest.raises(MissingError, match="no NVIDIA driver is installed") as error:
        load(planned, engine=engine)
    assert error.value.exit_code == 3


def test_a_requested_precision_is_selected(planned: Path) -> None:
    assert load(planned, precision="fp16").graph.precision == "fp16"
    with pytest.raises(ArtefactError, match="no int8 graph"):
        load(planned, precision="int8")


def test_a_standalone_file_runs_on_the_cpu(retention_artefact: Path) -> None:
    assert load(retention_artefact / "step.fp32.onnx").engine == "onnxruntime-cpu"


def test_tensorrt_needs_a_graph_file_in_an_artefact(retention_artefact: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bytes for tensorrt"):
        open_engine((retention_artefact / "step.fp32.onnx").read_bytes(), engine="tensorrt")
    with pytest.raises(ArtefactError, match="no graph of its folder's manifest"):
        open_engine(retention_artefact / "other.onnx", engine="tensorrt")
    with pytest.raises(MissingError, match=r"no artefact|no NVIDIA driver"):
        open_engine(tmp_path / "nowhere" / "x.onnx", engine="tensorrt")


def test_an_unknown_engine_is_refused_before_anything_is_opened(copy_artefact: Callable[[str], Path]) -> None:
    folder = copy_artefact("dssm")
    for open_unknown in (lambda: load(folder, engine="trt"), lambda: open_engine(folder / "x.onnx", engine="trt")):
        with pytest.raises(UsageError, match=r"no engine 'trt'; expected one of .*tensorrt"):
            open_unknown()
