"""Our part of PyTorch on the GPU. ``host_torch`` says what is real in these tests and what they do not cover."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import host_torch
import numpy as np
import pytest
import torch
from posemoe_edge.edge.torch_backend import engine as engine_module
from posemoe_edge.edge.torch_backend.engine import TorchEngine
from posemoe_edge.runtime import Model, PoseEdgeError, UsageError, load
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.cuda.array import zeros
from posemoe_edge.runtime.cuda.device import Device
from posemoe_edge.runtime.cuda.open import open_device

SAME = 1e-6  # metres: the same operations, on memory with another alignment
ArtefactOf = Callable[[str], Path]
Walk = Callable[..., F32]


@pytest.fixture(autouse=True)
def torch_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A torch with a GPU. After a test, no stream may be current and no misuse recorded."""
    host_torch.install(monkeypatch)
    monkeypatch.setattr(engine_module, "open_device", lambda: open_device(os.environ["POSEMOE_CUDA"]))
    yield
    gc.collect()
    assert host_torch.current is None and not host_torch.MISUSE


@pytest.fixture
def twins(artefact_of: ArtefactOf, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Model, Model]]:
    """twins("dssm"): the same artefact with PyTorch on the GPU and on the CPU."""

    def load_both(kind: str) -> tuple[Model, Model]:
        gpu = load(artefact_of(kind), engine="torch")
        with monkeypatch.context() as without_gpu:
            without_gpu.setattr(torch.cuda, "is_available", lambda: False)
            without_gpu.setattr(TorchEngine, "run", host_torch._run)
            cpu = load(artefact_of(kind), engine="torch")
        assert (gpu.engine, cpu.engine) == ("torch-cuda", "torch-cpu")
        monkeypatch.setattr(cpu._engine, "run", host_torch._run.__get__(cpu._engine))
        return gpu, cpu

    return load_both


@pytest.mark.parametrize("kind", ["retention", "gated", "retention-chunk", "lookahead-chunk", "attention"])
def test_streams_that_join_and_leave_give_the_cpus_poses(
    twins: Callable[[str], tuple[Model, Model]], walker_keypoints: Walk, play_crowd: Any, kind: str
) -> None:
    models = twins(kind)
    pairs: list[Any] = []
    for poses in play_crowd(models, pairs, 40, joins=12, leaves=30):
        for a, b in poses:
            np.testing.assert_allclose(a.xyz_m, b.xyz_m, atol=SAME)
    for a, b in pairs:
        for x, y in zip(a.snapshot().state, b.snapshot().state, strict=True):
            np.testing.assert_allclose(x, y, atol=SAME)
    first = pairs[0][0]
    snapshot = first.snapshot()
    xyz_m = first.step(walker_keypoints(60)[50]).xyz_m
    first.reset()
    first.step(walker_keypoints(60)[0])
    first.restore(snapshot)
    np.testing.assert_array_equal(first.step(walker_keypoints(60)[50]).xyz_m, xyz_m)


def test_each_parity_runs_eagerly_once_then_is_captured_and_replayed(
    artefact_of: ArtefactOf, walker_keypoints: Walk, driver: Any
) -> None:
    captures, launches, uploads = (driver[counter] for counter in ("captures", "launches", "uploads"))
    stream = load(artefact_of("retention"), engine="torch").stream()
    for frame in walker_keypoints(8):
        stream.step(frame)
    assert (driver["captures"] - captures, driver["launches"] - launches) == (2, 6)
    assert driver["uploads"] - uploads == 8  # one per frame; the graphs do six of them


def test_a_frame_on_the_gpu_is_read_in_place(
    twins: Callable[[str], tuple[Model, Model]], walker_keypoints: Walk, driver: Any
) -> None:
    models = twins("retention")
    gpu, cpu = (model.stream() for model in models)
    device = models[0]._engine.device
    assert device is not None
    on_device = zeros(device, (17, 3), np.float32)
    captures = driver["captures"]
    for frame in walker_keypoints(8):
        on_device[:] = frame
        np.testing.assert_allclose(gpu.step(on_device).xyz_m, cpu.step(frame).xyz_m, atol=SAME)
    assert driver["captures"] - captures == 2


def test_without_graphs_every_launch_is_enqueued(artefact_of: ArtefactOf, driver: Any) -> None:
    captures = driver["captures"]
    engine = TorchEngine(artefact_of("dssm") / "step.fp32.onnx", graphs=False)
    inputs, outputs = (
        {name: np.ones((2, *map(int, shape[1:])), dtype) for name, (dtype, shape) in interface.items()}
        for interface in (engine.inputs, engine.outputs)
    )
    launch = engine.bind(inputs, outputs)
    launch()
    first = outputs["pose"].copy()
    launch()
    np.testing.assert_array_equal(outputs["pose"], first)
    assert driver["captures"] == captures and not driver["executables"] and np.ptp(first) > 0


def test_no_garbage_is_collected_during_a_capture(
    artefact_of: ArtefactOf, walker_keypoints: Walk, driver: Any, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare = [zeros(device, 1) for _ in range(4)]

    def run_and_make_garbage(engine: TorchEngine, *buffers: Any) -> None:
        cycle: list[Any] = [spare.pop()]
        cycle.append(cycle)
        del cycle
        assert len([[] for _ in range(5000)]) == 5000  # enough new objects to start a garbage collection
        host_torch.enqueue(engine, *buffers)

    captures = driver["captures"]
    monkeypatch.setattr(TorchEngine, "run", run_and_make_garbage)
    stream = load(artefact_of("dssm"), engine="torch").stream()
    for frame in walker_keypoints(4):
        stream.step(frame)
    assert driver["captures"] - captures == 2 and not spare


@pytest.mark.parametrize("phase", ["during the capture", "at its end", "at instantiation"])
def test_a_failed_capture_gives_one_warning_and_launches_continue(
    twins: Callable[[str], tuple[Model, Model]],
    walker_keypoints: Walk,
    driver: Any,
    caplog: pytest.LogCaptureFixture,
    phase: str,
) -> None:
    gpu, cpu = (model.stream() for model in twins("retention"))
    if phase == "during the capture":
        host_torch.REFUSE.add("a capture")
    else:
        driver.fail("cuStreamEndCapture" if phase == "at its end" else "cuGraphInstantiateWithFlags")
    for i, frame in enumerate(walker_keypoints(6)):
        np.testing.assert_allclose(gpu.step(frame).xyz_m, cpu.step(frame).xyz_m, atol=SAME)
        assert host_torch.current is None, i
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "no CUDA graph could be captured (CUDA error" in warnings[0] and "\n" not in warnings[0]
    assert not driver["executables"] and not driver["graphs"]


def test_an_error_of_torch_becomes_ours_and_leaves_the_state_unchanged(
    twins: Callable[[str], tuple[Model, Model]], walker_keypoints: Walk
) -> None:
    gpu, cpu = (model.stream() for model in twins("dssm"))
    host_torch.REFUSE.add("a launch")
    with pytest.raises(
        PoseEdgeError, match=r"PyTorch on the GPU: CUDA error: operation not permitted.*run: posemoe-edge doctor"
    ):
        gpu.step(walker_keypoints(1)[0])
    host_torch.REFUSE.clear()
    for frame in walker_keypoints(4):
        np.testing.assert_allclose(gpu.step(frame).xyz_m, cpu.step(frame).xyz_m, atol=SAME)


def test_closing_releases_all_device_resources(artefact_of: ArtefactOf, walker_keypoints: Walk, driver: Any) -> None:
    model = load(artefact_of("retention"), engine="torch")
    stream = model.stream()
    for frame in walker_keypoints(4):
        stream.step(frame)
    assert driver["device"] and driver["streams"] and driver["executables"] == 2
    model.close()
    assert not any(driver[resource] for resource in ("device", "pinned", "streams", "executables", "graphs"))
    model.close()
    with pytest.raises(UsageError, match="the model is closed"):
        stream.step(walker_keypoints(5)[4])


def test_a_collected_model_releases_all_device_resources(artefact_of: ArtefactOf, walker_keypoints: Walk, driver: Any) -> None:
    stream = load(artefact_of("dssm"), engine="torch").stream()
    stream.step(walker_keypoints(1)[0])
    assert driver["device"]
    del stream
    gc.collect()
    assert not any(driver[resource] for resource in ("device", "pinned", "streams", "executables", "graphs"))
