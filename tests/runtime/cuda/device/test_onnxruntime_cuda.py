"""Our part of ONNX Runtime on the GPU: addresses, our stream, one graph id per binding, what is released.

There is no real CUDA provider: the session runs on the CPU, and a run is a host function in the stream that it receives.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from posemoe_edge.runtime import ArtefactError, MissingError, Model, UsageError, load
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.cuda.open import open_device
from posemoe_edge.runtime.engines import onnxruntime_cuda

Walk = Callable[..., F32]
GPU, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Session:
    """A CPU session with the interface of a session on the GPU."""

    opened: ClassVar[list[dict[str, str]]] = []
    graph_ids: ClassVar[list[str]] = []
    not_capturable = on_cpu = False  # what a test makes the session do

    def __init__(self, source: Any, options: Any, providers: list[Any]) -> None:
        ((self.provider, self.provider_options),) = providers
        self.opened.append(self.provider_options)
        if self.not_capturable and self.provider_options["enable_cuda_graph"] == "1":
            raise RuntimeError("not all nodes are on the GPU")
        self.session = onnxruntime.InferenceSession(source, options, providers=[CPU])
        self.get_inputs, self.get_outputs = self.session.get_inputs, self.session.get_outputs
        self.get_modelmeta, self.callbacks = self.session.get_modelmeta, list[Any]()

    def get_providers(self) -> list[str]:
        return [CPU] if self.on_cpu else [GPU, CPU]

    def io_binding(self) -> Any:
        bound: dict[str, dict[str, Any]] = {"inputs": {}, "outputs": {}}

        def binder(side: str) -> Callable[..., None]:
            def bind(name: str, device: str, device_id: int, dtype: Any, shape: tuple[int, ...], address: int) -> None:
                assert (device, device_id) == ("cuda", 0) and address % 256 == 0
                bound[side][name] = (dtype, shape, address)

            return bind

        return SimpleNamespace(bound=bound, bind_input=binder("inputs"), bind_output=binder("outputs"))

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        if options.entries:
            self.graph_ids.append(options.entries["gpu_graph_id"])

        def run(_: Any) -> None:
            inputs, outputs = ({name: view(*layout) for name, layout in side.items()} for side in binding.bound.values())
            for array in outputs.values():
                array.fill(np.nan)
            for array, result in zip(outputs.values(), self.session.run(list(outputs), inputs), strict=True):
                array[:] = result

        self.callbacks.append(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(run))
        stream = ctypes.c_void_p(int(self.provider_options["user_compute_stream"]))
        assert stream.value and not ctypes.CDLL("libcuda.so.1").cuLaunchHostFunc(stream, self.callbacks[-1], None)


def view(dtype: Any, shape: tuple[int, ...], address: int) -> NDArray[Any]:
    """An array at an address."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory: NDArray[Any] = np.ctypeslib.as_array((ctypes.c_byte * size).from_address(address))
    array: NDArray[Any] = memory.view(dtype).reshape(shape)
    return array


class RunOptions:
    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_run_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value


@pytest.fixture(autouse=True)
def provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace onnxruntime by one that lists the CUDA provider."""
    package = os.environ["POSEMOE_CUDA"]
    monkeypatch.setattr(onnxruntime_cuda, "open_device", lambda: open_device(package))
    monkeypatch.setattr(Session, "opened", [])
    monkeypatch.setattr(Session, "graph_ids", [])

    def open_session(source: Any, options: Any, providers: list[Any], **others: Any) -> Any:
        return (
            onnxruntime.InferenceSession(source, options, providers=[CPU], **others)
            if providers == [CPU]
            else Session(source, options, providers)
        )

    stand_in = SimpleNamespace(
        get_available_providers=lambda: [GPU, CPU],
        InferenceSession=open_session,
        SessionOptions=onnxruntime.SessionOptions,
        RunOptions=RunOptions,
        OrtValue=onnxruntime.OrtValue,
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", stand_in)


@pytest.mark.parametrize("kind", ["retention", "gated", "retention-chunk", "attention"])
def test_streams_that_join_and_leave_give_the_cpus_poses(
    artefact_of: Callable[[str], Path], play_crowd: Any, kind: str
) -> None:
    models: list[Model] = [load(artefact_of(kind)), load(artefact_of(kind), engine="onnxruntime")]
    assert [model.engine for model in models] == ["onnxruntime-cuda", "onnxruntime-cpu"]  # the GPU is preferred
    pairs: list[Any] = []
    for poses in play_crowd(models, pairs, 60, joins=12, leaves=40):
        for a, b in poses:
            np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
    for a, b in pairs:
        for x, y in zip(a.snapshot().state, b.snapshot().state, strict=True):
            np.testing.assert_array_equal(x, y)


def test_each_binding_has_its_own_graph_id(artefact_of: Callable[[str], Path], walker_keypoints: Walk) -> None:
    stream = load(artefact_of("retention"), engine="onnxruntime-cuda").stream()
    for frame in walker_keypoints(6):
        stream.step(frame)
    assert Session.graph_ids == ["1", "2"] * 3  # one per parity


def test_a_session_that_cannot_capture_is_opened_again_without_graphs(
    artefact_of: Callable[[str], Path],
    walker_keypoints: Walk,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Session, "not_capturable", True)
    stream, cpu = (load(artefact_of("dssm"), engine=name).stream() for name in ("onnxruntime-cuda", "onnxruntime"))
    assert [options["enable_cuda_graph"] for options in Session.opened] == ["1", "0"]
    assert {options["use_tf32"] for options in Session.opened} == {"0"}
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["WARNING"]
    for frame in walker_keypoints(4):
        np.testing.assert_array_equal(stream.step(frame).xyz_m, cpu.step(frame).xyz_m)
    assert not Session.graph_ids


def test_a_session_that_fell_back_to_the_cpu_is_an_error(
    artefact_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "on_cpu", True)
    with pytest.raises(ArtefactError, match="on the CPU: its CUDA libraries cannot be loaded"):
        load(artefact_of("dssm"), engine="onnxruntime-cuda")


def test_a_missing_provider_is_an_error_that_names_the_package(
    artefact_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["onnxruntime"], "get_available_providers", lambda: [CPU])
    with pytest.raises(MissingError, match="onnxruntime-gpu"):
        load(artefact_of("dssm"), engine="onnxruntime-cuda")
    assert load(artefact_of("dssm")).engine == "onnxruntime-cpu"


def test_closing_releases_all_device_resources(artefact_of: Callable[[str], Path], walker_keypoints: Walk, driver: Any) -> None:
    model = load(artefact_of("retention"))
    stream = model.stream()
    stream.step(walker_keypoints(1)[0])
    assert driver["device"] and driver["streams"]
    model.close()
    assert not any(driver[resource] for resource in ("device", "pinned", "streams"))
    with pytest.raises(UsageError, match="the model is closed"):
        stream.step(walker_keypoints(2)[1])
