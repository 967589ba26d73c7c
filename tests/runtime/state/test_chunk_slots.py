"""Slots of chunks: every frame is answered T_s - 1 frames late, whoever else is there. On an engine of a few lines of numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from posemoe_edge.runtime.artefact.manifest import Graph, State, Tensor
from posemoe_edge.runtime.state import ChunkSlots

T = 3
Given = tuple[np.ndarray, float, bool]


def tensor(name: str, *shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=("B", *shape), axes=("stream",) * (1 + len(shape)), meaning="")


STATE = {"dtype": "float32", "shape": ("B", 3), "axes": ("stream", "channel"), "initial": "zeros", "reset": ""}
GRAPH = Graph(
    file="x.onnx",
    mode="chunk",
    precision="fp32",
    opset=20,
    frames=T,
    inputs=(tensor("keypoints", T, 17, 3), tensor("state", 3), tensor("dt", T), tensor("reset", dtype="bool")),
    outputs=(tensor("pose", T, 17, 3), tensor("next_state", 3)),
    states=(State(input="state", output="next_state", **STATE),),
    fp32_nodes="",
)


def lift(x: np.ndarray, state: np.ndarray, dt: np.ndarray, reset: bool) -> tuple[np.ndarray, np.ndarray]:
    """What the engine below does to one row: all frames of the chunk, their times and the state before are in every pose."""
    state = np.zeros_like(state) if reset else state
    after = (state * np.float32(0.5) + x.sum((0, 1)) + dt.sum()).astype(np.float32)
    return (x + after + np.cumsum(dt)[:, None, None]).astype(np.float32), after


class Numpy:
    """An engine whose arithmetic is the same for any number of rows, bit for bit."""

    name, device, metadata, zeros = "numpy", None, {}, staticmethod(np.zeros)

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.bound = 0
        self.broken = False
        self.spoil: tuple[int, float] | None = None

    def bind(self, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> Callable[[], None]:
        self.bound += 1
        assert not any(np.may_share_memory(x, y) for x in inputs.values() for y in outputs.values())

        def launch() -> None:
            self.rows.append(len(inputs["keypoints"]))
            for row in range(self.rows[-1]):
                outputs["pose"][row], outputs["next_state"][row] = lift(
                    inputs["keypoints"][row], inputs["state"][row], inputs["dt"][row], bool(inputs["reset"][row])
                )
            if self.spoil:
                outputs["pose"][:, self.spoil[0], 5, 1] = self.spoil[1]
            if self.broken:
                outputs["pose"][:] = outputs["next_state"][:] = np.nan
                raise RuntimeError("out of memory")

        return launch


@dataclass
class Alone:
    """One stream by the words of the book: all its frames since it began, and every chunk of them lifted anew."""

    frames: list[Given] = field(default_factory=list)

    def then(self, given: Given) -> tuple[np.ndarray, Alone]:
        """The pose that answers a frame, and the stream after it."""
        frames = [given] if given[2] else [*self.frames, given]
        return answer(frames), Alone(frames)


def answer(frames: list[Given]) -> np.ndarray:
    of = max(0, len(frames) - T)
    state = np.zeros(3, np.float32)
    for start in range(0, len(frames), T):
        chunk = frames[start : start + T]
        chunk += [chunk[-1]] * (T - len(chunk))
        x, dt = np.stack([x for x, _, _ in chunk]), np.array([dt for _, dt, _ in chunk], np.float32)
        poses, state = lift(x, state, dt, chunk[0][2])
        if start <= of < start + T:
            return poses[of - start]
    raise AssertionError


def frame(rng: np.random.Generator, reset: bool = False) -> Given:
    return rng.normal(size=(17, 3)).astype(np.float32), float(rng.uniform(0.01, 1)), reset


class Schedule(RuleBasedStateMachine):
    """Streams come and go in any order; each is compared with one that is alone."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Numpy()
        self.slots = ChunkSlots(self.engine, GRAPH)
        self.expected: dict[int, Alone] = {}
        self.saved: list[tuple[Any, Alone]] = []

    @initialize(n=st.integers(1, 3))
    def start(self, n: int) -> None:
        for _ in range(n):
            self.join()

    @precondition(lambda self: len(self.expected) < 9)
    @rule()
    def join(self) -> None:
        slot = self.slots.join()
        assert slot not in self.expected and slot <= len(self.expected)
        self.expected[slot] = Alone()

    @precondition(lambda self: len(self.expected) > 1)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.expected)))
        self.slots.leave(slot)
        del self.expected[slot]

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), fate=st.sampled_from(["commit"] * 6 + ["not", "raise"]), seed=st.integers(0, 999))
    def launch(self, data: st.DataObject, fate: str, seed: int) -> None:
        some = data.draw(st.lists(st.sampled_from(sorted(self.expected)), min_size=1, unique=True))
        rng = np.random.default_rng(seed)
        made = {}
        for slot in some:
            given = frame(rng, bool(rng.random() < 0.1))
            self.slots.put(slot, *given)
            made[slot] = self.expected[slot].then(given)
        launches, self.engine.broken = len(self.engine.rows), fate == "raise"
        try:
            poses = self.slots.launch(some)
        except RuntimeError:
            assert self.engine.broken
            return
        finally:
            self.engine.broken = False
        lifted = [slot for slot, (_, after) in made.items() if len(after.frames) < T or len(after.frames) % T == 0]
        assert self.engine.rows[launches:] == ([len(lifted)] if lifted else []), "one launch, of those whom it concerns"
        for slot, (pose, _) in made.items():
            np.testing.assert_array_equal(poses[slot], pose)
        if fate == "commit":
            self.slots.commit(some)
            self.expected |= {slot: after for slot, (_, after) in made.items()}

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def save(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.expected)))
        self.saved.append((self.slots.copy(slot), self.expected[slot]))

    @precondition(lambda self: self.expected and self.saved)
    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.expected)))
        memory, self.expected[slot] = data.draw(st.sampled_from(self.saved))
        self.slots.paste(slot, memory)


TestSchedule = Schedule.TestCase
TestSchedule.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def feed(slots: ChunkSlots, who: list[int], given: Given) -> np.ndarray:
    for slot in who:
        slots.put(slot, *given)
    poses = slots.launch(who).copy()
    slots.commit(who)
    return poses


def one() -> tuple[ChunkSlots, Numpy]:
    engine = Numpy()
    slots = ChunkSlots(engine, GRAPH)
    assert slots.join() == 0
    return slots, engine


def test_a_chunk_is_lifted_once() -> None:
    slots, engine = one()
    rng = np.random.default_rng(0)
    for i in range(10 * T):
        feed(slots, [0], frame(rng, i == 0))
    assert len(engine.rows) == (T - 1) + 10  # until the first was whole, each frame by itself
    assert engine.bound == 1


def test_a_slot_that_was_left_is_empty_for_whoever_comes_next() -> None:
    slots, _ = one()
    rng = np.random.default_rng(0)
    for i in range(T + 1):
        feed(slots, [0], frame(rng, i == 0))
    slots.leave(0)
    assert slots.join() == 0 and not any(part.any() for part in slots.copy(0))
    given = frame(rng)
    np.testing.assert_array_equal(feed(slots, [0], given)[0], Alone().then(given)[0])


def test_growing_keeps_every_memory() -> None:
    slots, _ = one()
    rng, alone = np.random.default_rng(0), Alone()
    for i in range(6 * T):
        slots.join()  # 2, 4, 8, 16 seats
        given = frame(rng, i == 0)
        pose, alone = alone.then(given)
        np.testing.assert_array_equal(feed(slots, [0], given)[0], pose)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("of_frame", range(T))
def test_a_chunk_with_one_pose_that_is_not_finite_is_not_handed_out_at_all(of_frame: int, value: float) -> None:
    """Its later poses are answers too, when it is too late to refuse it."""
    slots, engine = one()
    rng = np.random.default_rng(0)
    for i in range(T + 2):
        feed(slots, [0], frame(rng, i == 0))
    engine.spoil = (of_frame, value)
    slots.put(0, *frame(rng))
    assert np.isnan(slots.launch([0])[0]).all()


def test_a_copy_is_not_changed_by_what_comes_after() -> None:
    slots, _ = one()
    rng = np.random.default_rng(0)
    for i in range(T + 1):
        feed(slots, [0], frame(rng, i == 0))
    copy = slots.copy(0)
    before = [part.copy() for part in copy]
    for _ in range(2 * T):
        feed(slots, [0], frame(rng))
    for a, b in zip(copy, before, strict=True):
        np.testing.assert_array_equal(a, b)
