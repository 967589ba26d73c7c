"""PyTorch on the GPU, as far as we have a hand in it: see ``host_torch`` for what is real here, and what is not tested."""

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
from posemoe_edge.runtime.cuda.array import zeros
from posemoe_edge.runtime.cuda.device import Device
from posemoe_edge.runtime.cuda.open import open_device

SAME = 1e-6  # metres: the same operations, on memory that is aligned otherwise
ArtefactOf = Callable[[str], Path]
Walk = Callable[..., np.ndarray]


@pytest.fixture(autouse=True)
def torch_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A torch with a GPU. When a test is over, its current stream is the one from before, and nothing foul has happened."""
    host_torch.install(monkeypatch)
    monkeypatch.setattr(engine_module, "open_device", lambda: open_device(os.environ["POSEMOE_CUDA"]))
    yield
    gc.collect()
    assert host_torch.current is None and not host_torch.FOUL


@pytest.fixture
def twins(artefact_of: ArtefactOf, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Model, Model]]:
    """twins("dssm"): PyTorch on the GPU and on the processor."""

    def make(kind: str) -> tuple[Model, Model]:
        gpu = load(artefact_of(kind), engine="torch")
        with monkeypatch.context() as without:
            without.setattr(torch.cuda, "is_available", lambda: False)
            without.setattr(TorchEngine, "run", host_torch._run)
            cpu = load(artefact_of(kind), engine="torch")
        assert (gpu.engine, cpu.engine) == ("torch-cuda", "torch-cpu")
        monkeypatch.setattr(cpu._engine, "run", host_torch._run.__get__(cpu._engine))
        return gpu, cpu

    return make


@pytest.mark.parametrize("kind", ["retention", "gated", "retention-chunk", "lookahead-chunk", "attention"])
def test_people_come_and_go_and_each_is_as_on_the_processor(
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
    here = first.step(walker_keypoints(60)[50]).xyz_m
    first.reset()
    first.step(walker_keypoints(60)[0])
    first.restore(snapshot)
    np.testing.assert_array_equal(first.step(walker_keypoints(60)[50]).xyz_m, here)


def test_each_parity_is_launched_once_and_captured_and_then_replayed(
    artefact_of: ArtefactOf, walker_keypoints: Walk, driver: Any
) -> None:
    captures, launches, uploads = (driver[what] for what in ("captures", "launches", "uploads"))
    stream = load(artefact_of("retention"), engine="torch").stream()
    for frame in walker_keypoints(8):
        stream.step(frame)
    assert (driver["captures"] - captures, driver["launches"] - launches) == (2, 6)
    assert driver["uploads"] - uploads == 8  # one a frame, of which six are the graphs' own


def test_a_frame_that_lies_on_the_gpu_stays_there(
    twins: Callable[[str], tuple[Model, Model]], walker_keypoints: Walk, driver: Any
) -> None:
    models = twins("retention")
    gpu, cpu = (model.stream() for model in models)
    far = zeros(models[0]._engine.device, (17, 3), np.float32)  # type: ignore[arg-type]
    captures = driver["captures"]
    for frame in walker_keypoints(8):
        far[:] = frame
        np.testing.assert_allclose(gpu.step(far).xyz_m, cpu.step(frame).xyz_m, atol=SAME)
    assert driver["captures"] - captures == 2


def test_without_graphs_all_is_enqueued_anew(artefact_of: ArtefactOf, driver: Any) -> None:
    captures = driver["captures"]
    engine = TorchEngine(artefact_of("dssm") / "step.fp32.onnx", graphs=False)
    sides = [
        {name: np.ones((2, *shape[1:]), dtype) for name, (dtype, shape) in side.items()}
        for side in (engine.inputs, engine.outputs)
    ]
    launch = engine.bind(*sides)
    launch()
    first = sides[1]["pose"].copy()
    launch()
    np.testing.assert_array_equal(sides[1]["pose"], first)
    assert driver["captures"] == captures and not driver["executables"] and np.ptp(first) > 0


def test_garbage_is_not_collected_into_a_capture(
    artefact_of: ArtefactOf, walker_keypoints: Walk, driver: Any, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare = [zeros(device, 1) for _ in range(4)]

    def littering(engine: TorchEngine, *sides: Any) -> None:
        cycle: list[Any] = [spare.pop()]
        cycle.append(cycle)
        del cycle
        assert len([[] for _ in range(5000)]) == 5000  # enough new objects for Python to look for garbage
        host_torch.enqueue(engine, *sides)

    captures = driver["captures"]
    monkeypatch.setattr(TorchEngine, "run", littering)
    stream = load(artefact_of("dssm"), engine="torch").stream()
    for frame in walker_keypoints(4):
        stream.step(frame)
    assert driver["captures"] - captures == 2 and not spare


@pytest.mark.parametrize("where", ["in what is captured", "as it ends", "as it is made"])
def test_what_cannot_be_captured_is_warned_of_once_and_runs(
    twins: Callable[[str], tuple[Model, Model]],
    walker_keypoints: Walk,
    driver: Any,
    caplog: pytest.LogCaptureFixture,
    where: str,
) -> None:
    gpu, cpu = (model.stream() for model in twins("retention"))
    if where == "in what is captured":
        host_torch.REFUSE.add("a capture")
    else:
        driver.fail("cuStreamEndCapture" if where == "as it ends" else "cuGraphInstantiateWithFlags")
    for i, frame in enumerate(walker_keypoints(6)):
        np.testing.assert_allclose(gpu.step(frame).xyz_m, cpu.step(frame).xyz_m, atol=SAME)
        assert host_torch.current is None, i
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1 and "no CUDA graph could be captured (CUDA error" in said[0] and "\n" not in said[0]
    assert not driver["executables"] and not driver["graphs"]


def test_what_torch_refuses_is_an_error_of_ours_and_changes_nothing(
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


def test_closing_frees_it_all(artefact_of: ArtefactOf, walker_keypoints: Walk, driver: Any) -> None:
    model = load(artefact_of("retention"), engine="torch")
    stream = model.stream()
    for frame in walker_keypoints(4):
        stream.step(frame)
    assert driver["device"] and driver["streams"] and driver["executables"] == 2
    model.close()
    assert not any(driver[what] for what in ("device", "pinned", "streams", "executables", "graphs"))
    model.close()
    with pytest.raises(UsageError, match="the model is closed"):
        stream.step(walker_keypoints(5)[4])


def test_a_model_that_is_forgotten_frees_it_all(artefact_of: ArtefactOf, walker_keypoints: Walk, driver: Any) -> None:
    stream = load(artefact_of("dssm"), engine="torch").stream()
    stream.step(walker_keypoints(1)[0])
    assert driver["device"]
    del stream
    gc.collect()
    assert not any(driver[what] for what in ("device", "pinned", "streams", "executables", "graphs"))
