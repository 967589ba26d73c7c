"""Slots of a step graph: one frame in, one pose out, a state between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..artefact.manifest import Graph
from ..cuda.array import DeviceArray
from ..engines.base import BoundInference, Buffers, Engine, Rows
from .allocator import SlotAllocator
from .base import Floats, Memory
from .device_io import DeviceIO

Zeros = Callable[[tuple[int, ...], str], Rows]


class StepSlots:
    """Recurrent states in two slabs that swap roles, row by row: a launch reads one and writes the other.

    ``_live[slot]`` tells which slab holds a slot's memory. It flips when a launch is committed, so that a launch that failed
    has changed nothing, and rows of the other slab are free to be overwritten.

    The slabs are the engine's memory: on a GPU they stay there, and a row that changes sides is copied there. Frames and
    poses are the host's, unless a frame comes from the GPU: see ``DeviceIO``.
    """

    def __init__(self, engine: Engine, graph: Graph) -> None:
        self._engine, self._graph = engine, graph
        self.far = None if engine.device is None else DeviceIO(engine.device, graph)
        self._seats = SlotAllocator()
        self._inputs: Buffers = {}
        self._outputs: Buffers = {}
        self._slabs: tuple[Buffers, Buffers] = ({}, {})
        self._live: list[int] = []
        self._pose: Floats
        self._bound: dict[tuple[int, int, int, bool], BoundInference] = {}

    def join(self) -> int:
        slot = self._seats.take(self._allocate)
        for state in self._graph.states:
            for slab in self._slabs:
                slab[state.input][slot] = 0
        return slot

    def leave(self, slot: int) -> None:
        self._seats.give(slot)

    def put(self, slot: int, keypoints: Floats | DeviceArray, dt_s: float, reset: bool) -> None:
        if self.far is not None:
            self.far.put(slot, keypoints)
        if not isinstance(keypoints, DeviceArray):
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
        far = self.far if self.far is not None and self.far.gather(slots, self._keypoints) else None
        bound = self._bound.get((first, last, side, far is not None))
        if bound is None:
            bound = self._bind(first, last, side, far)
        bound()
        return self._pose if far is None else far.pose.near

    def commit(self, slots: Sequence[int]) -> None:
        for slot in slots:
            self._live[slot] ^= 1

    def copy(self, slot: int) -> Memory:
        return tuple(np.array(self._slabs[self._live[slot]][state.input][slot]) for state in self._graph.states)

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

        def larger(zeros: Zeros, old: Rows | None, shape: tuple[int | str, ...], dtype: str) -> Rows:
            new = zeros((rows, *map(int, shape[1:])), dtype)
            if old is not None:
                new[: len(old)] = old
            return new

        graph = self._graph
        carried = {state.input for state in graph.states} | {state.output for state in graph.states}
        for buffers, tensors in ((self._inputs, graph.inputs), (self._outputs, graph.outputs)):
            for t in tensors:
                if t.name not in carried:
                    buffers[t.name] = larger(np.zeros, buffers.get(t.name), t.shape, t.dtype)
        for slab in self._slabs:
            for state in graph.states:
                slab[state.input] = larger(self._engine.zeros, slab.get(state.input), state.shape, state.dtype)
        self._live += [0] * (rows - len(self._live))
        if self.far is not None:
            self.far.allocate(rows)
        self._bound.clear()
        self._keypoints, self._dt = self._inputs["keypoints"], self._inputs["dt"]
        self._reset, self._pose = self._inputs["reset"], self._outputs["pose"]

    def _bind(self, first: int, last: int, side: int, far: DeviceIO | None) -> BoundInference:
        rows = slice(first, last)
        inputs = {name: array[rows] for name, array in self._inputs.items()}
        outputs = {name: array[rows] for name, array in self._outputs.items()}
        for state in self._graph.states:
            inputs[state.input] = self._slabs[side][state.input][rows]
            outputs[state.output] = self._slabs[1 - side][state.input][rows]
        if far is not None:
            inputs["keypoints"], outputs["pose"] = far.keypoints[rows], far.pose[rows]
        launch = self._engine.bind(inputs, outputs)
        self._bound[first, last, side, far is not None] = launch
        return launch
