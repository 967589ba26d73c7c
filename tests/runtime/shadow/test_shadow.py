"""A shadow finds drift, reports it, acts by its policy, and never slows or changes a run."""

from __future__ import annotations

import os
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from posemoe_edge.runtime import CheckFailedError, FrameError, GapPolicy, Model, Pose, Shadow, Stream, UsageError, load
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.artefact.certificate import Budget
from posemoe_edge.runtime.shadow.drift import DriftHistogram
from posemoe_edge.runtime.state import StreamState

SAME_MM = 0.02  # the worst joint: float32 sums in another order, over a carried state, of random weights
BIN = 0.012  # a percentile is the middle of a bin this much wide to either side
DT_S = 0.02
WIDE = Budget(mean_mm=1, p99_mm=5, max_mm=20, slope_mm_per_1000=0.1)
NONE = Budget(mean_mm=0, p99_mm=0, max_mm=0, slope_mm_per_1000=0)
Walk = Callable[..., F32]


class Spy:
    """A reference that records its calls, and adds an error to the poses of another reference; without one, poses are zero."""

    def __init__(self, reference: Any = None, *, off_m: float = 0.0) -> None:
        self.reference, self.off_m = reference, off_m
        self.calls: list[tuple[int, list[int], bool]] = []  # frames, which of them are resets, whether there was a state
        self.threads: set[tuple[str, int]] = set()  # name and niceness

    def lift(self, keypoints: F32, dt_s: F32, reset: NDArray[np.bool_], state: StreamState | None) -> tuple[F32, StreamState]:
        self.calls.append((len(keypoints), np.flatnonzero(reset).tolist(), state is not None))
        self.threads.add((threading.current_thread().name, os.getpriority(os.PRIO_PROCESS, 0)))
        assert len(keypoints) == len(dt_s) == len(reset)
        if self.reference is None:
            return np.zeros((*keypoints.shape[:2], 3), np.float32), ()
        poses, state = self.reference.lift(keypoints, dt_s, reset, state)
        return poses + np.array([self.off_m, 0, 0], np.float32), state


class Paused(Spy):
    """A reference that waits until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.go = threading.Event(), threading.Event()

    def lift(self, *inputs: Any) -> tuple[F32, StreamState]:
        self.began.set()
        assert self.go.wait(30)
        return super().lift(*inputs)


class Reports:
    """Collects the reported lines, and waits for the next one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._arrived = threading.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._arrived.set()

    def wait(self) -> None:
        """Wait for the next line."""
        assert self._arrived.wait(30)
        self._arrived.clear()


@pytest.fixture
def torch_of(tiny_lifter: Callable[[str], Any]) -> Callable[..., Spy]:
    """torch_of("dssm"): a spy on the PyTorch model of that artefact; off_m=0.01 adds an error of ten mm."""
    pytest.importorskip("torch")
    from posemoe_edge.edge.torch_backend.shadow import TorchReference

    return lambda kind="retention", **options: Spy(TorchReference(tiny_lifter(kind)), **options)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "shadow"] == []


def play(stream: Stream, keypoints: F32, *, start: float = 0.0) -> list[Pose]:
    return [stream.step(frame, t=start + i * DT_S) for i, frame in enumerate(keypoints)]


@pytest.mark.parametrize("mixer", ["retention", "dssm", "3dhp"])
@pytest.mark.parametrize(("share", "span"), [(1.0, 100), (1.0, 7), (0.5, 7)])
def test_the_graph_of_the_same_weights_does_not_drift(
    mixer: str,
    share: float,
    span: int,
    artefact_of: Callable[[str], Path],
    torch_of: Callable[..., Spy],
    walker_keypoints: Walk,
) -> None:
    spy = torch_of(mixer)
    with Shadow(spy, budget=WIDE, share=share, span=span) as shadow:
        stream = load(artefact_of(mixer), shadow=shadow).stream()
        t = 5.0
        for i, frame in enumerate(walker_keypoints(60)):
            t += (0.01, 0.02, 0.033, 0.1, 0.7)[i % 5]
            stream.step(frame, t=t)
    report = shadow.report()
    assert report.drift_mm is not None and report.drift_mm.max < SAME_MM and 0 < report.drift_mm.mean < SAME_MM / 10
    assert report.over_budget == report.dropped_spans == 0 and report.error is None
    assert report.fed_frames == 60 and report.frames == sum(frames for frames, _, _ in spy.calls)
    assert report.frames == 60 if share == 1 else 7 < report.frames < 60


def test_a_reference_with_lookahead_sees_no_more_than_steps_do(
    tiny_lifter: Callable[[str], Any], walker_keypoints: Walk
) -> None:
    torch = pytest.importorskip("torch")
    from posemoe_edge.edge.torch_backend.shadow import TorchReference

    model, frames, dt_s = tiny_lifter("lookahead"), walker_keypoints(12), np.full(12, DT_S, np.float32)
    reset = np.arange(12) == 5
    with torch.no_grad():
        state, expected = model.initial_state(1), []
        for i, frame in enumerate(frames):
            y, state = model.step(
                torch.from_numpy(frame[None].copy()), state, torch.tensor([DT_S]), torch.from_numpy(reset[i : i + 1])
            )
            expected.append(y[0].numpy())
    reference = TorchReference(model)
    first, carried = reference.lift(frames[:7].copy(), dt_s[:7], reset[:7], None)
    second, _ = reference.lift(frames[7:].copy(), dt_s[7:], reset[7:], carried)
    np.testing.assert_allclose(np.concatenate([first, second]), expected, atol=SAME_MM / 1000)


def test_a_shadow_changes_no_pose(retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk) -> None:
    def lifted(model: Model) -> list[Pose]:
        streams, poses = [model.stream() for _ in range(3)], list[Pose]()
        for i in range(50):
            some = {stream: walker_keypoints(50, seed=seed)[i] for seed, stream in enumerate(streams) if (i + seed) % 7}
            poses += model.step_batch(some, t=i * DT_S).values()
        return poses

    reports = Reports()
    with Shadow(torch_of(off_m=1), budget=NONE, share=0.3, span=5, on_report=reports) as shadow:
        beside = lifted(load(retention_artefact, shadow=shadow))
    assert shadow.report().over_budget > 3 and reports.lines
    for a, b in zip(beside, lifted(load(retention_artefact)), strict=True):
        assert a.xyz_m.tobytes() == b.xyz_m.tobytes() and a.to_json() == b.to_json()


def test_drift_is_measured_and_reported(retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk) -> None:
    reports = Reports()
    with Shadow(torch_of(off_m=0.012), budget=WIDE, share=1, span=10, on_report=reports) as shadow:
        stream = load(retention_artefact, shadow=shadow).stream()
        play(stream, walker_keypoints(65))
        stream.close()
    report = shadow.report()
    assert (report.spans, report.frames, report.over_budget, report.resets, report.failed) == (7, 65, 7, 0, False)
    assert report.drift_mm is not None
    assert [report.drift_mm.mean, report.drift_mm.max] == pytest.approx([12, 12], abs=SAME_MM)
    assert [report.drift_mm.p50, report.drift_mm.p99] == pytest.approx([12, 12], rel=BIN)
    assert reports.lines == [  # the first, second and fourth span over the budget
        "stream 0 drifted from the reference, 0.00 to 0.18 s: mean_mm 12 > 1, p99_mm 12 > 5",
        "stream 0 drifted from the reference, 0.20 to 0.38 s: mean_mm 12 > 1, p99_mm 12 > 5 (2 spans by now)",
        "stream 0 drifted from the reference, 0.60 to 0.78 s: mean_mm 12 > 1, p99_mm 12 > 5 (4 spans by now)",
    ]


def test_each_of_mean_p99_and_max_can_exceed_the_budget(
    retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk
) -> None:
    for allowed, over in (({}, "mean_mm"), ({"mean_mm": 20}, "p99_mm"), ({"mean_mm": 20, "p99_mm": 20, "max_mm": 5}, "max_mm")):
        reports = Reports()
        budget = WIDE.model_copy(update=allowed)
        with Shadow(torch_of(off_m=0.012), budget=budget, share=1, on_report=reports) as shadow:
            play(load(retention_artefact, shadow=shadow).stream(), walker_keypoints(5))
        assert f": {over}" in reports.lines[0]


def test_drift_that_is_not_finite_is_over_any_budget(retention_artefact: Path, walker_keypoints: Walk) -> None:
    for bad_value in (np.nan, np.inf):
        spy, reports = Spy(), Reports()
        spy.lift = lambda x, *rest, value=bad_value: (np.full((len(x), 17, 3), value, np.float32), ())  # type: ignore[method-assign]
        vast = Budget(mean_mm=1e30, p99_mm=1e30, max_mm=1e30, slope_mm_per_1000=0)
        with Shadow(spy, budget=vast, share=1, on_report=reports) as shadow:
            play(load(retention_artefact, shadow=shadow).stream(), walker_keypoints(3))
        report = shadow.report()
        assert report.over_budget == 1 and report.drift_mm is not None and report.drift_mm.p50 == np.inf
        assert '"mean":"Infinity"' in report.model_dump_json()  # JSON has no such number


def test_the_policy_reset_resets_a_stream_over_the_budget_once(
    retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk
) -> None:
    reports, frames = Reports(), walker_keypoints(40)
    reference = torch_of(off_m=0.5)
    with Shadow(reference, budget=WIDE, share=1, span=10, policy="reset", on_report=reports) as shadow:
        model = load(retention_artefact, shadow=shadow)
        stream, fresh = model.stream(), load(retention_artefact).stream()
        play(stream, frames[:10])
        reports.wait()
        reference.off_m = 0
        with pytest.raises(FrameError):  # a refused frame does not count as the next one
            stream.step(np.full((17, 3), np.nan), t=0.2)
        held = stream.step(np.zeros((17, 3)), t=0.2)  # nor does one with nobody in it
        assert held.gap == "hold"
        after = play(stream, frames[10:25], start=0.22)
    assert [pose.gap for pose in after] == ["reset"] + 14 * ["none"] and after[0].dt_s == pytest.approx(0.04)
    for a, b in zip(after, play(fresh, frames[10:25], start=0.22), strict=True):
        np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
    report = shadow.report()
    assert (report.resets, report.over_budget, report.spans, report.failed) == (1, 1, 3, False)


def test_drift_from_before_a_reset_does_not_reset_the_stream_again(retention_artefact: Path, walker_keypoints: Walk) -> None:
    spy, reports = Paused(), Reports()
    with Shadow(spy, budget=NONE, share=1, span=5, policy="reset", on_report=reports) as shadow:
        stream = load(retention_artefact, shadow=shadow).stream()
        play(stream, walker_keypoints(5))
        stream.reset()  # meanwhile another person came
        assert [pose.gap for pose in play(stream, walker_keypoints(2))] == ["reset", "none"]
        spy.go.set()
        reports.wait()
        assert stream.step(walker_keypoints(3)[2]).gap == "none"
    assert shadow.report().resets == 0


def test_a_run_past_the_budget_ends_if_that_is_the_policy(
    retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk
) -> None:
    reports = Reports()
    with Shadow(torch_of(off_m=0.5), budget=WIDE, share=0.1, span=5, policy="fail", on_report=reports) as shadow:
        model = load(retention_artefact, shadow=shadow)
        stream, other = model.stream(), model.stream()
        play(stream, walker_keypoints(5))
        reports.wait()
        before = stream.snapshot()
        for stepped_stream in (stream, other, stream):
            with pytest.raises(CheckFailedError, match=r"stream 0 drifted .* 0.00 to 0.08 s: mean_mm 500 > 1, .*within"):
                stepped_stream.step(walker_keypoints(6)[5], t=0.1)
        after = stream.snapshot()
        np.testing.assert_array_equal(before.state[0], after.state[0])
        assert before.history == after.history
    assert shadow.report().failed


def test_steps_do_not_wait_for_a_slow_reference_and_dropped_spans_are_counted(
    retention_artefact: Path, walker_keypoints: Walk
) -> None:
    slow = Paused()
    with Shadow(slow, budget=WIDE, share=1, span=5, waiting=2, on_report=Reports()) as shadow:
        stream = load(retention_artefact, shadow=shadow).stream()
        play(stream, walker_keypoints(5))
        assert slow.began.wait(30)
        assert len(play(stream, walker_keypoints(53)[5:], start=0.1)) == 48  # while the reference waits
        assert shadow.report().spans == 0
        slow.go.set()
    report = shadow.report()
    # One span was being lifted, two waited; seven and the last one, of three frames, were dropped.
    assert (report.spans, report.frames, report.dropped_spans, report.fed_frames) == (3, 15, 8, 53)


def test_after_a_dropped_span_the_next_begins_with_the_streams_own_state(
    retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk
) -> None:
    slow = Paused()
    slow.reference = torch_of()
    with Shadow(slow, budget=WIDE, share=1, span=5, waiting=1) as shadow:
        stream = load(retention_artefact, shadow=shadow).stream()
        play(stream, walker_keypoints(5))
        assert slow.began.wait(30)
        play(stream, walker_keypoints(15)[5:], start=0.1)  # the second waits, the third is dropped
        slow.go.set()
        while len(slow.calls) < 2:
            slow.began.wait(0.01)
        play(stream, walker_keypoints(20)[15:], start=0.3)
    report = shadow.report()
    assert (report.spans, report.dropped_spans) == (3, 1)
    assert report.drift_mm is not None and report.drift_mm.max < SAME_MM


def test_resets_gaps_and_held_frames_within_a_span_reach_the_reference(
    retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk
) -> None:
    spy, nobody = torch_of(), np.zeros((17, 3))
    gaps = GapPolicy(decay_after_s=0.1, reset_after_s=1.0)
    with Shadow(spy, budget=WIDE, share=1) as shadow:
        stream = load(retention_artefact, gaps=gaps, shadow=shadow).stream()
        poses = [
            stream.step(nobody if i in (3, 4) else frame, t=t)
            for i, (frame, t) in enumerate(
                zip(walker_keypoints(9), (0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.5, 0.52, 3.0), strict=True)
            )
        ]
        stream.reset()
        play(stream, walker_keypoints(4, seed=3), start=0.3)
    assert [pose.gap for pose in poses] == ["reset", "none", "none", "hold", "hold", "none", "decay", "none", "reset"]
    report = shadow.report()
    assert spy.calls == [(11, [0, 6, 7], False)] and report.fed_frames == 11
    assert report.drift_mm is not None and report.drift_mm.max < SAME_MM


def test_a_span_ends_where_the_state_is_replaced(
    retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk
) -> None:
    spy = torch_of()
    with Shadow(spy, budget=WIDE, share=1) as shadow:
        model = load(retention_artefact, shadow=shadow)
        stream, other = model.stream(), load(retention_artefact).stream()
        play(other, walker_keypoints(20, seed=2))
        play(stream, walker_keypoints(10))
        stream.restore(other.snapshot())
        play(stream, walker_keypoints(10), start=0.5)  # 0.12 s after the restored one
        stream.close()
        play(model.stream(), walker_keypoints(3))  # in the same slot
    assert [frames for frames, _, _ in spy.calls][:2] == [10, 10] and [had_state for *_, had_state in spy.calls][1]
    report = shadow.report()
    assert report.drift_mm is not None and report.drift_mm.max < SAME_MM and report.frames == 23


def test_a_refused_frame_is_in_no_span(retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk) -> None:
    spy = torch_of()
    with Shadow(spy, budget=WIDE, share=1) as shadow:
        model = load(retention_artefact, shadow=shadow)
        stream, other = model.stream(), model.stream()
        play(stream, walker_keypoints(5))
        with pytest.raises(FrameError):
            model.step_batch({stream: walker_keypoints(6)[5], other: np.full((17, 3), np.nan)}, t=0.1)
        play(stream, walker_keypoints(8)[5:], start=0.12)
    report = shadow.report()
    assert [frames for frames, _, _ in spy.calls] == [8] and report.drift_mm is not None and report.drift_mm.max < SAME_MM


def test_several_people_who_come_and_go_are_each_compared_with_themselves(
    retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk
) -> None:
    with Shadow(torch_of(), budget=WIDE, share=1, span=7) as shadow:
        model = load(retention_artefact, shadow=shadow)
        streams: dict[int, Stream] = {}
        fed = 0
        for i in range(40):
            if i % 3 == 0 and len(streams) < 6:
                streams[i] = model.stream()
            if i % 11 == 10:
                streams.pop(min(streams)).close()
            frames = {stream: walker_keypoints(40, seed=seed)[i] for seed, stream in streams.items() if (seed + i) % 5}
            fed += len(model.step_batch(frames, t=i * DT_S))
    report = shadow.report()
    assert report.fed_frames == report.frames == fed and report.dropped_spans == 0
    assert report.drift_mm is not None and report.drift_mm.max < SAME_MM


def test_a_half_precision_graph_drifts_a_little(
    retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk
) -> None:
    wide = Budget(mean_mm=10, p99_mm=50, max_mm=100, slope_mm_per_1000=100)  # random weights round worse than trained ones
    spy = torch_of()
    with Shadow(spy, budget=wide, share=0.6, span=10) as shadow:
        play(load(retention_artefact, precision="fp16", shadow=shadow).stream(), walker_keypoints(100))
    report = shadow.report()
    assert report.spans > 3 and any(had_state for *_, had_state in spy.calls) and report.over_budget == 0
    assert report.drift_mm is not None and SAME_MM < report.drift_mm.mean < 10
    assert report.drift_mm.p50 <= report.drift_mm.p95 <= report.drift_mm.p99 <= report.drift_mm.max


class NoSlots:
    """Slots that can only copy a state."""

    def state_copy(self, slot: int) -> StreamState:
        return ()


@pytest.mark.parametrize("length", [30, 3000])
@pytest.mark.parametrize("share", [0.1, 0.6, 1.0])
def test_the_share_is_met_over_all_streams_however_short(share: float, length: int) -> None:
    frames, slots, keypoints, pose = 30_000, NoSlots(), np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32)
    spy = Spy()
    with Shadow(spy, budget=WIDE, share=share, span=10, waiting=10**6, seed=4) as shadow:
        for _ in range(frames // length):
            sampler = shadow.stream_sampler()
            for i in range(length):
                sampler.record(slots, 0, keypoints, DT_S, i == 0, t_s=i * DT_S, xyz_m=pose)  # type: ignore[arg-type]
            sampler.interrupt()
    report = shadow.report()
    assert report.fed_frames == frames and max(count for count, _, _ in spy.calls) == 10
    spread = 3 * np.sqrt(10 * share * (1 - share) / frames)  # three standard deviations, in spans of ten
    assert report.frames / frames == pytest.approx(share, abs=max(spread, 1e-12))


def test_the_first_frame_of_all_begins_a_whole_span(retention_artefact: Path, walker_keypoints: Walk) -> None:
    spy = Spy()
    with Shadow(spy, budget=WIDE, share=1e-6, span=20, on_report=Reports()) as shadow:
        model = load(retention_artefact, shadow=shadow)
        model.stream()  # a stream that was never fed does not use it up
        play(model.stream(), walker_keypoints(30))
    assert spy.calls == [(20, [0], False)]


def test_a_run_that_is_shorter_than_a_span_is_compared(
    retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk
) -> None:
    with Shadow(torch_of(), budget=WIDE) as shadow:
        play(load(retention_artefact, shadow=shadow).stream(), walker_keypoints(4))  # and the stream need not be closed
    assert (shadow.report().frames, shadow.report().spans) == (4, 1)


def test_a_report_of_nothing_says_so(retention_artefact: Path) -> None:
    with Shadow(Spy(), budget=WIDE) as shadow:
        load(retention_artefact, shadow=shadow)
        report = shadow.report()
    assert report == shadow.report()
    assert (report.frames, report.fed_frames, report.drift_mm, report.error) == (0, 0, None, None)


class Broken:
    """A reference that raises."""

    def __init__(self) -> None:
        self.calls = 0

    def lift(self, *inputs: Any) -> tuple[F32, StreamState]:
        self.calls += 1
        raise RuntimeError("out of memory")


@pytest.mark.parametrize("policy", ["warn", "reset", "fail"])
def test_a_reference_that_breaks_ends_the_shadow_and_not_the_run(
    policy: Any, retention_artefact: Path, walker_keypoints: Walk
) -> None:
    reports, broken = Reports(), Broken()
    shadow = Shadow(broken, budget=WIDE, share=1, span=5, policy=policy, on_report=reports)
    stream = load(retention_artefact, shadow=shadow).stream()
    play(stream, walker_keypoints(5))
    reports.wait()
    for thread in threading.enumerate():
        if thread.name == "shadow":
            thread.join(30)
            assert not thread.is_alive()  # without being closed
    expected = play(load(retention_artefact).stream(), walker_keypoints(30))[5:]
    for a, b in zip(play(stream, walker_keypoints(30)[5:], start=0.1), expected, strict=True):
        np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
    shadow.close()
    report = shadow.report()
    assert (report.spans, report.fed_frames, report.error) == (0, 5, "RuntimeError: out of memory") and broken.calls == 1
    assert reports.lines == ["the shadow is off, its reference failed: RuntimeError: out of memory"]
    assert report.failed == (policy == "fail")  # the run was not compared to its end


def test_a_reference_whose_poses_have_another_shape_ends_the_shadow(retention_artefact: Path, walker_keypoints: Walk) -> None:
    spy, reports = Spy(), Reports()
    spy.lift = lambda x, *rest: (np.zeros((len(x), 1, 3), np.float32), ())  # type: ignore[method-assign]
    with Shadow(spy, budget=WIDE, on_report=reports) as shadow:
        play(load(retention_artefact, shadow=shadow).stream(), walker_keypoints(4))
    assert shadow.report().error == "ValueError: poses of shape (4, 1, 3) instead of (4, 17, 3)" and len(reports.lines) == 1


def test_a_closed_shadow_is_closed_again_and_streams_go_on(
    retention_artefact: Path, torch_of: Callable[..., Spy], walker_keypoints: Walk
) -> None:
    spy = torch_of()
    shadow = Shadow(spy, budget=WIDE, share=1)
    model = load(retention_artefact, shadow=shadow)
    stream = model.stream()
    play(stream, walker_keypoints(5))
    shadow.close()
    shadow.close()
    report = shadow.report()
    play(stream, walker_keypoints(10)[5:], start=0.1)
    play(model.stream(), walker_keypoints(3))
    assert shadow.report() == report and report.frames == report.fed_frames == 5


def test_the_reference_runs_in_one_thread_of_low_priority(retention_artefact: Path, walker_keypoints: Walk) -> None:
    ours, spy = os.getpriority(os.PRIO_PROCESS, 0), Spy()
    with Shadow(spy, budget=WIDE, share=1, span=2, on_report=Reports()) as shadow:
        model = load(retention_artefact, shadow=shadow)
        for stream in (model.stream(), model.stream()):
            play(stream, walker_keypoints(5))
    assert spy.threads == {("shadow", min(19, ours + 10) if sys.platform == "linux" else ours)}
    assert os.getpriority(os.PRIO_PROCESS, 0) == ours


def test_a_reset_that_is_pending_when_the_shadow_closes_happens_once(retention_artefact: Path, walker_keypoints: Walk) -> None:
    reports = Reports()
    with Shadow(Spy(), budget=NONE, share=1, span=5, policy="reset", on_report=reports) as shadow:
        stream = load(retention_artefact, shadow=shadow).stream()
        play(stream, walker_keypoints(5))
        reports.wait()
    assert [pose.gap for pose in play(stream, walker_keypoints(8)[5:], start=0.1)] == ["reset", "none", "none"]


def test_a_long_run_needs_no_more_memory_than_a_short_one(retention_artefact: Path, walker_keypoints: Walk) -> None:
    def bytes_after(frames: int) -> int:
        tracemalloc.start()
        try:
            reference = Spy()
            with Shadow(reference, budget=NONE, share=0.5, span=10, on_report=lambda line: None) as shadow:
                model = load(retention_artefact, shadow=shadow)
                stream = model.stream()
                for i in range(frames):
                    stream.step(walker_keypoints(200)[i % 200], t=i * DT_S)
                    if i % 50 == 49:  # others come and go
                        with model.stream() as other:
                            play(other, walker_keypoints(200)[:2])
                    reference.calls.clear()
            assert shadow.report().over_budget > frames / 40
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    bytes_after(100)
    assert bytes_after(800) - bytes_after(200) < 2**16, "bytes that grew: the spans in between were three times that"


def test_percentiles_are_those_of_all_drifts() -> None:
    drift_mm = np.random.default_rng(0).lognormal(0, 3, (400, 17))
    drift_mm[0, :5] = 0
    histogram = DriftHistogram()
    for part in np.array_split(drift_mm, 9):
        histogram.add(part)
    percentiles = histogram.percentiles()
    assert percentiles is not None
    assert percentiles.mean == pytest.approx(drift_mm.mean()) and percentiles.max == drift_mm.max()
    for q, value in ((50, percentiles.p50), (95, percentiles.p95), (99, percentiles.p99)):
        bounds = np.percentile(drift_mm, [q - 0.05, q + 0.05])  # samples lie apart too
        assert bounds[0] * (1 - BIN) <= value <= bounds[1] * (1 + BIN)


def test_percentiles_of_nothing_of_zero_and_of_infinity() -> None:
    histogram = DriftHistogram()
    histogram.add(np.zeros((0, 17)))
    assert histogram.percentiles() is None
    histogram.add(np.zeros((3, 17)))
    percentiles = histogram.percentiles()
    assert percentiles is not None and set(percentiles.model_dump().values()) == {0.0}
    histogram.add(np.full((300, 17), np.inf))
    percentiles = histogram.percentiles()
    assert percentiles is not None and set(percentiles.model_dump().values()) == {np.inf}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0}, "a share of 0; expected more than 0"),
        ({"share": 1.1}, "a share of 1.1"),
        ({"share": float("nan")}, "a share of nan"),
        ({"policy": "ignore"}, "policy 'ignore'; expected one of warn, reset, fail"),
        ({"span": 0}, "spans of 0 frames"),
        ({"waiting": 0}, "0 waiting spans"),
    ],
)
def test_invalid_options_of_a_shadow_are_refused(options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Shadow(Spy(), budget=WIDE, **options)


@pytest.mark.parametrize("kind", ["attention", "retention-chunk"])
def test_a_window_or_chunk_model_has_no_shadow(kind: str, artefact_of: Callable[[str], Path]) -> None:
    with (
        Shadow(Spy(), budget=WIDE) as shadow,
        pytest.raises(UsageError, match=r"mode is .*; expected an artefact of mode step"),
    ):
        load(artefact_of(kind), shadow=shadow)
