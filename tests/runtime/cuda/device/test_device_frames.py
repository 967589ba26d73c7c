"""Frames that lie on the GPU already: they go in there, poses stay there, and every number is as if they were the host's."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from foreign import DLPack, Interface
from posemoe_edge.runtime import FrameError, Model, Stream, UsageError
from posemoe_edge.runtime.cuda.array import DeviceArray, zeros
from posemoe_edge.runtime.cuda.device import Device


@pytest.fixture(params=[Interface, DLPack])
def lend(device: Device, request: pytest.FixtureRequest) -> Any:
    """lend(frame): a frame in somebody else's memory on the GPU, with work on a stream of theirs still to do."""

    def lent(frame: Any, dtype: str = "float32") -> Any:
        x = zeros(device, np.shape(frame), dtype)
        x[:] = np.asarray(frame, dtype)
        return request.param(x)

    return lent


def same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
    np.testing.assert_array_equal(a.score, b.score)
    assert (a.gap, a.dt_s, a.t_s, a.latency_frames) == (b.gap, b.dt_s, b.t_s, b.latency_frames)


def remembered(stream: Stream) -> list[bytes]:
    return [array.tobytes() for array in stream.snapshot().state]


@pytest.mark.parametrize("kind", ["retention", "dssm", "gated"])
def test_people_come_and_go_with_frames_on_either_side(twins: Any, walker_keypoints: Any, lend: Any, kind: str) -> None:
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
        there = [pair for pair in people if rng.random() < 0.8] or people[:1]
        frames = [walker_keypoints(120, seed=k)[i].copy() for k in range(len(there))]
        for frame in frames:
            fate = rng.random()
            if fate < 0.1:
                frame[int(rng.integers(17))] = 0  # not seen, and so without a place
            elif fate < 0.2:
                frame[int(rng.integers(17)), 2] = 0  # not seen, and with a place that is none
            elif fate < 0.3:
                frame[:, 2] = 0  # nobody
        lent = [lend(frame) if rng.random() < 0.6 else frame for frame in frames]
        poses = gpu.step_batch({a: x for (a, _), x in zip(there, lent, strict=True)}, t=t)
        expected = cpu.step_batch({b: x for (_, b), x in zip(there, frames, strict=True)}, t=t)
        for a, b in there:
            same(poses[a], expected[b])
    for a, b in people:
        assert remembered(a) == remembered(b)


def test_the_pose_stays_where_it_was_made(twins: Any, walker_keypoints: Any, lend: Any) -> None:
    gpu, _ = twins("retention")
    others = [gpu.stream() for _ in range(3)]
    poses = gpu.step_batch({stream: lend(frame) for stream, frame in zip(others, walker_keypoints(3), strict=True)})
    for stream, pose in poses.items():
        assert isinstance(pose.xyz_m_device, DeviceArray) and pose.xyz_m_device.shape == (17, 3), stream
        np.testing.assert_array_equal(np.array(pose.xyz_m_device), pose.xyz_m)
    assert others[0].step(walker_keypoints(2)[1]).xyz_m_device is None
    nobody = others[1].step(lend(np.zeros((17, 3))))
    assert (nobody.gap, nobody.xyz_m_device) == ("hold", None)


def test_the_pose_stays_also_if_a_frame_had_to_be_masked(twins: Any, walker_keypoints: Any, lend: Any) -> None:
    """The launch is done once more then, from the host: for everybody in it."""
    gpu, _ = twins("retention")
    plain, masked, near, nobody = (gpu.stream() for _ in range(4))
    for stream in (plain, masked, near, nobody):
        stream.step(walker_keypoints(1)[0])
    frames = walker_keypoints(4, seed=1).copy()
    frames[1, 3, 2] = 0
    frames[3, :, 2] = 0
    poses = gpu.step_batch({plain: lend(frames[0]), masked: lend(frames[1]), near: frames[2], nobody: lend(frames[3])})
    for stream in (plain, masked):
        np.testing.assert_array_equal(np.array(poses[stream].xyz_m_device), poses[stream].xyz_m)
    assert poses[near].xyz_m_device is None and (poses[nobody].gap, poses[nobody].xyz_m_device) == ("hold", None)


def test_who_joins_meanwhile_does_not_take_the_pose_away(
    twins: Any, walker_keypoints: Any, lend: Any, monkeypatch: Any
) -> None:
    """As another thread may, between the launch and the answer: the slab grows."""
    gpu, _ = twins("retention")
    stream = gpu.stream()
    commit = Stream._commit

    def joined(self: Stream, *args: Any) -> Any:
        for _ in range(5):
            gpu.stream()
        return commit(self, *args)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Stream, "_commit", joined)
        pose = stream.step(lend(walker_keypoints(1)[0]))
    np.testing.assert_array_equal(np.array(pose.xyz_m_device), pose.xyz_m)


def test_a_reset_that_a_shadow_requests_during_the_launch_is_done(twins: Any, walker_keypoints: Any, lend: Any) -> None:
    gpu, cpu = twins("retention")
    a, b = gpu.stream(), cpu.stream()
    frames = walker_keypoints(4)
    for i in range(3):
        same(a.step(lend(frames[i]), t=i * 0.02), b.step(frames[i], t=i * 0.02))
    resets: list[bool] = []

    def record(*args: Any, **options: Any) -> None:
        resets.append(args[-1])

    sampler = SimpleNamespace(reset_pending=False, check=lambda: None, record=record, interrupt=lambda: None)
    launch = a._slots.launch

    def launch_and_request_reset(slots: Any) -> Any:
        sampler.reset_pending = True
        return launch(slots)

    a._sampler, a._slots.launch = sampler, launch_and_request_reset  # type: ignore[assignment,method-assign]
    pose = a.step(lend(frames[3]), t=0.06)
    b.reset()
    fresh = b.step(frames[3], t=0.06)
    np.testing.assert_array_equal(pose.xyz_m, fresh.xyz_m)
    assert (pose.gap, resets) == ("reset", [True])
    del a._slots.launch


def test_threads_lend_frames_while_others_are_captured(twins: Any, walker_keypoints: Any, lend: Any, caplog: Any) -> None:
    gpu, cpu = twins("dssm")

    def lift(model: Model, frames: Any) -> list[np.ndarray]:
        with model.stream() as stream:
            return [stream.step(frame, t=i * 0.02).xyz_m for i, frame in enumerate(frames)]

    lent = [[lend(frame) for frame in walker_keypoints(24, seed=seed)] for seed in range(3)]
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda frames: lift(gpu, frames), lent))
    assert not caplog.records
    for seed in range(3):
        np.testing.assert_array_equal(together[seed], lift(cpu, walker_keypoints(24, seed=seed)))


def test_a_frame_from_the_gpu_waits_once_and_is_not_uploaded(twins: Any, walker_keypoints: Any, lend: Any, driver: Any) -> None:
    gpu, _ = twins("retention")
    stream = gpu.stream()
    for i, frame in enumerate(walker_keypoints(12)):
        lent = lend(frame)
        before = {what: driver[what] for what in ("uploads", "downloads", "moves", "waits", "device", "pinned", "launches")}
        stream.step(lent, t=i * 0.02)
        if i > 2:
            done = {what: driver[what] - count for what, count in before.items()}
            # Up: dt and reset. Down: the frame and the pose, in the graph. On the device: the frame, into its slot. One of the
            # waits is for the lender's stream, which this driver has no other way to put before ours.
            assert done == {"uploads": 1, "downloads": 2, "moves": 1, "waits": 2, "device": 0, "pinned": 0, "launches": 1}
    assert driver["executables"] == 2


@pytest.mark.parametrize("turn", [0, 1, 4])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x * np.where(np.arange(17) == 3, np.nan, 1)[:, None], "joint 3 of the keypoints is not finite"),
        (lambda x: x + np.array([0, 0, 1]), "joint 0 of the keypoints has score"),
    ],
)
def test_a_frame_that_turns_out_bad_is_refused_and_so_are_all(
    twins: Any, walker_keypoints: Any, lend: Any, turn: int, spoil: Any, message: str
) -> None:
    gpu, cpu = twins("retention")
    a, b, c, d = gpu.stream(), gpu.stream(), cpu.stream(), cpu.stream()
    frames = walker_keypoints(8).copy()
    frames[:, :, 2] = 1
    for i in range(turn):
        gpu.step_batch({a: lend(frames[i]), b: frames[i]}, t=i * 0.02)
        cpu.step_batch(dict.fromkeys((c, d), frames[i]), t=i * 0.02)
    before = remembered(a), remembered(b)
    with pytest.raises(FrameError, match=message):
        gpu.step_batch({b: frames[turn], a: lend(spoil(frames[turn]))}, t=turn * 0.02)
    assert (remembered(a), remembered(b)) == before
    for i in range(turn, 8):
        pose = gpu.step_batch({a: lend(frames[i]), b: frames[i]}, t=i * 0.02)
        expected = cpu.step_batch(dict.fromkeys((c, d), frames[i]), t=i * 0.02)
        same(pose[a], expected[c])
        same(pose[b], expected[d])


def test_what_does_not_fit_is_told_before_anything_is_launched(
    twins: Any, walker_keypoints: Any, lend: Any, driver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gpu, cpu = twins("retention")
    stream = gpu.stream()
    stream.step(walker_keypoints(1)[0])
    frame = walker_keypoints(2)[1]
    before = driver["launches"], remembered(stream)
    for lent, error, message in (
        (lend(frame, "float16"), FrameError, r"float16 \(17, 3\).*expected float32 \(17, 3\)"),
        (lend(frame[:, :2]), FrameError, r"float32 \(17, 2\).*expected float32 \(17, 3\)"),
        (lend(frame[:16]), FrameError, r"float32 \(16, 3\)"),
    ):
        with pytest.raises(error, match=message):
            stream.step(lent)
    with pytest.raises(UsageError, match=r"takes none from there.*keypoints.cpu\(\)"):
        cpu.stream().step(lend(frame))
    assert (driver["launches"], remembered(stream)) == before
    with caplog.at_level(logging.WARNING):
        same(stream.step(lend(frame)), _second(cpu, walker_keypoints))
    assert not caplog.records


def _second(model: Any, walker_keypoints: Any) -> Any:
    stream = model.stream()
    return [stream.step(frame) for frame in walker_keypoints(2)][1]


def test_a_chunk_gathers_its_frames_on_the_host_and_says_so(twins: Any, walker_keypoints: Any, lend: Any) -> None:
    gpu, _ = twins("retention-chunk")
    with pytest.raises(UsageError, match=r"takes none from there.*graph of mode step"):
        gpu.stream().step(lend(walker_keypoints(1)[0]))


def test_a_closed_model_takes_none(twins: Any, walker_keypoints: Any, lend: Any) -> None:
    gpu, _ = twins("retention")
    stream = gpu.stream()
    stream.step(lend(walker_keypoints(1)[0]))
    gpu.close()
    with pytest.raises(UsageError, match="the model is closed"):
        stream.step(lend(walker_keypoints(2)[1]))
