"""Slots: the memory of all live streams, in buffers that are allocated once and bound once.

A stream owns one slot. Slots are handed out from the lowest, so that the live ones lie close together and one launch over
the first n rows serves them all; whoever is absent from a launch keeps its memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .engines.engine import Buffers, Engine, Launch
from .manifest import Graph

Floats = NDArray[np.float32]
Memory = tuple[NDArray[Any], ...]
"""A copy of one slot's memory, for snapshots."""


class Slots(Protocol):
    """Where streams live."""

    def join(self) -> int:
        """A free slot, cleared."""
        ...

    def leave(self, slot: int) -> None: ...

    def put(self, slot: int, keypoints: Floats, dt_s: float, reset: bool) -> None:
        """The next frame of a slot: (J, channels). It is only fed by a launch."""
        ...

    def launch(self, slots: Sequence[int]) -> Floats:
        """Feed what was put; (rows, J, 3) poses, indexed by slot. Valid until the next launch."""
        ...

    def commit(self, slots: Sequence[int]) -> None:
        """Keep what the last launch made of these slots' memories; without it they stay as they were."""
        ...

    def copy(self, slot: int) -> Memory: ...

    def paste(self, slot: int, memory: Memory) -> None: ...


class _Seats:
    """Who sits where."""

    def __init__(self) -> None:
        self.capacity = 0
        self._free: list[int] = []

    def take(self) -> int | None:
        self._free.sort(reverse=True)
        return self._free.pop() if self._free else None

    def give(self, slot: int) -> None:
        self._free.append(slot)

    def grow(self) -> int:
        """Twice the seats."""
        more = max(1, self.capacity)
        self._free += range(self.capacity, self.capacity + more)
        self.capacity += more
        return self.capacity


class StepSlots:
    """Recurrent states in two slabs that swap roles, row by row: a launch reads one and writes the other.

    ``_live[slot]`` tells which slab holds a slot's memory. It flips when a launch is committed, so that a launch that failed
    has changed nothing, and rows of the other slab are free to be overwritten.
    """

    def __init__(self, engine: Engine, graph: Graph) -> None:
        self._engine, self._graph = engine, graph
        self._seats = _Seats()
        self._inputs: Buffers = {}
        self._outputs: Buffers = {}
        self._slabs: tuple[Buffers, Buffers] = ({}, {})
        self._live: list[int] = []
        self._bound: dict[tuple[int, int, int], Launch] = {}

    def join(self) -> int:
        slot = self._seats.take()
        if slot is None:
            self._allocate(self._seats.grow())
            slot = self._seats.take()
        assert slot is not None
        for state in self._graph.states:
            for slab in self._slabs:
                slab[state.input][slot] = 0
        return slot

    def leave(self, slot: int) -> None:
        self._seats.give(slot)

    def put(self, slot: int, keypoints: Floats, dt_s: float, reset: bool) -> None:
        self._keypoints[slot] = keypoints
        self._dt[slot] = dt_s
        self._reset[slot] = reset

    def launch(self, slots: Sequence[int]) -> Floats:
        if len(slots) == 1:
            first, last, side = slots[0], slots[0] + 1, self._live[slots[0]]
        else:
            first, last, side = 0, max(slots) + 1, self._live[slots[0]]
            for slot in range(last):
                self._move(slot, side)
        bound = self._bound.get((first, last, side))
        if bound is None:
            bound = self._bind(first, last, side)
        bound()
        return self._pose

    def commit(self, slots: Sequence[int]) -> None:
        for slot in slots:
            self._live[slot] ^= 1

    def copy(self, slot: int) -> Memory:
        return tuple(self._slabs[self._live[slot]][state.input][slot].copy() for state in self._graph.states)

    def paste(self, slot: int, memory: Memory) -> None:
        for state, array in zip(self._graph.states, memory, strict=True):
            self._slabs[self._live[slot]][state.input][slot] = array

    def _move(self, slot: int, side: int) -> None:
        """Bring a slot's memory to that slab."""
        if self._live[slot] != side:
            for state in self._graph.states:
                self._slabs[side][state.input][slot] = self._slabs[1 - side][state.input][slot]
            self._live[slot] = side

    def _allocate(self, rows: int) -> None:
        """Buffers of that many rows, with what the old ones held. Bindings are made anew, on demand."""

        def larger(old: NDArray[Any] | None, shape: tuple[int | str, ...], dtype: str) -> NDArray[Any]:
            new = np.zeros((rows, *map(int, shape[1:])), dtype)
            if old is not None:
                new[: len(old)] = old
            return new

        graph = self._graph
        carried = {state.input for state in graph.states} | {state.output for state in graph.states}
        for buffers, tensors in ((self._inputs, graph.inputs), (self._outputs, graph.outputs)):
            for t in tensors:
                if t.name not in carried:
                    buffers[t.name] = larger(buffers.get(t.name), t.shape, t.dtype)
        for slab in self._slabs:
            for state in graph.states:
                slab[state.input] = larger(slab.get(state.input), state.shape, state.dtype)
        self._live += [0] * (rows - len(self._live))
        self._bound.clear()
        self._keypoints, self._dt = self._inputs["keypoints"], self._inputs["dt"]
        self._reset, self._pose = self._inputs["reset"], self._outputs["pose"]

    def _bind(self, first: int, last: int, side: int) -> Launch:
        rows = slice(first, last)
        inputs = {name: array[rows] for name, array in self._inputs.items()}
        outputs = {name: array[rows] for name, array in self._outputs.items()}
        for state in self._graph.states:
            inputs[state.input] = self._slabs[side][state.input][rows]
            outputs[state.output] = self._slabs[1 - side][state.input][rows]
        launch = self._engine.bind(inputs, outputs)
        self._bound[first, last, side] = launch
        return launch


class WindowSlots:
    """Rings of the last T frames of keypoints, for a model without a memory: each launch lifts whole windows.

    Until a window is full its oldest frame is repeated. A ring is written twice, T apart, so that a window is always one
    run of memory.
    """

    def __init__(self, engine: Engine, graph: Graph, *, latency_frames: int = 0) -> None:
        self._engine, self._graph = engine, graph
        self._latency = latency_frames
        self._seats = _Seats()
        self._rings: list[Floats] = []  # (2 T, J, channels) each
        self._at: list[int] = []  # where the next frame goes; -1 for an empty ring
        self._next: list[tuple[Floats, bool] | None] = []
        self._bound: dict[int, tuple[Floats, Floats, Launch]] = {}
        self._poses = np.zeros((0, *map(int, graph.outputs[0].shape[2:])), np.float32)

    def join(self) -> int:
        slot = self._seats.take()
        if slot is None:
            rows = self._seats.grow()
            shape = self._graph.inputs[0].shape
            for _ in range(rows - len(self._rings)):
                self._rings.append(np.zeros((2 * self._graph.frames, *map(int, shape[2:])), np.float32))
                self._at.append(-1)
                self._next.append(None)
            self._poses = np.zeros((rows, *self._poses.shape[1:]), np.float32)
            slot = self._seats.take()
        assert slot is not None
        self._at[slot] = -1
        return slot

    def leave(self, slot: int) -> None:
        self._seats.give(slot)

    def put(self, slot: int, keypoints: Floats, dt_s: float, reset: bool) -> None:
        self._next[slot] = (keypoints, reset)

    def launch(self, slots: Sequence[int]) -> Floats:
        x, y, bound = self._bound.get(len(slots)) or self._bind(len(slots))
        for row, slot in enumerate(slots):
            put = self._next[slot]
            assert put is not None, "launch without put"
            keypoints, reset = put
            if reset or self._at[slot] < 0:
                x[row] = keypoints
            else:
                x[row, :-1] = self._window(slot)[1:]
                x[row, -1] = keypoints
        bound()
        for row, slot in enumerate(slots):
            self._poses[slot] = y[row, -1 - self._latency]
        return self._poses

    def commit(self, slots: Sequence[int]) -> None:
        frames = self._graph.frames
        for slot in slots:
            put = self._next[slot]
            assert put is not None
            keypoints, reset = put
            ring = self._rings[slot]
            if reset or self._at[slot] < 0:
                ring[:] = keypoints
                self._at[slot] = 0
            at = self._at[slot]
            ring[at] = ring[at + frames] = keypoints
            self._at[slot] = (at + 1) % frames

    def copy(self, slot: int) -> Memory:
        return self._rings[slot].copy(), np.array(self._at[slot])

    def paste(self, slot: int, memory: Memory) -> None:
        self._rings[slot][:] = memory[0]
        self._at[slot] = int(memory[1])

    def _window(self, slot: int) -> Floats:
        """(T, J, channels), oldest first."""
        at = self._at[slot]
        return self._rings[slot][at : at + self._graph.frames]

    def _bind(self, rows: int) -> tuple[Floats, Floats, Launch]:
        tensor_in, tensor_out = self._graph.inputs[0], self._graph.outputs[0]
        x = np.zeros((rows, *map(int, tensor_in.shape[1:])), np.float32)
        y = np.zeros((rows, *map(int, tensor_out.shape[1:])), np.float32)
        bound = (x, y, self._engine.bind({tensor_in.name: x}, {tensor_out.name: y}))
        self._bound[rows] = bound
        return bound
