"""Whole rollouts on the device: streams join and leave, and every pose and state equals the CPU engine's, bit for bit.

Both run the same graph with the same arithmetic, so a difference can only come from addresses, order or timing.
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
from posemoe_edge.runtime import ArtefactError, FrameError, MissingError, Model, Snapshot, Stream, UsageError, load
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.cuda.driver import CudaError
from posemoe_edge.runtime.engines.select import select_engine

Planned = Callable[..., Path]
Walk = Callable[..., F32]
FRAMES = 200


def assert_same_pose(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
    assert (a.gap, a.dt_s, a.t_s) == (b.gap, b.dt_s, b.t_s)


def state_bytes(stream: Stream) -> list[bytes]:
    return [array.tobytes() for array in stream.snapshot().state]


KINDS = ["retention", "dssm", "gated", "retention-chunk", "lookahead-chunk", "attention"]


@pytest.mark.parametrize("kind", KINDS)
def test_streams_that_join_and_leave_give_the_cpus_poses(twins: Any, walker_keypoints: Walk, driver: Any, kind: str) -> None:
    models = twins(kind)
    rng, t = np.random.default_rng(KINDS.index(kind)), 0.0
    people: list[tuple[Stream, Stream]] = []
    saved: list[tuple[Snapshot, Snapshot]] = []
    before = driver["launches"]
    for i in range(FRAMES):
        t += float(rng.choice([0.02, 0.02, 0.021, 0.05, 0.3, 2.5], p=[0.4, 0.3, 0.15, 0.1, 0.03, 0.02]))
        if not people or (len(people) < 7 and rng.random() < 0.1):
            people.append((models[0].stream(), models[1].stream()))
        if len(people) > 2 and rng.random() < 0.05:
            for stream in people.pop(int(rng.integers(len(people)))):
                stream.close()
        present = [pair for pair in people if rng.random() < 0.8] or people[:1]
        draw = rng.random()
        if draw < 0.05:
            for stream in present[0]:
                stream.reset()
        elif draw < 0.1:
            saved.append((present[0][0].snapshot(), present[0][1].snapshot()))
        elif draw < 0.15 and saved and t > 1:
            for stream, snapshot in zip(present[-1], saved[int(rng.integers(len(saved)))], strict=True):
                stream.restore(snapshot)
        frames = [walker_keypoints(FRAMES, seed=k)[i] * (rng.random((17, 1)) > 0.1) for k in range(len(present))]
        batches = [dict(zip((pair[side] for pair in present), frames, strict=True)) for side in range(2)]
        if draw > 0.95:  # one invalid frame refuses the whole batch
            for model, batch in zip(models, batches, strict=True):
                with pytest.raises(FrameError):
                    model.step_batch(batch | {next(iter(batch)): np.full((17, 3), np.nan)}, t=t)
        poses = [model.step_batch(batch, t=t) for model, batch in zip(models, batches, strict=True)]
        for gpu, cpu in present:
            assert_same_pose(poses[0][gpu], poses[1][cpu])
        if i % 20 == 0:
            for gpu, cpu in people:
                assert state_bytes(gpu) == state_bytes(cpu)
    for gpu, cpu in people:
        assert state_bytes(gpu) == state_bytes(cpu)
    assert driver["launches"] > before + FRAMES // 8  # most launches were replays


def test_one_stream_has_two_graphs_and_its_state_stays_on_the_device(twins: Any, walker_keypoints: Walk, driver: Any) -> None:
    gpu, cpu = twins("retention")
    streams = gpu.stream(), cpu.stream()
    for i, frame in enumerate(walker_keypoints(30)):
        copies = driver["uploads"], driver["downloads"], driver["moves"], driver["device"], driver["pinned"]
        assert_same_pose(*(stream.step(frame, t=i * 0.02) for stream in streams))
        if i > 2:  # one copy in each direction, nothing moved, nothing allocated
            assert (driver["uploads"], driver["downloads"], *copies[2:]) == (
                copies[0] + 1,
                copies[1] + 1,
                driver["moves"],
                driver["device"],
                driver["pinned"],
            )
    assert driver["executables"] == 2


def test_a_slab_that_grows_is_captured_again_and_the_old_graphs_are_destroyed(
    twins: Any, walker_keypoints: Walk, driver: Any
) -> None:
    gpu, cpu = twins("dssm")
    pairs, t = [], 0.0
    for n in range(1, 6):
        pairs.append((gpu.stream(), cpu.stream()))
        for frame in walker_keypoints(4, seed=n):
            t += 0.02
            for pair in pairs:
                assert_same_pose(*(stream.step(frame, t=t) for stream in pair))
        assert driver["executables"] <= 2 * n
        assert driver["executables"] >= 2
    assert all(state_bytes(a) == state_bytes(b) for a, b in pairs)


def test_a_snapshot_can_be_restored_at_either_parity_and_in_another_stream(twins: Any, walker_keypoints: Walk) -> None:
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
            assert state_bytes(a) == state_bytes(b)
        for i in range(6, 12):
            poses = [stream.step(frames[i], t=i * 0.02) for pair in pairs for stream in pair]
            for pose in poses[1:]:
                assert_same_pose(poses[0], pose)
        for pair in pairs:
            for stream in pair:
                stream.close()


def test_a_released_slot_is_cleared_for_the_next_stream(twins: Any, walker_keypoints: Walk) -> None:
    gpu, _ = twins("retention")
    first = gpu.stream()
    fresh = state_bytes(first)
    for frame in walker_keypoints(3):
        first.step(frame)
    assert state_bytes(first) != fresh
    first.close()
    assert state_bytes(gpu.stream()) == fresh


@pytest.mark.parametrize("turn", [0, 1, 3])
def test_a_failed_launch_leaves_the_state_unchanged(twins: Any, walker_keypoints: Walk, driver: Any, turn: int) -> None:
    gpu, cpu = twins("retention")
    a, b = gpu.stream(), cpu.stream()
    frames = walker_keypoints(12)
    for i in range(turn):
        assert_same_pose(a.step(frames[i], t=i * 0.02), b.step(frames[i], t=i * 0.02))
    before = state_bytes(a)
    if turn < 2:  # this launch is enqueued
        host_tensorrt.REFUSE["execute_async_v3"] = 0
        with pytest.raises(ArtefactError, match="did not run the plan"):
            a.step(frames[turn], t=turn * 0.02)
    else:  # this launch is a replay
        driver.fail("cuGraphLaunch")
        with pytest.raises(CudaError, match="cuGraphLaunch"):
            a.step(frames[turn], t=turn * 0.02)
    assert state_bytes(a) == before
    for i in range(turn, 12):
        assert_same_pose(a.step(frames[i], t=i * 0.02), b.step(frames[i], t=i * 0.02))


def test_without_graphs_poses_are_the_same_and_one_warning_is_logged(
    twins: Any, walker_keypoints: Walk, driver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gpu, cpu = twins("dssm")
    driver.fail("cuStreamEndCapture")
    pairs = [(gpu.stream(), cpu.stream()) for _ in range(2)]
    with caplog.at_level(logging.WARNING):
        for i, frame in enumerate(walker_keypoints(10)):
            for pair in pairs:
                assert_same_pose(*(stream.step(frame, t=i * 0.02) for stream in pair))
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


def test_two_models_can_share_the_gpu(planned: Planned, walker_keypoints: Walk, driver: Any) -> None:
    folder = planned("retention")
    models = [load(folder), load(folder), load(folder, engine="onnxruntime")]
    assert driver["streams"] == 2
    streams = [model.stream() for model in models]
    for frame in walker_keypoints(6):
        poses = [stream.step(frame) for stream in streams]
        assert_same_pose(poses[0], poses[2])
        assert_same_pose(poses[1], poses[2])
    models[0].close()
    with pytest.raises(UsageError, match="the model is closed"):
        streams[0].step(walker_keypoints(6)[0])
    assert_same_pose(streams[1].step(walker_keypoints(7)[6]), streams[2].step(walker_keypoints(7)[6]))
    assert driver["streams"] == 1


def test_a_model_without_references_leaves_nothing_on_the_device(planned: Planned, walker_keypoints: Walk, driver: Any) -> None:
    gc.disable()  # objects outside reference cycles are freed at once
    try:
        model = load(planned("retention"))
        streams = [model.stream() for _ in range(3)]
        model.step_batch(dict.fromkeys(streams, walker_keypoints(1)[0]))
        assert driver["device"] and driver["pinned"] and driver["executables"]
        del model, streams
        assert not any(driver[resource] for resource in ("device", "pinned", "executables", "graphs", "streams"))
    finally:
        gc.enable()


def test_tensorrt_is_selected_if_a_plan_fits(planned: Planned, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        model = load(planned("retention"))
    assert model.engine == "tensorrt" and "tensorrt is chosen" in caplog.text
    model.close()  # the captured log records keep a reference to the model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "10.7.0"}, "built by tensorrt 10.7.0, this machine has 10.3.0"),
        ({"capabilities": ("sm110",)}, "built for sm110, this machine has sm87"),
    ],
)
def test_a_plan_of_another_machine_is_reported_and_the_cpu_is_selected(
    planned: Planned, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], message: str
) -> None:
    folder = planned("retention", **changes)
    with caplog.at_level(logging.INFO):
        assert load(folder).engine == "onnxruntime-cpu"
    assert message in caplog.text and "onnxruntime is chosen" in caplog.text
    with pytest.raises(ArtefactError, match=message):
        load(folder, engine="tensorrt")


def test_without_a_plan_the_cpu_is_selected_and_tensorrt_is_an_error(artefact_of: Callable[[str], Path]) -> None:
    assert load(artefact_of("retention")).engine == "onnxruntime-cpu"
    with pytest.raises(MissingError, match=r"no plan of step.fp32.onnx for tensorrt.*run: posemoe-edge build"):
        load(artefact_of("retention"), engine="tensorrt")


def test_an_fp16_plan_is_selected_without_a_requested_precision(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    """An artefact of two precisions runs the one that has a plan; on the CPU it runs fp32."""
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
