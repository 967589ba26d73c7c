"""Frames in GPU memory: they are read in place, poses stay on the GPU, and every number equals that of host frames."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from foreign import CudaInterfaceArray, DlpackArray
from posemoe_edge.runtime import FrameError, Model, Stream, UsageError
from posemoe_edge.runtime.cuda.array import DeviceArray, zeros
from posemoe_edge.runtime.cuda.device import Device


@pytest.fixture(params=[CudaInterfaceArray, DlpackArray])
def to_gpu(device: Device, request: pytest.FixtureRequest) -> Any:
    """to_gpu(frame): a frame in another library's GPU memory, with work still pending on that library's stream."""

    def upload(frame: Any, dtype: str = "float32") -> Any:
        x = zeros(device, np.shape(frame), dtype)
        x[:] = np.asarray(frame, dtype)
        return request.param(x)

    return upload


def assert_same_pose(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
    np.testing.assert_array_equal(a.score, b.score)
    assert (a.gap, a.dt_s, a.t_s, a.latency_frames) == (b.gap, b.dt_s, b.t_s, b.latency_frames)


def state_bytes(stream: Stream) -> list[bytes]:
    return [array.tobytes() for array in stream.snapshot().state]


@pytest.mark.parametrize("kind", ["retention", "dssm", "gated"])
def test_streams_join_and_leave_with_frames_on_host_and_device(
    twins: Any, walker_keypoints: Any, to_gpu: Any, kind: str
) -> None:
    gpu, cpu = twins(kind)
    rng, t = np.random.default_rng(1), 0.0
    people: list[tuple[Stream, Stream]] = []
    for i in range(120):
        t += float(rng.choice([0.02, 0.05, 0.3, 2.5], p=[0.8, 0.1, 0.06, 0.04]))
        if not people or (len(people) < 6 and rng.random() < 0.1):
            people.append((gpu.stream(), cpu.stream()))
        if len(people) > 2 and rng.random() < 0.05:
            for stream in people.pop(int(rng.integers(len(people)))):
                stream.close()
        present = [pair for pair in people if rng.random() < 0.8] or people[:1]
        frames = [walker_keypoints(120, seed=k)[i].copy() for k in range(len(present))]
        for frame in frames:
            draw = rng.random()
            if draw < 0.1:
                frame[int(rng.integers(17))] = 0  # a joint that is not seen, at the origin
            elif draw < 0.2:
                frame[int(rng.integers(17)), 2] = 0  # a joint that is not seen, with meaningless coordinates
            elif draw < 0.3:
                frame[:, 2] = 0  # nobody is seen
        mixed = [to_gpu(frame) if rng.random() < 0.6 else frame for frame in frames]
        poses = gpu.step_batch({a: x for (a, _), x in zip(present, mixed, strict=True)}, t=t)
        expected = cpu.step_batch({b: x for (_, b), x in zip(present, frames, strict=True)}, t=t)
        for a, b in present:
            assert_same_pose(poses[a], expected[b])
    for a, b in people:
        assert state_bytes(a) == state_bytes(b)


def test_the_pose_of_a_device_frame_stays_on_the_device(twins: Any, walker_keypoints: Any, to_gpu: Any) -> None:
    gpu, _ = twins("retention")
    streams = [gpu.stream() for _ in range(3)]
    poses = gpu.step_batch({stream: to_gpu(frame) for stream, frame in zip(streams, walker_keypoints(3), strict=True)})
    for stream, pose in poses.items():
        assert isinstance(pose.xyz_m_device, DeviceArray) and pose.xyz_m_device.shape == (17, 3), stream
        np.testing.assert_array_equal(np.array(pose.xyz_m_device), pose.xyz_m)
    assert streams[0].step(walker_keypoints(2)[1]).xyz_m_device is None
    nobody = streams[1].step(to_gpu(np.zeros((17, 3))))
    assert (nobody.gap, nobody.xyz_m_device) == ("hold", None)


def test_the_pose_stays_on_the_device_if_a_frame_had_to_be_masked(twins: Any, walker_keypoints: Any, to_gpu: Any) -> None:
    """The whole launch is then repeated with frames from the host."""
    gpu, _ = twins("retention")
    plain, masked, on_host, nobody = (gpu.stream() for _ in range(4))
    for stream in (plain, masked, on_host, nobody):
        stream.step(walker_keypoints(1)[0])
    frames = walker_keypoints(4, seed=1).copy()
    frames[1, 3, 2] = 0
    frames[3, :, 2] = 0
    poses = gpu.step_batch({plain: to_gpu(frames[0]), masked: to_gpu(frames[1]), on_host: frames[2], nobody: to_gpu(frames[3])})
    for stream in (plain, masked):
        np.testing.assert_array_equal(np.array(poses[stream].xyz_m_device), poses[stream].xyz_m)
    assert poses[on_host].xyz_m_device is None and (poses[nobody].gap, poses[nobody].xyz_m_device) == ("hold", None)


def test_a_stream_that_joins_during_a_launch_does_not_invalidate_its_pose(
    twins: Any, walker_keypoints: Any, to_gpu: Any, monkeypatch: Any
) -> None:
    """Another thread opens streams, which has to wait for the pose; then the slab grows."""
    gpu, _ = twins("retention")
    stream = gpu.stream()
    commit = Stream._commit
    joining = threading.Thread(target=lambda: [gpu.stream() for _ in range(5)])

    def join_and_commit(self: Stream, *args: Any) -> Any:
        joining.start()
        joining.join(0.05)
        assert joining.is_alive()
        return commit(self, *args)

    with monkeypatch.context() as during_the_launch:
        during_the_launch.setattr(Stream, "_commit", join_and_commit)
        pose = stream.step(to_gpu(walker_keypoints(1)[0]))
    joining.join(60)
    assert not joining.is_alive()
    np.testing.assert_array_equal(np.array(pose.xyz_m_device), pose.xyz_m)


def test_a_reset_that_a_shadow_requests_during_a_launch_is_applied(
    twins: Any, walker_keypoints: Any, to_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, cpu = twins("retention")
    a, b = gpu.stream(), cpu.stream()
    frames = walker_keypoints(4)
    for i in range(3):
        assert_same_pose(a.step(to_gpu(frames[i]), t=i * 0.02), b.step(frames[i], t=i * 0.02))
    resets: list[bool] = []

    def record(*args: Any, **options: Any) -> None:
        resets.append(args[-1])

    sampler = SimpleNamespace(reset_pending=False, check=lambda: None, record=record, interrupt=lambda: None)
    launch = a._slots.launch

    def launch_and_request_reset(slots: Any) -> Any:
        sampler.reset_pending = True
        return launch(slots)

    with monkeypatch.context() as during_the_launch:  # ends before ``driver`` checks that the model was released
        during_the_launch.setattr(a, "_sampler", sampler)
        during_the_launch.setattr(a._slots, "launch", launch_and_request_reset)
        pose = a.step(to_gpu(frames[3]), t=0.06)
    b.reset()
    fresh = b.step(frames[3], t=0.06)
    np.testing.assert_array_equal(pose.xyz_m, fresh.xyz_m)
    assert (pose.gap, resets) == ("reset", [True])


def test_threads_may_step_device_frames_while_others_capture(
    twins: Any, walker_keypoints: Any, to_gpu: Any, caplog: Any
) -> None:
    gpu, cpu = twins("dssm")

    def lift(model: Model, frames: Any) -> list[np.ndarray]:
        with model.stream() as stream:
            return [stream.step(frame, t=i * 0.02).xyz_m for i, frame in enumerate(frames)]

    on_device = [[to_gpu(frame) for frame in walker_keypoints(24, seed=seed)] for seed in range(3)]
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda frames: lift(gpu, frames), on_device))
    assert not caplog.records
    for seed in range(3):
        np.testing.assert_array_equal(together[seed], lift(cpu, walker_keypoints(24, seed=seed)))


def test_a_device_frame_waits_once_and_is_not_uploaded(twins: Any, walker_keypoints: Any, to_gpu: Any, driver: Any) -> None:
    gpu, _ = twins("retention")
    stream = gpu.stream()
    for i, frame in enumerate(walker_keypoints(12)):
        on_device = to_gpu(frame)
        before = {name: driver[name] for name in ("uploads", "downloads", "moves", "waits", "device", "pinned", "launches")}
        stream.step(on_device, t=i * 0.02)
        if i > 2:
            differences = {name: driver[name] - count for name, count in before.items()}
            # Uploaded: dt and reset. Downloaded by the graph: the frame and the pose. Moved: the frame, into its slot. One of
            # the two waits is for the owner's stream, which this driver cannot order before ours in another way.
            assert differences == {
                "uploads": 1,
                "downloads": 2,
                "moves": 1,
                "waits": 2,
                "device": 0,
                "pinned": 0,
                "launches": 1,
            }
    assert driver["executables"] == 2


@pytest.mark.parametrize("turn", [0, 1, 4])
@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda x: x * np.where(np.arange(17) == 3, np.nan, 1)[:, None], "joint 3 of the keypoints is not finite"),
        (lambda x: x + np.array([0, 0, 1]), "joint 0 of the keypoints has score"),
    ],
)
def test_an_invalid_device_frame_refuses_the_whole_batch(
    twins: Any, walker_keypoints: Any, to_gpu: Any, turn: int, corrupt: Any, message: str
) -> None:
    gpu, cpu = twins("retention")
    a, b, c, d = gpu.stream(), gpu.stream(), cpu.stream(), cpu.stream()
    frames = walker_keypoints(8).copy()
    frames[:, :, 2] = 1
    for i in range(turn):
        gpu.step_batch({a: to_gpu(frames[i]), b: frames[i]}, t=i * 0.02)
        cpu.step_batch(dict.fromkeys((c, d), frames[i]), t=i * 0.02)
    before = state_bytes(a), state_bytes(b)
    with pytest.raises(FrameError, match=message):
        gpu.step_batch({b: frames[turn], a: to_gpu(corrupt(frames[turn]))}, t=turn * 0.02)
    assert (state_bytes(a), state_bytes(b)) == before
    for i in range(turn, 8):
        poses = gpu.step_batch({a: to_gpu(frames[i]), b: frames[i]}, t=i * 0.02)
        expected = cpu.step_batch(dict.fromkeys((c, d), frames[i]), t=i * 0.02)
        assert_same_pose(poses[a], expected[c])
        assert_same_pose(poses[b], expected[d])


def test_a_frame_that_does_not_fit_is_refused_before_the_launch(
    twins: Any, walker_keypoints: Any, to_gpu: Any, driver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gpu, cpu = twins("retention")
    stream = gpu.stream()
    stream.step(walker_keypoints(1)[0])
    frame = walker_keypoints(2)[1]
    before = driver["launches"], state_bytes(stream)
    for misfit, error, message in (
        (to_gpu(frame, "float16"), FrameError, r"float16 \(17, 3\).*expected float32 \(17, 3\)"),
        (to_gpu(frame[:, :2]), FrameError, r"float32 \(17, 2\).*expected float32 \(17, 3\)"),
        (to_gpu(frame[:16]), FrameError, r"float32 \(16, 3\)"),
    ):
        with pytest.raises(error, match=message):
            stream.step(misfit)
    with pytest.raises(UsageError, match=r"reads keypoints on the host only.*keypoints.cpu\(\)"):
        cpu.stream().step(to_gpu(frame))
    assert (driver["launches"], state_bytes(stream)) == before
    with caplog.at_level(logging.WARNING):
        assert_same_pose(stream.step(to_gpu(frame)), second_pose(cpu, walker_keypoints))
    assert not caplog.records


def second_pose(model: Model, walker_keypoints: Any) -> Any:
    stream = model.stream()
    return [stream.step(frame) for frame in walker_keypoints(2)][1]


def test_a_chunk_model_refuses_device_frames(twins: Any, walker_keypoints: Any, to_gpu: Any) -> None:
    gpu, _ = twins("retention-chunk")
    with pytest.raises(UsageError, match=r"reads keypoints on the host only.*graph of mode step"):
        gpu.stream().step(to_gpu(walker_keypoints(1)[0]))


def test_a_closed_model_refuses_device_frames(twins: Any, walker_keypoints: Any, to_gpu: Any) -> None:
    gpu, _ = twins("retention")
    stream = gpu.stream()
    stream.step(to_gpu(walker_keypoints(1)[0]))
    gpu.close()
    with pytest.raises(UsageError, match="the model is closed"):
        stream.step(to_gpu(walker_keypoints(2)[1]))
