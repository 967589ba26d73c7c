"""ChunkSlots: slots of a chunk graph, which takes T_s frames, gives their poses, and carries a state to the next chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import F32
from ..artefact.manifest import Graph
from ..engines.base import BoundInference, Engine
from ..engines.buffers import Buffers, Rows
from .allocator import SlotAllocator
from .base import StreamState


@dataclass(eq=False)
class _ChunkState:
    """The state of one slot: the chunk that is being gathered, the state before it, and the poses of the last chunk."""

    states: list[Rows]  # in the engine's memory, from before the chunk that is being gathered
    keypoints: F32  # (T_s, J, channels) of that chunk; the first ``count`` frames are filled
    dt_s: F32  # (T_s,)
    poses: F32  # (T_s, J, 3) of the last complete chunk, valid if ``complete``
    count: int = 0
    reset: bool = False  # the chunk began with a reset
    complete: bool = False  # there was a complete chunk since the last reset

    @property
    def arrays(self) -> tuple[Rows, ...]:
        return (*self.states, self.keypoints, self.dt_s, self.poses)


class ChunkSlots:
    """Gathers frames into chunks, and returns the poses of the last complete chunk, one per frame.

    Frame n returns the pose of frame n - (T_s - 1): the frame that completes a chunk returns the chunk's first pose, and the
    frames after it return the others. Until there is a complete chunk, each frame launches the chunk as it is, with its newest
    frame repeated, and returns the oldest frame's pose; the state of such a launch is discarded. A reset begins a new
    chunk.

    A slot's state changes only at ``commit``. A launch gathers the slots that it lifts in rows of its own: streams that began
    at different times complete their chunks at different times, and lifting a chunk costs more than copying its state.
    """

    device_io: None = None

    def __init__(self, engine: Engine, graph: Graph) -> None:
        self._engine, self._graph = engine, graph
        self._allocator = SlotAllocator()
        self._chunks: dict[int, _ChunkState] = {}
        self._next: dict[int, tuple[F32, float, bool]] = {}  # keypoints, dt_s and reset of the frame that was put
        self._inputs: Buffers = {}
        self._outputs: Buffers = {}
        self._bound: dict[int, BoundInference] = {}
        self._row: dict[int, int] = {}  # slot -> its row in the last launch

    def allocate(self) -> int:
        slot = self._allocator.allocate(self._resize)
        states = [self._engine.zeros([int(axis) for axis in state.shape[1:]], state.dtype) for state in self._graph.states]
        buffers = self._inputs["keypoints"], self._inputs["dt"], self._outputs["pose"]
        self._chunks[slot] = _ChunkState(states, *(np.zeros_like(buffer[0]) for buffer in buffers))
        return slot

    def release(self, slot: int) -> None:
        self._allocator.release(slot)
        del self._chunks[slot]

    def put(self, slot: int, keypoints: F32, dt_s: float, reset: bool) -> None:
        self._next[slot] = (keypoints, dt_s, reset)

    def launch(self, slots: Sequence[int]) -> F32:
        lifted = [slot for slot in slots if self._must_lift(slot)]
        self._row = {slot: row for row, slot in enumerate(lifted)}
        for slot, row in self._row.items():
            self._fill(row, slot)
        if lifted:
            (self._bound.get(len(lifted)) or self._bind(len(lifted)))()
        for slot in slots:
            if slot in self._row:
                poses = self._outputs["pose"][self._row[slot]]
                # The caller checks only the pose that it gets now, so this pose stands for those that come later.
                self._poses[slot] = poses[0] if np.isfinite(poses).all() else np.nan
            else:
                chunk = self._chunks[slot]
                self._poses[slot] = chunk.poses[chunk.count + 1]
        return self._poses

    def commit(self, slots: Sequence[int]) -> None:
        for slot in slots:
            chunk, (keypoints, dt_s, reset) = self._chunks[slot], self._next[slot]
            if reset:
                chunk.count, chunk.complete = 0, False
            if chunk.count == 0:
                chunk.reset = reset
            chunk.keypoints[chunk.count], chunk.dt_s[chunk.count] = keypoints, dt_s
            chunk.count += 1
            if chunk.count == self._graph.frames:
                row = self._row[slot]
                chunk.poses[:] = self._outputs["pose"][row]
                for state, array in zip(self._graph.states, chunk.states, strict=True):
                    array[:] = self._outputs[state.output][row]
                chunk.count, chunk.complete = 0, True

    def state_copy(self, slot: int) -> StreamState:
        chunk = self._chunks[slot]
        return (*(np.array(array) for array in chunk.arrays), np.array([chunk.count, chunk.reset, chunk.complete]))

    def load_state(self, slot: int, state: StreamState) -> None:
        chunk = self._chunks[slot]
        for array, value in zip(chunk.arrays, state[:-1], strict=True):
            array[:] = value
        count, reset, complete = state[-1].tolist()
        chunk.count, chunk.reset, chunk.complete = count, bool(reset), bool(complete)

    def _must_lift(self, slot: int) -> bool:
        """Whether the frame that was put completes a chunk, or no complete chunk before it has a pose for it."""
        chunk, (_, _, reset) = self._chunks[slot], self._next[slot]
        return reset or not chunk.complete or chunk.count == self._graph.frames - 1

    def _fill(self, row: int, slot: int) -> None:
        """Write a slot's chunk into a row of the launch, with the frame that was put repeated up to its end."""
        chunk, (keypoints, dt_s, reset) = self._chunks[slot], self._next[slot]
        at = 0 if reset else chunk.count
        x, dt = self._inputs["keypoints"][row], self._inputs["dt"][row]
        x[:at], dt[:at] = chunk.keypoints[:at], chunk.dt_s[:at]
        x[at:], dt[at:] = keypoints, dt_s
        self._inputs["reset"][row] = chunk.reset if at else reset
        for state, array in zip(self._graph.states, chunk.states, strict=True):
            self._inputs[state.input][row] = array

    def _resize(self, rows: int) -> None:
        """Allocate buffers of that many rows; between two launches they hold nothing. Bindings are made anew, on demand."""
        state_names = {name for state in self._graph.states for name in (state.input, state.output)}
        for buffers, tensors in ((self._inputs, self._graph.inputs), (self._outputs, self._graph.outputs)):
            for t in tensors:
                zeros = self._engine.zeros if t.name in state_names else np.zeros
                buffers[t.name] = zeros((rows, *map(int, t.shape[1:])), t.dtype)
        self._bound.clear()
        self._poses = np.zeros((rows, *self._outputs["pose"].shape[2:]), np.float32)

    def _bind(self, rows: int) -> BoundInference:
        """Bind a launch of the first ``rows`` rows."""
        inputs, outputs = ({name: array[:rows] for name, array in b.items()} for b in (self._inputs, self._outputs))
        self._bound[rows] = bound = self._engine.bind(inputs, outputs)
        return bound
