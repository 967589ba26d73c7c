"""Chunk slots answer every frame T_s - 1 frames late, whatever other streams do; tested on an engine written in numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.state import ChunkSlots

if TYPE_CHECKING:
    from posemoe_edge.tests.runtime.state.numpy_engine import Arrays, NumpyEngine, graph_record
    from posemoe_edge.tests.runtime.state.slot_schedule import SlotSchedule
else:  # pytest finds both by their folder; the tests are not part of an installed package
    from numpy_engine import Arrays, NumpyEngine, graph_record
    from slot_schedule import SlotSchedule

T = 3
Frame = tuple[F32, float, bool]  # keypoints, dt in seconds, reset


GRAPH = graph_record("chunk", frames=T)


def lift(x: F32, state: F32, dt: F32, reset: bool) -> tuple[F32, F32]:
    """The arithmetic of the engine below for one row: every pose depends on all frames, their times and the state before."""
    state = np.zeros_like(state) if reset else state
    after = (state * np.float32(0.5) + x.sum((0, 1)) + dt.sum()).astype(np.float32)
    return (x + after + np.cumsum(dt)[:, None, None]).astype(np.float32), after


class ChunkEngine(NumpyEngine):
    """An engine of chunks; ``spoil`` overwrites one pose of every chunk."""

    def __init__(self) -> None:
        super().__init__(self._lift_chunks)
        self.spoil: tuple[int, float] | None = None

    def _lift_chunks(self, inputs: Arrays, outputs: Arrays) -> None:
        for row, x in enumerate(inputs["keypoints"]):
            state, dt, reset = inputs["state"][row], inputs["dt"][row], bool(inputs["reset"][row])
            outputs["pose"][row], outputs["next_state"][row] = lift(x, state, dt, reset)
        if self.spoil:
            outputs["pose"][:, self.spoil[0], 5, 1] = self.spoil[1]


@dataclass
class Alone:
    """The reference for one stream: it keeps all frames since the reset, and lifts every chunk of them anew."""

    frames: list[Frame] = field(default_factory=list)

    def then(self, frame: Frame) -> tuple[F32, Alone]:
        """The pose that answers a frame, and the stream after it."""
        frames = [frame] if frame[2] else [*self.frames, frame]
        return answer(frames), Alone(frames)


def answer(frames: list[Frame]) -> F32:
    """The pose of the frame T - 1 before the last."""
    index = max(0, len(frames) - T)
    state = np.zeros(3, np.float32)
    for start in range(0, len(frames), T):
        chunk = frames[start : start + T]
        chunk += [chunk[-1]] * (T - len(chunk))
        x, dt = np.stack([x for x, _, _ in chunk]), np.array([dt for _, dt, _ in chunk], np.float32)
        poses, state = lift(x, state, dt, chunk[0][2])
        if start <= index < start + T:
            return np.asarray(poses[index - start])
    raise AssertionError


def frame(rng: np.random.Generator, reset: bool = False) -> Frame:
    return rng.normal(size=(17, 3)).astype(np.float32), float(rng.uniform(0.01, 1)), reset


class Schedule(SlotSchedule):
    """Each stream is compared with one that is lifted alone."""

    def __init__(self) -> None:
        self.engine = ChunkEngine()
        super().__init__(ChunkSlots(self.engine, GRAPH), cleared=Alone())

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), fate=st.sampled_from(["commit"] * 6 + ["not", "raise"]), seed=st.integers(0, 999))
    def launch(self, data: st.DataObject, fate: str, seed: int) -> None:
        some = data.draw(st.lists(st.sampled_from(sorted(self.expected)), min_size=1, unique=True))
        rng = np.random.default_rng(seed)
        after_launch = {}
        for slot in some:
            next_frame = frame(rng, bool(rng.random() < 0.1))
            self.slots.put(slot, *next_frame)
            after_launch[slot] = self.expected[slot].then(next_frame)
        launches, self.engine.broken = len(self.engine.rows), fate == "raise"
        try:
            poses = self.slots.launch(some)
        except RuntimeError:
            assert self.engine.broken
            return
        finally:
            self.engine.broken = False
        lifted = [slot for slot, (_, after) in after_launch.items() if len(after.frames) < T or len(after.frames) % T == 0]
        assert self.engine.rows[launches:] == ([len(lifted)] if lifted else []), "one launch, of the slots that need it"
        for slot, (pose, _) in after_launch.items():
            np.testing.assert_array_equal(poses[slot], pose)
        if fate == "commit":
            self.slots.commit(some)
            self.expected |= {slot: after for slot, (_, after) in after_launch.items()}


TestSchedule = Schedule.TestCase
TestSchedule.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def feed(slots: ChunkSlots, some: list[int], next_frame: Frame) -> F32:
    """Launch and commit a frame of these slots; (rows, J, 3) poses."""
    for slot in some:
        slots.put(slot, *next_frame)
    poses = slots.launch(some).copy()
    slots.commit(some)
    return poses


def one_slot() -> tuple[ChunkSlots, ChunkEngine]:
    engine = ChunkEngine()
    slots = ChunkSlots(engine, GRAPH)
    assert slots.allocate() == 0
    return slots, engine


def test_a_chunk_is_lifted_once() -> None:
    slots, engine = one_slot()
    rng = np.random.default_rng(0)
    for i in range(10 * T):
        feed(slots, [0], frame(rng, i == 0))
    assert len(engine.rows) == (T - 1) + 10  # until the first chunk is complete, each frame is a launch
    assert engine.bound == 1


def test_a_released_slot_is_cleared_for_the_next_stream() -> None:
    slots, _ = one_slot()
    rng = np.random.default_rng(0)
    for i in range(T + 1):
        feed(slots, [0], frame(rng, i == 0))
    slots.release(0)
    assert slots.allocate() == 0 and not any(part.any() for part in slots.state_copy(0))
    first = frame(rng)
    np.testing.assert_array_equal(feed(slots, [0], first)[0], Alone().then(first)[0])


def test_a_larger_capacity_keeps_every_state() -> None:
    slots, _ = one_slot()
    rng, alone = np.random.default_rng(0), Alone()
    for i in range(6 * T):
        slots.allocate()  # a capacity of 2, 4, 8, 16
        next_frame = frame(rng, i == 0)
        pose, alone = alone.then(next_frame)
        np.testing.assert_array_equal(feed(slots, [0], next_frame)[0], pose)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("index", range(T))
def test_a_chunk_with_one_pose_that_is_not_finite_is_refused_as_a_whole(index: int, value: float) -> None:
    """Its later poses are returned by later steps, which could not refuse the chunk any more."""
    slots, engine = one_slot()
    rng = np.random.default_rng(0)
    for i in range(T + 2):
        feed(slots, [0], frame(rng, i == 0))
    engine.spoil = (index, value)
    slots.put(0, *frame(rng))
    assert np.isnan(slots.launch([0])[0]).all()


def test_a_state_copy_is_not_changed_by_later_frames() -> None:
    slots, _ = one_slot()
    rng = np.random.default_rng(0)
    for i in range(T + 1):
        feed(slots, [0], frame(rng, i == 0))
    state = slots.state_copy(0)
    before = [part.copy() for part in state]
    for _ in range(2 * T):
        feed(slots, [0], frame(rng))
    for a, b in zip(state, before, strict=True):
        np.testing.assert_array_equal(a, b)
