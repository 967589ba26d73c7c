"""Whole rollouts on the device: streams come and go, and every pose and memory is the CPU engine's, bit for bit.

Both run the same graph with the same arithmetic, so that whatever differs was brought about by addresses, order or time.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import host_tensorrt
import numpy as np
import pytest
from posemoe_edge.runtime import ArtefactError, FrameError, MissingError, Model, Stream, UsageError, load
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.cuda.driver import CudaError
from posemoe_edge.runtime.engines.select import select_engine

Planned = Callable[..., Path]
Walk = Callable[..., np.ndarray]
FRAMES = 200


def same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
    assert (a.gap, a.dt_s, a.t_s) == (b.gap, b.dt_s, b.t_s)


def remembered(stream: Stream) -> list[bytes]:
    return [array.tobytes() for array in stream.snapshot().state]


KINDS = ["retention", "dssm", "gated", "retention-chunk", "lookahead-chunk", "attention"]


@pytest.mark.parametrize("kind", KINDS)
def test_people_come_and_go_and_each_is_as_on_the_cpu(twins: Any, walker_keypoints: Walk, driver: Any, kind: str) -> None:
    models = twins(kind)
    rng, t = np.random.default_rng(KINDS.index(kind)), 0.0
    people: list[tuple[Stream, Stream]] = []
    saved: list[tuple[Any, Any]] = []
    before = driver["launches"]
    for i in range(FRAMES):
        t += float(rng.choice([0.02, 0.02, 0.021, 0.05, 0.3, 2.5], p=[0.4, 0.3, 0.15, 0.1, 0.03, 0.02]))
        if not people or (len(people) < 7 and rng.random() < 0.1):
            people.append(tuple(model.stream() for model in models))
        if len(people) > 2 and rng.random() < 0.05:
            for stream in people.pop(int(rng.integers(len(people)))):
                stream.close()
        there = [pair for pair in people if rng.random() < 0.8] or people[:1]
        fate = rng.random()
        if fate < 0.05:
            for stream in there[0]:
                stream.reset()
        elif fate < 0.1:
            saved.append(tuple(stream.snapshot() for stream in there[0]))
        elif fate < 0.15 and saved and t > 1:
            for stream, snapshot in zip(there[-1], saved[int(rng.integers(len(saved)))], strict=True):
                stream.restore(snapshot)
        frames = [walker_keypoints(FRAMES, seed=k)[i] * (rng.random((17, 1)) > 0.1) for k in range(len(there))]
        given = [dict(zip((pair[side] for pair in there), frames, strict=True)) for side in range(2)]
        if fate > 0.95:  # one of them is refused, and so are all
            for model, each in zip(models, given, strict=True):
                with pytest.raises(FrameError):
                    model.step_batch(each | {next(iter(each)): np.full((17, 3), np.nan)}, t=t)
        poses = [model.step_batch(each, t=t) for model, each in zip(models, given, strict=True)]
        for gpu, cpu in there:
            same(poses[0][gpu], poses[1][cpu])
        if i % 20 == 0:
            for gpu, cpu in people:
                assert remembered(gpu) == remembered(cpu)
    for gpu, cpu in people:
        assert remembered(gpu) == remembered(cpu)
    assert driver["launches"] > before + FRAMES // 8  # most of it was replayed


def test_one_person_has_two_graphs_and_its_state_never_leaves_the_device(
    twins: Any, walker_keypoints: Walk, driver: Any
) -> None:
    gpu, cpu = twins("retention")
    streams = gpu.stream(), cpu.stream()
    for i, frame in enumerate(walker_keypoints(30)):
        copies = driver["uploads"], driver["downloads"], driver["moves"], driver["device"], driver["pinned"]
        same(*(stream.step(frame, t=i * 0.02) for stream in streams))
        if i > 2:  # one copy each way, nothing moved, nothing allocated
            assert (driver["uploads"], driver["downloads"], *copies[2:]) == (
                copies[0] + 1,
                copies[1] + 1,
                driver["moves"],
                driver["device"],
                driver["pinned"],
            )
    assert driver["executables"] == 2


def test_a_slab_that_grows_is_captured_anew_and_the_old_graphs_are_gone(
    twins: Any, walker_keypoints: Walk, driver: Any
) -> None:
    gpu, cpu = twins("dssm")
    pairs, t = [], 0.0
    for n in range(1, 6):
        pairs.append((gpu.stream(), cpu.stream()))
        for frame in walker_keypoints(4, seed=n):
            t += 0.02
            for pair in pairs:
                same(*(stream.step(frame, t=t) for stream in pair))
        assert driver["executables"] <= 2 * n
        assert driver["executables"] >= 2
    assert all(remembered(a) == remembered(b) for a, b in pairs)


def test_a_snapshot_goes_back_to_either_parity_and_to_somebody_else(twins: Any, walker_keypoints: Walk) -> None:
    gpu, cpu = twins("retention")
    frames = walker_keypoints(12)
    for odd in (0, 1):
        pairs = [(gpu.stream(), cpu.stream()) for _ in range(2)]
        for side in range(2):
            a, b = (pair[side] for pair in pairs)
            for i in range(4 + odd):
                a.step(frames[i], t=i * 0.02)
            snapshot = a.snapshot()
            for i in range(4 + odd, 7):
                a.step(frames[i], t=i * 0.02)
            a.restore(snapshot)
            b.step(frames[0], t=0)
            b.restore(snapshot)
            assert remembered(a) == remembered(b)
        for i in range(6, 12):
            poses = [stream.step(frames[i], t=i * 0.02) for pair in pairs for stream in pair]
            for pose in poses[1:]:
                same(poses[0], pose)
        for pair in pairs:
            for stream in pair:
                stream.close()


def test_a_seat_is_cleared_for_whoever_comes_next(twins: Any, walker_keypoints: Walk) -> None:
    gpu, _ = twins("retention")
    first = gpu.stream()
    fresh = remembered(first)
    for frame in walker_keypoints(3):
        first.step(frame)
    assert remembered(first) != fresh
    first.close()
    assert remembered(gpu.stream()) == fresh


@pytest.mark.parametrize("turn", [0, 1, 3])
def test_a_launch_that_is_refused_leaves_the_memory_as_it_was(
    twins: Any, walker_keypoints: Walk, driver: Any, turn: int
) -> None:
    gpu, cpu = twins("retention")
    a, b = gpu.stream(), cpu.stream()
    frames = walker_keypoints(12)
    for i in range(turn):
        same(a.step(frames[i], t=i * 0.02), b.step(frames[i], t=i * 0.02))
    before = remembered(a)
    if turn < 2:  # enqueued
        host_tensorrt.REFUSE["execute_async_v3"] = 0
        with pytest.raises(ArtefactError, match="did not run the plan"):
            a.step(frames[turn], t=turn * 0.02)
    else:  # replayed
        driver.fail("cuGraphLaunch")
        with pytest.raises(CudaError, match="cuGraphLaunch"):
            a.step(frames[turn], t=turn * 0.02)
    assert remembered(a) == before
    for i in range(turn, 12):
        same(a.step(frames[i], t=i * 0.02), b.step(frames[i], t=i * 0.02))


def test_without_graphs_the_numbers_are_the_same_and_one_warning_is_given(
    twins: Any, walker_keypoints: Walk, driver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gpu, cpu = twins("dssm")
    driver.fail("cuStreamEndCapture")
    pairs = [(gpu.stream(), cpu.stream()) for _ in range(2)]
    with caplog.at_level(logging.WARNING):
        for i, frame in enumerate(walker_keypoints(10)):
            for pair in pairs:
                same(*(stream.step(frame, t=i * 0.02) for stream in pair))
    assert [record.levelname for record in caplog.records] == ["WARNING"] and driver["executables"] == 0


def test_streams_may_be_stepped_from_threads(twins: Any, walker_keypoints: Walk) -> None:
    gpu, cpu = twins("retention")

    def lift(model: Model, seed: int) -> list[np.ndarray]:
        with model.stream() as stream:
            return [stream.step(frame, t=i * 0.02).xyz_m for i, frame in enumerate(walker_keypoints(20, seed=seed))]

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda seed: lift(gpu, seed), range(3)))
    for seed in range(3):
        np.testing.assert_array_equal(together[seed], lift(cpu, seed))


def test_two_models_share_the_gpu(planned: Planned, walker_keypoints: Walk, driver: Any) -> None:
    folder = planned("retention")
    models = [load(folder), load(folder), load(folder, engine="onnxruntime")]
    assert driver["streams"] == 2
    streams = [model.stream() for model in models]
    for frame in walker_keypoints(6):
        poses = [stream.step(frame) for stream in streams]
        same(poses[0], poses[2])
        same(poses[1], poses[2])
    models[0].close()
    with pytest.raises(UsageError, match="the model is closed"):
        streams[0].step(walker_keypoints(6)[0])
    same(streams[1].step(walker_keypoints(7)[6]), streams[2].step(walker_keypoints(7)[6]))
    assert driver["streams"] == 1


def test_a_model_that_is_forgotten_leaves_nothing_on_the_device(planned: Planned, walker_keypoints: Walk, driver: Any) -> None:
    gc.disable()  # what is not in a circle is gone at once
    try:
        model = load(planned("retention"))
        streams = [model.stream() for _ in range(3)]
        model.step_batch(dict.fromkeys(streams, walker_keypoints(1)[0]))
        assert driver["device"] and driver["pinned"] and driver["executables"]
        del model, streams
        assert not any(driver[what] for what in ("device", "pinned", "executables", "graphs", "streams"))
    finally:
        gc.enable()


def test_tensorrt_is_chosen_where_there_is_a_plan_that_fits(planned: Planned, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        model = load(planned("retention"))
    assert model.engine == "tensorrt" and "tensorrt is chosen" in caplog.text
    model.close()  # the log remembers the model


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"version": "10.7.0"}, "built by tensorrt 10.7.0, here is 10.3.0"),
        ({"capabilities": ("sm110",)}, "built for sm110, here is sm87"),
    ],
)
def test_a_plan_of_another_machine_is_told_and_the_cpu_is_chosen(
    planned: Planned, caplog: pytest.LogCaptureFixture, other: dict[str, Any], message: str
) -> None:
    folder = planned("retention", **other)
    with caplog.at_level(logging.INFO):
        assert load(folder).engine == "onnxruntime-cpu"
    assert message in caplog.text and "onnxruntime is chosen" in caplog.text
    with pytest.raises(ArtefactError, match=message):
        load(folder, engine="tensorrt")


def test_without_a_plan_the_cpu_is_chosen_and_tensorrt_asks_for_one(artefact_of: Callable[[str], Path]) -> None:
    assert load(artefact_of("retention")).engine == "onnxruntime-cpu"
    with pytest.raises(MissingError, match=r"no plan of step.fp32.onnx for tensorrt.*run: posemoe-edge build"):
        load(artefact_of("retention"), engine="tensorrt")


def test_a_plan_of_fp16_is_found_without_being_asked_for(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    """An artefact of two precisions runs the one that was built; on the CPU it runs fp32."""
    folder = planned("retention")
    manifest = read_manifest(folder)
    half = manifest.graphs[0].model_copy(update={"precision": "fp16", "file": "step.fp16.onnx"})
    both = manifest.model_copy(
        update={
            "graphs": (manifest.graphs[0], half),
            "files": manifest.files | {half.file: manifest.files[manifest.graphs[0].file]},
        }
    )
    assert select_engine(folder, both)[0].precision == "fp32"
    for path in (folder / "engines").iterdir():
        path.rename(path.with_name(path.name.replace("fp32", "fp16")))
    graph, engine, plan = select_engine(folder, both)
    assert (graph.precision, engine) == ("fp16", "tensorrt") and plan is not None
    assert select_engine(folder, both, engine="onnxruntime")[0].precision == "fp32"
    assert select_engine(folder, both, precision="fp32")[1] == "onnxruntime"
