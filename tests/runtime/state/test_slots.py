"""Slots keep each stream's state apart, whoever comes, goes, is absent or fails; tested on an engine written in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.state import StepSlots, WindowSlots
from posemoe_edge.runtime.state.step import GATHER_BELOW

if TYPE_CHECKING:
    from posemoe_edge.tests.runtime.state.numpy_engine import Arrays, NumpyEngine, graph_record
    from posemoe_edge.tests.runtime.state.slot_schedule import SlotSchedule
else:  # pytest finds both by their folder; the tests are not part of an installed package
    from numpy_engine import Arrays, NumpyEngine, graph_record
    from slot_schedule import SlotSchedule

T = 4
rng = np.random.default_rng(0)


def one_step(keypoints: F32, state: F32, dt: float, reset: bool) -> tuple[F32, F32]:
    """The arithmetic of the engine below for one row."""
    state = np.zeros_like(state) if reset else state
    after = (state * np.exp(np.float32(-dt)) + keypoints.sum(0)).astype(np.float32)
    return keypoints + after, after


def compute_step(inputs: Arrays, outputs: Arrays) -> None:
    for row, x in enumerate(inputs["keypoints"]):
        state, dt, reset = inputs["state"][row], inputs["dt"][row], bool(inputs["reset"][row])
        outputs["pose"][row], outputs["next_state"][row] = one_step(x, state, dt, reset)


def compute_window(inputs: Arrays, outputs: Arrays) -> None:
    sums = np.cumsum(inputs["keypoints"], axis=1)
    outputs["pose"][:] = sums if outputs["pose"].shape[1] == T else sums[:, T // 2 :][:, :1]


def step_slots(engine: NumpyEngine | None = None) -> StepSlots:
    return StepSlots(engine or NumpyEngine(compute_step), graph_record("step", frames=1))


def window_slots(engine: NumpyEngine | None = None, *, poses: int = T, latency: int = 0) -> WindowSlots:
    graph = graph_record("window", frames=T, poses=poses)
    return WindowSlots(engine or NumpyEngine(compute_window), graph, latency_frames=latency)


class Schedule(SlotSchedule):
    """Each state is compared with one that is computed alone."""

    def __init__(self) -> None:
        self.engine = NumpyEngine(compute_step)
        super().__init__(step_slots(self.engine), cleared=np.zeros(3, np.float32))

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), fate=st.sampled_from(["commit", "commit", "commit", "not", "raise"]), seed=st.integers(0, 999))
    def launch(self, data: st.DataObject, fate: str, seed: int) -> None:
        some = data.draw(st.lists(st.sampled_from(sorted(self.expected)), min_size=1, unique=True))
        rng = np.random.default_rng(seed)
        expected = {}
        for slot in some:
            keypoints = rng.normal(size=(17, 3)).astype(np.float32)
            dt, reset = float(rng.uniform(0.01, 1)), bool(rng.random() < 0.2)
            self.slots.put(slot, keypoints, dt, reset)
            expected[slot] = one_step(keypoints, self.expected[slot], dt, reset)
        if fate == "raise":
            self.engine.broken = True
            with pytest.raises(RuntimeError):
                self.slots.launch(some)
            self.engine.broken = False
            return
        poses = self.slots.launch(some)
        in_place = max(some) + 1
        gathered = len(some) < GATHER_BELOW * in_place
        assert self.engine.rows[-1] == (len(some) if len(some) == 1 or gathered else in_place)
        for slot, (pose, _) in expected.items():
            np.testing.assert_array_equal(poses[slot], pose)
        if fate == "commit":
            self.slots.commit(some)
            self.expected |= {slot: after for slot, (_, after) in expected.items()}

    @invariant()
    def each_state_is_its_own(self) -> None:
        for slot, expected in self.expected.items():
            np.testing.assert_array_equal(self.slots.state_copy(slot)[0], expected)


TestSchedule = Schedule.TestCase
TestSchedule.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def feed(slots: StepSlots | WindowSlots, some: list[int], *, reset: bool = False) -> F32:
    """Launch and commit a frame of these slots; (rows, J, 3) poses."""
    for slot in some:
        slots.put(slot, np.full((17, 3), 1 + slot, np.float32), 0.02, reset)
    poses = slots.launch(some).copy()
    slots.commit(some)
    return poses


def test_a_larger_capacity_keeps_every_state() -> None:
    slots = step_slots()
    live: list[int] = []
    for n in range(1, 10):
        live.append(slots.allocate())
        before = [slots.state_copy(slot)[0] for slot in live[:-1]]
        feed(slots, [live[-1]])
        for slot, state in zip(live[:-1], before, strict=True):
            np.testing.assert_array_equal(slots.state_copy(slot)[0], state)
        assert live == list(range(n))


def test_a_released_slot_is_cleared_for_the_next_stream() -> None:
    slots = step_slots()
    slot = slots.allocate()
    for _ in range(3):  # so that both slabs hold something
        feed(slots, [slot])
    slots.release(slot)
    assert slots.allocate() == slot and not slots.state_copy(slot)[0].any()
    again, fresh = feed(slots, [slot]), feed(one_step_slot(), [0])
    np.testing.assert_array_equal(again[slot], fresh[0])


def one_step_slot() -> StepSlots:
    slots = step_slots()
    slots.allocate()
    return slots


def test_a_state_copy_is_not_changed_by_later_frames() -> None:
    slots = one_step_slot()
    feed(slots, [0])
    state = slots.state_copy(0)
    before = state[0].copy()
    feed(slots, [0])
    feed(slots, [0])
    np.testing.assert_array_equal(state[0], before)


def test_bindings_are_made_once() -> None:
    engine = NumpyEngine(compute_step)
    slots = step_slots(engine)
    live = [slots.allocate() for _ in range(4)]
    for _ in range(50):
        feed(slots, live)
        feed(slots, [2])
    assert engine.bound <= 4  # one of all rows and one of row 2, from each slab


@pytest.mark.parametrize("latency", range(T))
def test_a_window_slides_and_starts_with_its_first_frame_repeated(latency: int) -> None:
    slots = window_slots(latency=latency)
    slot = slots.allocate()
    fed: list[F32] = []
    for i in range(3 * T + 1):
        reset = i == 0 or i == 2 * T - 1
        fed = [] if reset else fed
        fed.append(rng.normal(size=(17, 3)).astype(np.float32))
        slots.put(slot, fed[-1], 0.02, reset)
        window = np.stack(([fed[0]] * T + fed)[-T:])
        np.testing.assert_array_equal(slots.launch([slot])[slot], np.cumsum(window, axis=0)[-1 - latency])
        slots.commit([slot])


@pytest.mark.parametrize("latency", [0, 1, T // 2])
def test_a_graph_that_gives_one_pose_of_a_window_returns_that_one(latency: int) -> None:
    slots = window_slots(poses=1, latency=latency)
    slot, fed = slots.allocate(), list[F32]()
    for i in range(2 * T):
        fed.append(rng.normal(size=(17, 3)).astype(np.float32))
        slots.put(slot, fed[-1], 0.02, i == 0)
        window = np.stack(([fed[0]] * T + fed)[-T:])
        np.testing.assert_array_equal(slots.launch([slot])[slot], np.cumsum(window, axis=0)[T // 2])
        slots.commit([slot])


def test_a_window_that_was_not_committed_leaves_no_trace() -> None:
    slots, twin = (window_slots() for _ in range(2))
    for allocator in (slots, twin):
        allocator.allocate()
    for i in range(2 * T):
        slots.put(0, np.full((17, 3), 99, np.float32), 0.02, i == 3)
        slots.launch([0])  # and no commit
        x = rng.normal(size=(17, 3)).astype(np.float32)
        poses = []
        for allocator in (slots, twin):
            allocator.put(0, x, 0.02, i == 0)
            poses.append(allocator.launch([0])[0].copy())
            allocator.commit([0])
        np.testing.assert_array_equal(*poses)


def test_windows_of_several_streams_are_lifted_in_one_launch_and_kept_apart() -> None:
    engine = NumpyEngine(compute_window)
    slots, alone = window_slots(engine), window_slots()
    live, live_alone = [slots.allocate() for _ in range(3)], [alone.allocate() for _ in range(3)]
    for i in range(10):
        some = [live[j] for j in range(3) if (i + j) % 3]
        together = feed(slots, some, reset=i < 2)
        assert engine.rows[-1] == len(some)
        for slot in some:
            np.testing.assert_array_equal(together[slot], feed(alone, [live_alone[slot]], reset=i < 2)[slot])
