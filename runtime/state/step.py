"""StepSlots: slots of a step graph, which takes one frame and gives one pose, with a state in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..arrays import F32
from ..artefact.manifest import Graph
from ..cuda.array import DeviceArray
from ..engines.base import BoundInference, Engine
from ..engines.buffers import Buffers, Rows
from .allocator import SlotAllocator
from .base import StreamState
from .device_io import DeviceIO

GATHER_BELOW = 2 / 3
"""If a launch has fewer than this share of the rows up to its highest slot, its rows are gathered first. Lifting a row that
nobody needs costs more than copying a state that is needed."""

Zeros = Callable[[tuple[int, ...], str], Rows]


class StepSlots:
    """Recurrent states in two slabs with swapping roles, row by row: a launch reads one slab and writes the other.

    ``_live[slot]`` is the slab that holds a slot's state. It flips when a launch is committed. So a launch that failed has
    changed nothing, and the slot's row in the other slab may be overwritten.

    The slabs are the engine's memory: on a GPU they stay there, and a row that changes slabs is copied there. Frames and
    poses are on the host, unless a frame lies on the GPU: see ``DeviceIO``.

    A launch lifts all rows up to its highest slot, as everybody in a camera is lifted in each frame. On the host, a launch of
    some of many, as a server has, is lifted in rows of its own.
    """

    def __init__(self, engine: Engine, graph: Graph) -> None:
        self._engine, self._graph = engine, graph
        self.device_io = None if engine.device is None else DeviceIO(engine.device, graph)
        self._allocator = SlotAllocator()
        self._inputs: Buffers = {}
        self._outputs: Buffers = {}
        self._slabs: tuple[Buffers, Buffers] = ({}, {})
        self._live: list[int] = []
        self._pose: F32
        self._bound: dict[tuple[int, int, int, bool], BoundInference] = {}
        self._gathered: tuple[Buffers, Buffers] = ({}, {})  # inputs and outputs of launches whose rows are gathered
        self._bound_gathered: dict[int, BoundInference] = {}

    def allocate(self) -> int:
        slot = self._allocator.allocate(self._resize)
        for state in self._graph.states:
            for slab in self._slabs:
                slab[state.input][slot] = 0
        return slot

    def release(self, slot: int) -> None:
        self._allocator.release(slot)

    def put(self, slot: int, keypoints: F32 | DeviceArray, dt_s: float, reset: bool) -> None:
        if self.device_io is not None:
            self.device_io.put(slot, keypoints)
        if not isinstance(keypoints, DeviceArray):
            self._keypoints[slot] = keypoints
        self._dt[slot] = dt_s
        self._reset[slot] = reset

    def launch(self, slots: Sequence[int]) -> F32:
        if self.device_io is None and 1 < len(slots) < GATHER_BELOW * (max(slots) + 1):
            return self._launch_gathered(slots)
        if len(slots) == 1:
            first, last, side = slots[0], slots[0] + 1, self._live[slots[0]]
        else:
            first, last, side = 0, max(slots) + 1, self._live[slots[0]]
            for slot in range(last):
                self._move(slot, side)
        device_io = self.device_io
        if device_io is not None and not device_io.gather(slots, self._keypoints):
            device_io = None  # all frames of this launch are on the host
        bound = self._bound.get((first, last, side, device_io is not None))
        if bound is None:
            bound = self._bind(first, last, side, device_io)
        bound()
        return self._pose if device_io is None else device_io.pose.on_host

    def commit(self, slots: Sequence[int]) -> None:
        for slot in slots:
            self._live[slot] ^= 1

    def state_copy(self, slot: int) -> StreamState:
        return tuple(np.array(self._slabs[self._live[slot]][state.input][slot]) for state in self._graph.states)

    def load_state(self, slot: int, state: StreamState) -> None:
        for tensor, array in zip(self._graph.states, state, strict=True):
            self._slabs[self._live[slot]][tensor.input][slot] = array

    def _launch_gathered(self, slots: Sequence[int]) -> F32:
        """Launch some slots in rows of their own; the states go to the slab where a launch in place would write them."""
        states = {state.input: state.output for state in self._graph.states}
        inputs, outputs = self._gathered
        if not inputs:
            rows = self._allocator.capacity
            for buffers, tensors in ((inputs, self._graph.inputs), (outputs, self._graph.outputs)):
                for t in tensors:
                    zeros = self._engine.zeros if t.name in {*states, *states.values()} else np.zeros
                    buffers[t.name] = zeros((rows, *map(int, t.shape[1:])), t.dtype)
        for row, slot in enumerate(slots):
            for name, buffer in inputs.items():
                source = self._slabs[self._live[slot]] if name in states else self._inputs
                buffer[row] = source[name][slot]
        n = len(slots)
        if n not in self._bound_gathered:
            of_rows = ({name: array[:n] for name, array in buffers.items()} for buffers in self._gathered)
            self._bound_gathered[n] = self._engine.bind(*of_rows)
        self._bound_gathered[n]()
        for row, slot in enumerate(slots):
            for into, out_of in states.items():
                self._slabs[1 - self._live[slot]][into][slot] = outputs[out_of][row]
            for name, array in self._outputs.items():
                array[slot] = outputs[name][row]
        return self._pose

    def _move(self, slot: int, side: int) -> None:
        """Copy a slot's state to that slab, if it is in the other one."""
        if self._live[slot] != side:
            for state in self._graph.states:
                self._slabs[side][state.input][slot] = self._slabs[1 - side][state.input][slot]
            self._live[slot] = side

    def _resize(self, rows: int) -> None:
        """Allocate buffers of that many rows and copy the old content. Bindings are made anew, on demand."""

        def larger(zeros: Zeros, old: Rows | None, shape: tuple[int | str, ...], dtype: str) -> Rows:
            new = zeros((rows, *map(int, shape[1:])), dtype)
            if old is not None:
                new[: len(old)] = old
            return new

        graph = self._graph
        state_names = {name for state in graph.states for name in (state.input, state.output)}
        for buffers, tensors in ((self._inputs, graph.inputs), (self._outputs, graph.outputs)):
            for t in tensors:
                if t.name not in state_names:
                    buffers[t.name] = larger(np.zeros, buffers.get(t.name), t.shape, t.dtype)
        for slab in self._slabs:
            for state in graph.states:
                slab[state.input] = larger(self._engine.zeros, slab.get(state.input), state.shape, state.dtype)
        self._live += [0] * (rows - len(self._live))
        if self.device_io is not None:
            self.device_io.resize(rows)
        self._bound.clear()
        self._gathered = ({}, {})
        self._bound_gathered.clear()
        self._keypoints, self._dt = self._inputs["keypoints"], self._inputs["dt"]
        self._reset, self._pose = self._inputs["reset"], self._outputs["pose"]

    def _bind(self, first: int, last: int, side: int, device_io: DeviceIO | None) -> BoundInference:
        """Bind a launch of the rows ``first`` to ``last`` that reads states from the slab ``side``."""
        rows = slice(first, last)
        inputs = {name: array[rows] for name, array in self._inputs.items()}
        outputs = {name: array[rows] for name, array in self._outputs.items()}
        for state in self._graph.states:
            inputs[state.input] = self._slabs[side][state.input][rows]
            outputs[state.output] = self._slabs[1 - side][state.input][rows]
        if device_io is not None:
            inputs["keypoints"], outputs["pose"] = device_io.keypoints[rows], device_io.pose[rows]
        bound = self._engine.bind(inputs, outputs)
        self._bound[first, last, side, device_io is not None] = bound
        return bound
