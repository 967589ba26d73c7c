"""Frames that lie on the GPU already: they go in there, poses stay there, and every number is as if they were the host's."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime import FrameError, Stream, UsageError
from posemoe_edge.runtime.engines.cuda import Device, open_device
from posemoe_edge.runtime.engines.memory import DeviceArray


class Lent:
    """A frame in somebody else's memory on the GPU; ``done`` once nothing is left to wait for."""

    def __init__(self, device: Device, frame: Any, dtype: str = "float32", *, done: bool = False) -> None:
        self.x = device.zeros(np.shape(frame), dtype)
        self.x[:] = np.asarray(frame, dtype)
        self.__cuda_array_interface__ = self.x.__cuda_array_interface__
        if done:
            np.array(self.x)
            self.__cuda_array_interface__["stream"] = None


@pytest.fixture
def lend(device: Device) -> Any:
    """Somebody else's memory, on a stream of their own."""
    return lambda frame, dtype="float32", **more: Lent(device, frame, dtype, **more)


def same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
    np.testing.assert_array_equal(a.score, b.score)
    assert (a.gap, a.dt_s, a.t_s, a.latency_frames) == (b.gap, b.dt_s, b.t_s, b.latency_frames)


def remembered(stream: Stream) -> list[bytes]:
    return [array.tobytes() for array in stream.snapshot().memory]


@pytest.mark.parametrize("kind", ["retention", "dssm", "gated"])
def test_people_come_and_go_with_frames_on_either_side(twins: Any, walk: Any, lend: Any, kind: str) -> None:
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
        frames = [walk(120, seed=k)[i].copy() for k in range(len(there))]
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


def test_the_pose_stays_where_it_was_made(twins: Any, walk: Any, lend: Any) -> None:
    gpu, _ = twins("retention")
    others = [gpu.stream() for _ in range(3)]
    poses = gpu.step_batch({stream: lend(frame) for stream, frame in zip(others, walk(3), strict=True)})
    for stream, pose in poses.items():
        assert isinstance(pose.far_xyz_m, DeviceArray) and pose.far_xyz_m.shape == (17, 3), stream
        np.testing.assert_array_equal(np.array(pose.far_xyz_m), pose.xyz_m)
    assert others[0].step(walk(2)[1]).far_xyz_m is None
    nobody = others[1].step(lend(np.zeros((17, 3))))
    assert (nobody.gap, nobody.far_xyz_m) == ("hold", None)


def test_a_frame_from_the_gpu_waits_once_and_is_not_uploaded(twins: Any, walk: Any, lend: Any, driver: Any) -> None:
    gpu, _ = twins("retention")
    stream = gpu.stream()
    for i, frame in enumerate(walk(12)):
        lent = lend(frame, done=True)
        before = {what: driver[what] for what in ("uploads", "downloads", "moves", "waits", "device", "pinned", "launches")}
        stream.step(lent, t=i * 0.02)
        if i > 2:
            done = {what: driver[what] - count for what, count in before.items()}
            # Up: dt and reset. Down: the frame and the pose, in the graph. On the device: the frame, into its slot.
            assert done == {"uploads": 1, "downloads": 2, "moves": 1, "waits": 1, "device": 0, "pinned": 0, "launches": 1}
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
    twins: Any, walk: Any, lend: Any, turn: int, spoil: Any, message: str
) -> None:
    gpu, cpu = twins("retention")
    a, b, c, d = gpu.stream(), gpu.stream(), cpu.stream(), cpu.stream()
    frames = walk(8).copy()
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
    twins: Any, walk: Any, lend: Any, driver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gpu, cpu = twins("retention")
    stream = gpu.stream()
    stream.step(walk(1)[0])
    frame = walk(2)[1]
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
        same(stream.step(lend(frame)), _second(cpu, walk))
    assert not caplog.records


def _second(model: Any, walk: Any) -> Any:
    stream = model.stream()
    return [stream.step(frame) for frame in walk(2)][1]


def test_a_chunk_gathers_its_frames_on_the_host_and_says_so(twins: Any, walk: Any, lend: Any) -> None:
    gpu, _ = twins("retention-chunk")
    with pytest.raises(UsageError, match=r"takes none from there.*graph of mode step"):
        gpu.stream().step(lend(walk(1)[0]))


def test_joints_in_another_order_are_the_hosts(twins: Any, walk: Any, lend: Any) -> None:
    gpu, _ = twins("retention")
    stream = gpu.stream()
    stream._order = stream._order[::-1]
    with pytest.raises(UsageError, match="put into another order"):
        stream.step(lend(walk(1)[0]))


def test_a_closed_model_takes_none(twins: Any, walk: Any, lend: Any) -> None:
    gpu, _ = twins("retention")
    stream = gpu.stream()
    stream.step(lend(walk(1)[0]))
    gpu.close()
    with pytest.raises(UsageError, match="the model is closed"):
        stream.step(lend(walk(2)[1]))


def test_two_devices_of_one_gpu_order_their_streams(twins: Any, walk: Any, driver: Any) -> None:
    """The frame's owner and the model have a stream each: the model's waits, the host does not."""
    gpu, cpu = twins("dssm")
    owner = open_device()
    a, b = gpu.stream(), cpu.stream()
    for i, frame in enumerate(walk(6)):
        same(a.step(Lent(owner, frame), t=i * 0.02), b.step(frame, t=i * 0.02))
    owner.close()
