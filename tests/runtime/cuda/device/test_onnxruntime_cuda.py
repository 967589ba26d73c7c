"""ONNX Runtime on the GPU, as far as we have a hand in it: addresses, our stream, one number per graph, what is freed.

The provider itself is none here: the session is the CPU's, and a run is a host function in the stream that it was given.
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
from posemoe_edge.runtime import ArtefactError, MissingError, Model, UsageError, load
from posemoe_edge.runtime.cuda.open import open_device
from posemoe_edge.runtime.engines import onnxruntime_cuda

Walk = Callable[..., np.ndarray]
GPU, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Session:
    """A session of the CPU in the clothes of one on the GPU."""

    opened: ClassVar[list[dict[str, str]]] = []
    numbers: ClassVar[list[str]] = []
    not_capturable = on_cpu = False

    def __init__(self, source: Any, options: Any, providers: list[Any]) -> None:
        ((self.provider, self.given),) = providers
        self.opened.append(self.given)
        if self.not_capturable and self.given["enable_cuda_graph"] == "1":
            raise RuntimeError("not all nodes are on the GPU")
        self.session = onnxruntime.InferenceSession(source, options, providers=[CPU])
        self.get_inputs, self.get_outputs = self.session.get_inputs, self.session.get_outputs
        self.get_modelmeta, self.calls = self.session.get_modelmeta, list[Any]()

    def get_providers(self) -> list[str]:
        return [CPU] if self.on_cpu else [GPU, CPU]

    def io_binding(self) -> Any:
        bound: dict[str, dict[str, Any]] = {"in": {}, "out": {}}

        def binder(side: str) -> Callable[..., None]:
            def bind(name: str, kind: str, number: int, dtype: Any, shape: tuple[int, ...], address: int) -> None:
                assert (kind, number) == ("cuda", 0) and address % 256 == 0
                bound[side][name] = (dtype, shape, address)

            return bind

        return SimpleNamespace(bound=bound, bind_input=binder("in"), bind_output=binder("out"))

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        if options.entries:
            self.numbers.append(options.entries["gpu_graph_id"])

        def run(_: Any) -> None:
            inputs, outputs = ({name: view(*where) for name, where in side.items()} for side in binding.bound.values())
            for array in outputs.values():
                array.fill(np.nan)
            for array, made in zip(outputs.values(), self.session.run(list(outputs), inputs), strict=True):
                array[:] = made

        self.calls.append(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(run))
        stream = ctypes.c_void_p(int(self.given["user_compute_stream"]))
        assert stream.value and not ctypes.CDLL("libcuda.so.1").cuLaunchHostFunc(stream, self.calls[-1], None)


def view(dtype: Any, shape: tuple[int, ...], address: int) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.ctypeslib.as_array((ctypes.c_byte * size).from_address(address)).view(dtype).reshape(shape)


class RunOptions:
    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_run_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value


@pytest.fixture(autouse=True)
def provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """An onnxruntime with the provider."""
    package = os.environ["POSEMOE_CUDA"]
    monkeypatch.setattr(onnxruntime_cuda, "open_device", lambda: open_device(package))
    monkeypatch.setattr(Session, "opened", [])
    monkeypatch.setattr(Session, "numbers", [])

    def session(source: Any, options: Any, providers: list[Any]) -> Any:
        return (
            onnxruntime.InferenceSession(source, options, providers=[CPU])
            if providers == [CPU]
            else Session(source, options, providers)
        )

    shim = SimpleNamespace(
        get_available_providers=lambda: [GPU, CPU],
        InferenceSession=session,
        SessionOptions=onnxruntime.SessionOptions,
        RunOptions=RunOptions,
        OrtValue=onnxruntime.OrtValue,
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", shim)


@pytest.mark.parametrize("kind", ["retention", "gated", "retention-chunk", "attention"])
def test_people_come_and_go_and_each_is_as_on_the_cpu(artefact_of: Callable[[str], Path], play_crowd: Any, kind: str) -> None:
    models: list[Model] = [load(artefact_of(kind)), load(artefact_of(kind), engine="onnxruntime")]
    assert [model.engine for model in models] == ["onnxruntime-cuda", "onnxruntime-cpu"]  # the GPU is preferred
    pairs: list[Any] = []
    for poses in play_crowd(models, pairs, 60, joins=12, leaves=40):
        for a, b in poses:
            np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
    for a, b in pairs:
        for x, y in zip(a.snapshot().state, b.snapshot().state, strict=True):
            np.testing.assert_array_equal(x, y)


def test_each_binding_has_a_graph_of_its_own(artefact_of: Callable[[str], Path], walker_keypoints: Walk) -> None:
    stream = load(artefact_of("retention"), engine="onnxruntime-cuda").stream()
    for frame in walker_keypoints(6):
        stream.step(frame)
    assert Session.numbers == ["1", "2"] * 3  # one per parity


def test_what_cannot_be_captured_is_warned_of_and_runs(
    artefact_of: Callable[[str], Path],
    walker_keypoints: Walk,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Session, "not_capturable", True)
    stream, cpu = (load(artefact_of("dssm"), engine=name).stream() for name in ("onnxruntime-cuda", "onnxruntime"))
    assert [given["enable_cuda_graph"] for given in Session.opened] == ["1", "0"]
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["WARNING"]
    for frame in walker_keypoints(4):
        np.testing.assert_array_equal(stream.step(frame).xyz_m, cpu.step(frame).xyz_m)
    assert not Session.numbers


def test_a_session_that_fell_back_to_the_cpu_is_an_error(
    artefact_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "on_cpu", True)
    with pytest.raises(ArtefactError, match="on the CPU: its CUDA libraries cannot be loaded"):
        load(artefact_of("dssm"), engine="onnxruntime-cuda")


def test_without_the_provider_the_package_is_named(artefact_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["onnxruntime"], "get_available_providers", lambda: [CPU])
    with pytest.raises(MissingError, match="onnxruntime-gpu"):
        load(artefact_of("dssm"), engine="onnxruntime-cuda")
    assert load(artefact_of("dssm")).engine == "onnxruntime-cpu"


def test_closing_frees_it_all(artefact_of: Callable[[str], Path], walker_keypoints: Walk, driver: Any) -> None:
    model = load(artefact_of("retention"))
    stream = model.stream()
    stream.step(walker_keypoints(1)[0])
    assert driver["device"] and driver["streams"]
    model.close()
    assert not any(driver[what] for what in ("device", "pinned", "streams"))
    with pytest.raises(UsageError, match="the model is closed"):
        stream.step(walker_keypoints(2)[1])
