"""Slots of a chunk graph: T_s frames in, their poses out, a state between one chunk and the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..artefact.manifest import Graph
from ..engines.base import BoundInference, Buffers, Engine, Rows
from .allocator import SlotAllocator
from .base import Floats, Memory


@dataclass(eq=False)
class _Kept:
    """What one slot remembers."""

    states: list[Rows]  # in the engine's memory, from before the chunk that is being gathered
    keypoints: Floats  # (T_s, J, channels) of that chunk; the first ``count`` are there
    dt_s: Floats  # (T_s,)
    poses: Floats  # (T_s, J, 3) of the last whole chunk, if there is one
    count: int = 0
    reset: bool = False  # the chunk began with one
    whole: bool = False  # there was a whole chunk since the last reset

    @property
    def arrays(self) -> tuple[Rows, ...]:
        return (*self.states, self.keypoints, self.dt_s, self.poses)


class ChunkSlots:
    """Frames gathered into chunks, and the poses of the last whole one handed out, one per frame.

    Frame n is answered with the pose of frame n - (T_s - 1): the frame that makes a chunk whole with its first pose, the
    frames after it with the others. Until there was a whole chunk, each frame launches what there is, the newest repeated,
    and is answered with the oldest frame's pose; of such a launch no state is kept. A reset begins a new chunk.

    What a slot remembers changes at commit alone. Those that launch together are gathered in rows of their own: streams that
    began at different times complete their chunks at different times, and a chunk is dearer than a copy of its state.
    """

    far: None = None

    def __init__(self, engine: Engine, graph: Graph) -> None:
        self._engine, self._graph = engine, graph
        self._seats = SlotAllocator()
        self._kept: dict[int, _Kept] = {}
        self._next: dict[int, tuple[Floats, float, bool]] = {}
        self._inputs: Buffers = {}
        self._outputs: Buffers = {}
        self._bound: dict[int, BoundInference] = {}
        self._row: dict[int, int] = {}  # where the last launch had whom

    def join(self) -> int:
        slot = self._seats.take(self._allocate)
        states = [self._engine.zeros([int(axis) for axis in state.shape[1:]], state.dtype) for state in self._graph.states]
        buffers = self._inputs["keypoints"], self._inputs["dt"], self._outputs["pose"]
        self._kept[slot] = _Kept(states, *(np.zeros_like(buffer[0]) for buffer in buffers))
        return slot

    def leave(self, slot: int) -> None:
        self._seats.give(slot)
        del self._kept[slot]

    def put(self, slot: int, keypoints: Floats, dt_s: float, reset: bool) -> None:
        self._next[slot] = (keypoints, dt_s, reset)

    def launch(self, slots: Sequence[int]) -> Floats:
        lifted = [slot for slot in slots if self._is_lifted(slot)]
        self._row = {slot: row for row, slot in enumerate(lifted)}
        for slot, row in self._row.items():
            self._fill(row, slot)
        if lifted:
            (self._bound.get(len(lifted)) or self._bind(len(lifted)))()
        for slot in slots:
            if slot in self._row:
                chunk = self._outputs["pose"][self._row[slot]]
                # Whoever launches judges by the pose that is handed out now: it may be no better than those to come.
                self._poses[slot] = chunk[0] if np.isfinite(chunk).all() else np.nan
            else:
                kept = self._kept[slot]
                self._poses[slot] = kept.poses[kept.count + 1]
        return self._poses

    def commit(self, slots: Sequence[int]) -> None:
        for slot in slots:
            kept, (keypoints, dt_s, reset) = self._kept[slot], self._next[slot]
            if reset:
                kept.count, kept.whole = 0, False
            if kept.count == 0:
                kept.reset = reset
            kept.keypoints[kept.count], kept.dt_s[kept.count] = keypoints, dt_s
            kept.count += 1
            if kept.count == self._graph.frames:
                row = self._row[slot]
                kept.poses[:] = self._outputs["pose"][row]
                for state, array in zip(self._graph.states, kept.states, strict=True):
                    array[:] = self._outputs[state.output][row]
                kept.count, kept.whole = 0, True

    def copy(self, slot: int) -> Memory:
        kept = self._kept[slot]
        return (*(np.array(array) for array in kept.arrays), np.array([kept.count, kept.reset, kept.whole]))

    def paste(self, slot: int, memory: Memory) -> None:
        kept = self._kept[slot]
        for array, value in zip(kept.arrays, memory[:-1], strict=True):
            array[:] = value
        count, reset, whole = memory[-1].tolist()
        kept.count, kept.reset, kept.whole = count, bool(reset), bool(whole)

    def _is_lifted(self, slot: int) -> bool:
        """Whether the frame that was put makes a chunk whole, or has no whole chunk before it to be answered from."""
        kept, (_, _, reset) = self._kept[slot], self._next[slot]
        return reset or not kept.whole or kept.count == self._graph.frames - 1

    def _fill(self, row: int, slot: int) -> None:
        """The chunk as it is with the frame that was put; if it is not whole yet, with that frame again and again."""
        kept, (keypoints, dt_s, reset) = self._kept[slot], self._next[slot]
        at = 0 if reset else kept.count
        x, dt = self._inputs["keypoints"][row], self._inputs["dt"][row]
        x[:at], dt[:at] = kept.keypoints[:at], kept.dt_s[:at]
        x[at:], dt[at:] = keypoints, dt_s
        self._inputs["reset"][row] = kept.reset if at else reset
        for state, array in zip(self._graph.states, kept.states, strict=True):
            self._inputs[state.input][row] = array

    def _allocate(self, rows: int) -> None:
        """Buffers of that many rows. Bindings are made anew, on demand; between two launches the old ones hold nothing."""
        carried = {name for state in self._graph.states for name in (state.input, state.output)}
        for buffers, tensors in ((self._inputs, self._graph.inputs), (self._outputs, self._graph.outputs)):
            for t in tensors:
                zeros = self._engine.zeros if t.name in carried else np.zeros
                buffers[t.name] = zeros((rows, *map(int, t.shape[1:])), t.dtype)
        self._bound.clear()
        self._poses = np.zeros((rows, *self._outputs["pose"].shape[2:]), np.float32)

    def _bind(self, rows: int) -> BoundInference:
        """A launch over the first so many rows."""
        inputs, outputs = ({name: array[:rows] for name, array in b.items()} for b in (self._inputs, self._outputs))
        self._bound[rows] = launch = self._engine.bind(inputs, outputs)
        return launch
