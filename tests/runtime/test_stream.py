"""A stream gives the poses that PyTorch computes, frame after frame, whatever happens in between."""

from __future__ import annotations

import gc
import pickle
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime import FrameError, GapPolicy, Model, Pose, Snapshot, Stream, UsageError, load
from posemoe_edge.runtime.arrays import F32, F64
from posemoe_edge.runtime.state import StepSlots

REL = 1e-4  # float32 sums in another order, over a carried state
DT_S = 0.02
PATIENT = GapPolicy(reset_after_s=2.0)
"""Feeds the elapsed time of gaps that the default policy answers with a reset."""
Walk = Callable[..., F32]


@pytest.fixture
def model(retention_artefact: Path) -> Model:
    return load(retention_artefact)


def play(stream: Stream, keypoints: F32, *, start: float = 0.0) -> list[Pose]:
    return [stream.step(frame, t=start + i * DT_S) for i, frame in enumerate(keypoints)]


def twins(model: Model, keypoints: F32) -> tuple[Stream, Stream]:
    """Two streams that were fed the same frames."""
    stream, twin = model.stream(), model.stream()
    play(stream, keypoints)
    play(twin, keypoints)
    return stream, twin


def same(a: F32, b: F32) -> None:
    assert np.abs(a - b).max() <= REL * np.abs(b).max()


def memory_of(stream: Stream) -> tuple[list[bytes], Any, Any, bytes | None]:
    """All that a stream remembers, bit for bit."""
    snapshot = stream.snapshot()
    history = snapshot.history
    pose = None if history.lifted is None else history.lifted.tobytes()
    return [part.tobytes() for part in snapshot.state], history.last_s, history.fed_s, pose


@pytest.mark.parametrize("mixer", ["retention", "dssm"])
def test_a_stream_equals_pytorch_at_any_frame_rate(
    mixer: str, artefact_of: Callable[[str], Path], tiny_lifter: Callable[[str], Any], walker_keypoints: Walk
) -> None:
    torch = pytest.importorskip("torch")

    rng = np.random.default_rng(1)
    reference, stream = tiny_lifter(mixer), load(artefact_of(mixer), gaps=PATIENT).stream()
    state, t = reference.initial_state(1), 10.0
    for i, frame in enumerate(walker_keypoints(40)):
        dt = 1 / 50 if i == 0 else float(rng.choice([0.01, 0.02, 0.033, 0.1, 0.7]))
        t += dt
        with torch.no_grad():
            y, state = reference.step(torch.from_numpy(frame[None].copy()), state, torch.tensor([dt]))
        pose = stream.step(frame, t=t)
        same(pose.xyz_m, y[0].numpy())
        assert pose.dt_s == pytest.approx(dt) and pose.latency_frames == 0


def test_a_pose_carries_the_score_and_the_time_of_its_frame(model: Model, walker_keypoints: Walk) -> None:
    frame = walker_keypoints(1)[0].copy()
    frame[4] = 0
    pose = model.stream().step(frame, t=3.5)
    assert pose.xyz_m.shape == (17, 3) and pose.xyz_m.dtype == np.float32
    assert (pose.t_s, pose.gap, pose.person) == (3.5, "reset", 0)
    np.testing.assert_array_equal(pose.score, frame[:, 2])


def test_keypoints_without_scores_are_all_seen(model: Model, walker_keypoints: Walk) -> None:
    frame = walker_keypoints(1)[0].copy()
    frame[:, 2] = 1
    a, b = model.stream().step(frame, t=0), model.stream().step(frame[:, :2].tolist(), t=0)
    np.testing.assert_array_equal(a.xyz_m, b.xyz_m)


def test_the_coordinates_of_a_joint_that_was_not_seen_do_not_matter(model: Model, walker_keypoints: Walk) -> None:
    frame = walker_keypoints(1)[0].copy()
    frame[7] = (0, 0, 0)
    wild = frame.copy()
    wild[7] = (1e9, -1e9, 0)
    np.testing.assert_array_equal(model.stream().step(frame).xyz_m, model.stream().step(wild).xyz_m)


def test_a_step_changes_neither_the_callers_array_nor_an_earlier_pose(model: Model, walker_keypoints: Walk) -> None:
    frame = walker_keypoints(1)[0].copy()
    before = frame.copy()
    stream = model.stream()
    first = stream.step(frame, t=0)
    first_xyz_m = first.xyz_m.copy()
    frame[:] = 0.3
    stream.step(frame, t=1)
    np.testing.assert_array_equal(first.xyz_m, first_xyz_m)
    np.testing.assert_array_equal(walker_keypoints(1)[0], before)


def test_without_times_a_frame_comes_one_nominal_step_later(model: Model, walker_keypoints: Walk) -> None:
    timed, untimed = model.stream(), model.stream()
    for i, frame in enumerate(walker_keypoints(5)):
        a, b = timed.step(frame, t=i * DT_S), untimed.step(frame)
        assert b.t_s == pytest.approx(i * DT_S)
        same(b.xyz_m, a.xyz_m)


def test_a_reset_forgets_the_person_before(model: Model, walker_keypoints: Walk) -> None:
    used, fresh = model.stream(), model.stream()
    play(used, walker_keypoints(10, seed=1))
    used.reset()
    for a, b in zip(
        play(used, walker_keypoints(5), start=0.0), play(fresh, walker_keypoints(5)), strict=True
    ):  # time may start again
        np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
        assert (a.gap, a.dt_s) == (b.gap, b.dt_s)


def test_without_a_reset_the_person_before_matters(model: Model, walker_keypoints: Walk) -> None:
    """The tests of resets rest on this: without a reset, the person before changes the pose."""
    used, fresh = model.stream(), model.stream()
    play(used, walker_keypoints(10, seed=1))
    a, b = used.step(walker_keypoints(1)[0], t=0.2), fresh.step(walker_keypoints(1)[0], t=0.2)
    assert np.abs(a.xyz_m - b.xyz_m).max() > 1e-3


@pytest.mark.parametrize("mixer", ["retention", "dssm", "attention", "lookahead-chunk"])
def test_a_restored_stream_goes_on_bit_for_bit(mixer: str, artefact_of: Callable[[str], Path], walker_keypoints: Walk) -> None:
    model = load(artefact_of(mixer))
    stream, frames = model.stream(), walker_keypoints(40)
    play(stream, frames[:15])  # ends in the middle of a chunk
    snapshot = stream.snapshot()
    expected = play(stream, frames[15:25], start=0.3)
    play(stream, frames[25:], start=0.5)
    stream.restore(snapshot)
    other = model.stream()
    play(other, frames[5:8])
    other.restore(snapshot)
    for again in (stream, other):
        for a, b in zip(play(again, frames[15:25], start=0.3), expected, strict=True):
            np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
            assert a.to_json() == b.to_json()


def test_a_snapshot_of_another_graph_is_refused(retention_artefact: Path, dssm_artefact: Path, walker_keypoints: Walk) -> None:
    stream = load(retention_artefact).stream()
    play(stream, walker_keypoints(3))
    before = memory_of(stream)
    for other in (load(dssm_artefact), load(retention_artefact, precision="fp16")):
        with pytest.raises(UsageError, match="of another model"):
            stream.restore(other.stream().snapshot())
    assert memory_of(stream) == before


def test_a_snapshot_fits_the_same_artefact_opened_again(retention_artefact: Path, walker_keypoints: Walk) -> None:
    a, b = (load(retention_artefact).stream() for _ in range(2))
    play(a, walker_keypoints(5))
    b.restore(a.snapshot())
    np.testing.assert_array_equal(a.step(walker_keypoints(6)[5], t=0.1).xyz_m, b.step(walker_keypoints(6)[5], t=0.1).xyz_m)


def bad_frame(where: Any, value: float) -> F32:
    """A valid frame with one wrong number."""
    frame = np.full((17, 3), 0.5, np.float32)
    frame[where] = value
    return frame


GOOD = np.full((17, 3), 0.5, np.float32)
REFUSED = [
    ("nan", bad_frame((3, 0), np.nan), 0.1, "joint 3 .* not finite"),
    ("inf", bad_frame((16, 1), np.inf), 0.1, "joint 16 .* not finite"),
    ("nan score", bad_frame((0, 2), np.nan), 0.1, "joint 0 .* not finite"),
    ("score 2", bad_frame((5, 2), 2), 0.1, "score 2; expected scores in"),
    ("pixels", bad_frame((5, 0), 960), 0.1, "joint 5 of the keypoints lies at"),
    ("what overflows in half precision", bad_frame((5, 1), 3e38), 0.1, "joint 5 of the keypoints lies at"),
    ("score -0.1", bad_frame((5, 2), -0.1), 0.1, "score -0.1"),
    ("wrong joints", np.zeros((16, 3)), 0.1, r"shape \(16, 3\)"),
    ("wrong channels", np.zeros((17, 4)), 0.1, r"shape \(17, 4\)"),
    ("a batch", np.zeros((1, 17, 3)), 0.1, r"shape \(1, 17, 3\)"),
    ("text", "pose", 0.1, "not an array of numbers|shape"),
    ("ragged", [[1, 2], [3]], 0.1, "not an array of numbers"),
    ("too large for float32", bad_frame((1, 0), 0).astype(np.float64) * 1e300, 0.1, "not finite"),
    ("time goes back", GOOD, 0.03, r"time went from 0.080000 s to 0.030000 s"),
    ("time stands still", GOOD, 0.08, "each frame later"),
    ("time is nan", GOOD, float("nan"), "time is nan"),
    ("time is inf", GOOD, float("inf"), "time is inf"),
]


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("mixer", ["retention", "attention", "lookahead-chunk"])
@pytest.mark.parametrize(("keypoints", "t", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_refused_frame_leaves_no_trace(
    mixer: str, keypoints: Any, t: float, message: str, artefact_of: Callable[[str], Path], walker_keypoints: Walk
) -> None:
    model = load(artefact_of(mixer))
    frames = walker_keypoints(8)
    stream, twin = twins(model, frames[:5])
    before = memory_of(stream)
    with pytest.raises(FrameError, match=message):
        stream.step(keypoints, t=t)
    assert memory_of(stream) == before == memory_of(twin)
    for i in (5, 6, 7):
        a, b = stream.step(frames[i], t=0.1 + i * DT_S), twin.step(frames[i], t=0.1 + i * DT_S)
        np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
        assert a.to_json() == b.to_json()


def test_a_first_frame_may_be_refused_too(model: Model, walker_keypoints: Walk) -> None:
    stream = model.stream()
    with pytest.raises(FrameError):
        stream.step(bad_frame((3, 0), np.nan), t=5.0)
    pose = stream.step(walker_keypoints(1)[0], t=1.0)  # the refused frame set no time
    np.testing.assert_array_equal(pose.xyz_m, model.stream().step(walker_keypoints(1)[0], t=1.0).xyz_m)


def test_a_pose_names_its_gap_and_a_long_gap_resets(retention_artefact: Path, walker_keypoints: Walk) -> None:
    model = load(retention_artefact, gaps=GapPolicy(decay_after_s=0.1, reset_after_s=1.0))
    stream, fresh = model.stream(), model.stream()
    frames = walker_keypoints(6)
    poses = [stream.step(frame, t=t) for frame, t in zip(frames, (0, 0.02, 0.2, 1.1, 2.5, 2.52), strict=True)]
    assert [pose.gap for pose in poses] == ["reset", "none", "decay", "decay", "reset", "none"]
    assert [pose.dt_s for pose in poses] == pytest.approx([0.02, 0.02, 0.18, 0.9, 1.4, 0.02])
    for i, t in ((4, 2.5), (5, 2.52)):  # as if nothing had been before
        np.testing.assert_array_equal(fresh.step(frames[i], t=t).xyz_m, poses[i].xyz_m)


def test_a_frame_with_nobody_holds_the_last_pose_and_lets_time_run_on(model: Model, walker_keypoints: Walk) -> None:
    frames = walker_keypoints(6)
    stream, twin = twins(model, frames[:4])
    last, _ = (s.step(frames[4], t=4 * DT_S) for s in (stream, twin))
    state = memory_of(stream)[0]
    for t in (0.10, 0.12, 0.14):
        held = stream.step(np.zeros((17, 3)), t=t)
        assert held.gap == "hold" and held.t_s == t and held.dt_s == pytest.approx(t - 0.08) and not held.score.any()
        np.testing.assert_array_equal(held.xyz_m, last.xyz_m)
    assert memory_of(stream)[0] == state
    with pytest.raises(FrameError, match=r"from 0.140000 s"):  # a held frame counts: time went on
        stream.step(frames[5], t=0.13)
    a, b = stream.step(frames[5], t=0.16), twin.step(frames[5], t=0.16)
    assert a.dt_s == pytest.approx(0.08) and a.gap == b.gap == "none"
    np.testing.assert_array_equal(a.xyz_m, b.xyz_m)


def test_a_person_who_was_not_seen_for_long_starts_anew(model: Model, walker_keypoints: Walk) -> None:
    stream, fresh = model.stream(), model.stream()
    play(stream, walker_keypoints(5))
    for i in range(30):
        stream.step(np.zeros((17, 3)), t=0.1 + 0.1 * i)
    a, b = stream.step(walker_keypoints(1)[0], t=3.2), fresh.step(walker_keypoints(1)[0], t=3.2)
    assert a.gap == "reset"
    np.testing.assert_array_equal(a.xyz_m, b.xyz_m)


def test_a_stream_that_never_saw_anybody_still_answers(model: Model) -> None:
    pose = model.stream().step(np.zeros((17, 3)), t=0)
    assert np.isfinite(pose.xyz_m).all() and not pose.score.any()


def test_a_closed_stream_refuses_everything_and_may_be_closed_again(model: Model, walker_keypoints: Walk) -> None:
    with model.stream() as stream:
        play(stream, walker_keypoints(2))
        snapshot = stream.snapshot()
    stream.close()
    for call in (lambda: stream.step(walker_keypoints(1)[0]), stream.snapshot, lambda: stream.restore(snapshot)):
        with pytest.raises(UsageError, match="the stream is closed; expected a new stream"):
            call()
    np.testing.assert_array_equal(  # the next stream in the slot finds it cleared
        model.stream().step(walker_keypoints(1)[0], t=0).xyz_m, load_fresh(model, walker_keypoints).xyz_m
    )


def test_a_stream_names_its_model(model: Model) -> None:
    stream = model.stream()
    names = "preset='tiny-retention', precision='fp32', engine='onnxruntime-cpu'"
    assert repr(stream) == f"Stream({names}, slot=0)"
    stream.close()
    assert repr(stream) == f"Stream({names}, slot=None)"


def load_fresh(model: Model, walker_keypoints: Walk) -> Pose:
    model.stream()  # takes another slot
    return model.stream().step(walker_keypoints(1)[0], t=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("mixer", ["retention", "attention", "lookahead-chunk"])
def test_a_pose_that_is_not_finite_raises_and_leaves_the_state(
    mixer: str, value: float, artefact_of: Callable[[str], Path], walker_keypoints: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(artefact_of(mixer))
    frames = walker_keypoints(8)
    stream, twin = twins(model, frames[:5])
    before = memory_of(stream)
    launch = model._slots.launch

    def broken(slots: Any) -> F32:
        poses = launch(slots)
        poses[slots[0], 3, 1] = value
        return poses

    monkeypatch.setattr(model._slots, "launch", broken)
    with pytest.raises(FrameError, match="not finite; the state is unchanged"):
        stream.step(frames[5], t=0.1)
    monkeypatch.undo()
    assert memory_of(stream) == before
    np.testing.assert_array_equal(stream.step(frames[5], t=0.12).xyz_m, twin.step(frames[5], t=0.12).xyz_m)


def test_an_engine_that_breaks_down_leaves_the_state(
    model: Model, walker_keypoints: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, twin = twins(model, walker_keypoints(5))
    before = memory_of(stream)

    def broken(slots: Any) -> F32:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(model._slots, "launch", broken)
    with pytest.raises(RuntimeError, match="the device is gone"):
        stream.step(walker_keypoints(6)[5], t=0.1)
    monkeypatch.undo()
    assert memory_of(stream) == before
    np.testing.assert_array_equal(
        stream.step(walker_keypoints(6)[5], t=0.1).xyz_m, twin.step(walker_keypoints(6)[5], t=0.1).xyz_m
    )


@pytest.mark.parametrize(("mixer", "steps"), [("retention", 2000), ("attention", 800), ("lookahead-chunk", 2000)])
def test_a_long_run_stays_finite_and_allocates_nothing_that_grows(
    mixer: str, steps: int, artefact_of: Callable[[str], Path], walker_keypoints: Walk
) -> None:
    stream, frames = load(artefact_of(mixer)).stream(), walker_keypoints(200)
    sizes = []
    tracemalloc.start()
    try:
        for i in range(steps):
            pose = stream.step(frames[i % 200], t=i * DT_S)
            if i in (199, steps - 1):
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert np.isfinite(pose.xyz_m).all() and np.abs(pose.xyz_m).max() < 100
    assert sizes[1] - sizes[0] < 4096, "bytes that grew"


@pytest.mark.parametrize("latency", [0, 3, 8])
def test_a_window_model_equals_pytorch_on_each_window(
    latency: int, attention_artefact: Path, tiny_lifter: Callable[[str], Any], walker_keypoints: Walk
) -> None:
    torch = pytest.importorskip("torch")

    stream = load(attention_artefact, latency_frames=latency).stream()
    frames, reference = walker_keypoints(24), tiny_lifter("attention")
    for i, pose in enumerate(play(stream, frames)):
        window = np.stack([frames[max(0, i - 8 + j)] for j in range(9)])  # the oldest frame repeated until it is full
        with torch.no_grad():
            y = reference(torch.from_numpy(window[None]))[0, -1 - latency].numpy()
        same(pose.xyz_m, y)
        assert pose.latency_frames == latency


def test_a_late_pose_carries_the_time_of_its_own_frame(attention_artefact: Path, walker_keypoints: Walk) -> None:
    stream = load(attention_artefact, latency_frames=3).stream()
    frames = walker_keypoints(20).copy()
    frames[:, :, 2] = np.linspace(0.5, 1, 20, dtype=np.float32)[:, None]
    for i, pose in enumerate(play(stream, frames)):
        assert pose.t_s == pytest.approx(max(0, i - 3) * DT_S)
        np.testing.assert_array_equal(pose.score, frames[max(0, i - 3), :, 2])


def chunked(reference: Any, frames: F32, dt_s: F32) -> F32:
    """(T, 17, 3) poses of the PyTorch model in chunks of four frames, from an empty state."""
    torch = pytest.importorskip("torch")

    state, poses = reference.initial_state(1), []
    for start in range(0, len(frames), 4):
        span = slice(start, start + 4)
        with torch.no_grad():
            x, dt = torch.from_numpy(frames[None, span].copy()), torch.from_numpy(dt_s[None, span])
            y, state = reference.chunk(x, state, dt, None)
        poses.append(y[0].numpy())
    return np.concatenate(poses)


def uneven(frames: int) -> tuple[F32, F64]:
    """(T,) seconds between frames, and (T,) times that begin at 10 s; the first dt is the nominal one."""
    dt_s = np.random.default_rng(1).choice([0.01, 0.02, 0.033, 0.1, 0.7], frames).astype(np.float32)
    dt_s[0] = DT_S
    return dt_s, 10 + np.cumsum(dt_s, dtype=np.float64)


@pytest.mark.parametrize("kind", ["lookahead-chunk", "gated-chunk"])
def test_a_stream_of_chunks_equals_pytorch_three_frames_late(
    kind: str, artefact_of: Callable[[str], Path], tiny_lifter: Callable[[str], Any], walker_keypoints: Walk
) -> None:
    stream, frames, (dt_s, t_s) = load(artefact_of(kind), gaps=PATIENT).stream(), walker_keypoints(32), uneven(32)
    expected = chunked(tiny_lifter(kind), frames, dt_s)
    for i in range(32):
        pose = stream.step(frames[i], t=t_s[i])
        posed = max(0, i - 3)
        assert pose.latency_frames == 3 and pose.t_s == pytest.approx(t_s[posed]) and pose.dt_s == pytest.approx(dt_s[posed])
        np.testing.assert_array_equal(pose.score, frames[posed, :, 2])
        if i >= 3:
            same(pose.xyz_m, expected[posed])


def test_before_its_first_chunk_is_complete_a_stream_repeats_the_newest_frame(
    artefact_of: Callable[[str], Path], tiny_lifter: Callable[[str], Any], walker_keypoints: Walk
) -> None:
    stream, frames, (dt_s, t_s) = load(artefact_of("lookahead-chunk"), gaps=PATIENT).stream(), walker_keypoints(4), uneven(4)
    for i in range(4):
        repeated = np.minimum(np.arange(4), i)
        first = chunked(tiny_lifter("lookahead-chunk"), frames[repeated], dt_s[repeated])[0]
        same(stream.step(frames[i], t=t_s[i]).xyz_m, first)


@pytest.mark.parametrize("after", [2, 3, 4, 5, 7, 8])
def test_a_reset_in_the_middle_of_a_chunk_begins_another(
    after: int, artefact_of: Callable[[str], Path], walker_keypoints: Walk
) -> None:
    model = load(artefact_of("lookahead-chunk"))
    reset, late, fresh = model.stream(), model.stream(), model.stream()
    for stream in (reset, late):
        play(stream, walker_keypoints(after, seed=1))
    reset.reset()
    expected = play(fresh, walker_keypoints(10), start=20.0)
    for stream in (reset, late):  # one is reset by a call, the other by the gap policy
        for a, b in zip(play(stream, walker_keypoints(10), start=20.0), expected, strict=True):
            np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
            assert (a.t_s, a.gap) == (b.t_s, b.gap)


def test_a_frame_with_nobody_is_in_no_chunk(artefact_of: Callable[[str], Path], walker_keypoints: Walk) -> None:
    model, frames = load(artefact_of("lookahead-chunk")), walker_keypoints(12)
    stream, twin = twins(model, frames[:5])
    last, _ = (s.step(frames[5], t=5 * DT_S) for s in (stream, twin))
    held = stream.step(np.zeros((17, 3)), t=0.11)
    assert held.gap == "hold" and not held.score.any()
    np.testing.assert_array_equal(held.xyz_m, last.xyz_m)
    for a, b in zip(play(stream, frames[6:], start=0.12), play(twin, frames[6:], start=0.12), strict=True):
        np.testing.assert_array_equal(a.xyz_m, b.xyz_m)


def test_a_chunk_whose_later_pose_is_not_finite_is_refused_while_it_can_be(
    artefact_of: Callable[[str], Path], walker_keypoints: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, frames = load(artefact_of("lookahead-chunk")), walker_keypoints(12)
    stream, twin = twins(model, frames[:7])  # the next frame completes the second chunk
    before = memory_of(stream)
    slots: Any = model._slots
    bound = slots._bound[1]

    def launch_with_nan() -> None:
        bound()
        slots._outputs["pose"][0, 2, 3, 1] = np.nan

    monkeypatch.setitem(slots._bound, 1, launch_with_nan)
    with pytest.raises(FrameError, match="not finite; the state is unchanged"):
        stream.step(frames[7], t=0.14)
    monkeypatch.undo()
    assert memory_of(stream) == before
    for a, b in zip(play(stream, frames[7:], start=0.14), play(twin, frames[7:], start=0.14), strict=True):
        np.testing.assert_array_equal(a.xyz_m, b.xyz_m)


def test_a_causal_model_gives_the_same_poses_in_chunks_as_in_steps(
    artefact_of: Callable[[str], Path], walker_keypoints: Walk
) -> None:
    steps, chunks = (load(artefact_of(kind), gaps=PATIENT).stream() for kind in ("retention", "retention-chunk"))
    frames, (_, t_s) = walker_keypoints(20), uneven(20)
    stepped = [steps.step(frame, t=t).xyz_m for frame, t in zip(frames, t_s, strict=True)]
    late = [chunks.step(frame, t=t).xyz_m for frame, t in zip(frames, t_s, strict=True)]
    for i in range(20):  # also before the first chunk is complete: a causal pose needs no frame after it
        same(late[i], stepped[max(0, i - 3)])


def test_a_model_of_the_middle_frame_is_half_a_window_late(
    artefact_of: Callable[[str], Path], tiny_lifter: Callable[[str], Any], walker_keypoints: Walk
) -> None:
    torch = pytest.importorskip("torch")

    stream, frames, reference = load(artefact_of("centre")).stream(), walker_keypoints(24), tiny_lifter("centre")
    for i, pose in enumerate(play(stream, frames)):
        window = np.stack([frames[max(0, i - 8 + j)] for j in range(9)])
        with torch.no_grad():
            same(pose.xyz_m, reference(torch.from_numpy(window[None]))[0, 0].numpy())
        assert pose.latency_frames == 4 and pose.t_s == pytest.approx(max(0, i - 4) * DT_S)


def test_a_model_of_another_skeleton_gets_keypoints_in_its_own_order(
    artefact_of: Callable[[str], Path], tiny_lifter: Callable[[str], Any], walker_keypoints: Walk
) -> None:
    torch = pytest.importorskip("torch")
    from posemoe_edge.runtime.pose.skeleton import H36M17, MPI3DHP17

    stream, reference = load(artefact_of("3dhp")).stream(), tiny_lifter("3dhp")
    names = {"head_top": "head", "neck": "thorax", "head": "nose", "pelvis": "hip"}
    state, rng = reference.initial_state(1), np.random.default_rng(0)
    for frame in walker_keypoints(10):
        mixed = frame * rng.uniform(0.5, 1, (17, 1)).astype(np.float32)  # every joint another score
        theirs = np.stack([mixed[H36M17.joints.index(names.get(name, name)), :2] for name in MPI3DHP17.joints])
        with torch.no_grad():
            y, state = reference.step(torch.from_numpy(theirs[None]), state, torch.tensor([DT_S]))
        pose = stream.step(mixed)
        np.testing.assert_array_equal(pose.score, mixed[:, 2])
        for joint, name in enumerate(MPI3DHP17.joints):
            same(pose.xyz_m[H36M17.joints.index(names.get(name, name))], y[0, joint].numpy())


def test_a_stream_that_is_dropped_gives_its_slot_back(model: Model, walker_keypoints: Walk) -> None:
    for _ in range(20):
        model.stream().step(walker_keypoints(1)[0])
        gc.collect()
    assert isinstance(model._slots, StepSlots)
    assert model._slots._allocator.capacity <= 2


def test_a_snapshot_beside_a_step_is_of_one_frame(model: Model, walker_keypoints: Walk) -> None:
    """State and history of a snapshot, taken in another thread at any time, belong to the same frame."""
    frames, stream, twin = walker_keypoints(60), model.stream(), model.stream()
    snapshots: list[Snapshot] = []
    done = threading.Event()

    def snap() -> None:
        while not done.wait(0.001):  # not at once: whoever waits for a lock gets no turn from who takes it again at once
            snapshots.append(stream.snapshot())

    thread = threading.Thread(target=snap)
    thread.start()
    play(stream, frames)
    done.set()
    thread.join()
    by_time = {snapshot.history.last_s: snapshot for snapshot in snapshots}
    for i, frame in enumerate(frames):
        twin.step(frame, t=i * DT_S)
        if i * DT_S in by_time:
            expected = twin.snapshot()
            assert all(map(np.array_equal, by_time[i * DT_S].state, expected.state))
    assert len(by_time) > 1


def test_a_stream_cannot_be_pickled_and_says_what_can(model: Model) -> None:
    with pytest.raises(UsageError, match="snapshot"):
        pickle.dumps(model.stream())
