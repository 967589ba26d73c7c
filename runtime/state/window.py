"""Slots of a window graph: the last T frames in, no state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..artefact.manifest import Graph
from ..engines.base import BoundInference, Engine
from .allocator import SlotAllocator
from .base import Floats, Memory


class WindowSlots:
    """Rings of the last T frames of keypoints, for a model without a memory: each launch lifts whole windows.

    Until a window is full its oldest frame is repeated. A ring is written twice, T apart, so that a window is always one
    run of memory.

    Args:
        latency_frames: how far behind the newest frame the pose lies that is taken of a window's T poses. A graph that
            answers with one pose alone leaves no choice.
    """

    far: None = None

    def __init__(self, engine: Engine, graph: Graph, *, latency_frames: int = 0) -> None:
        self._engine, self._graph = engine, graph
        self._of_frame = -1 if graph.outputs[0].shape[1] == 1 else -1 - latency_frames
        self._seats = SlotAllocator()
        self._rings: list[Floats] = []  # (2 T, J, channels) each
        self._at: list[int] = []  # where the next frame goes; -1 for an empty ring
        self._next: list[tuple[Floats, bool] | None] = []
        self._bound: dict[int, tuple[Floats, Floats, BoundInference]] = {}
        self._poses = np.zeros((0, *map(int, graph.outputs[0].shape[2:])), np.float32)

    def join(self) -> int:
        slot = self._seats.take(self._allocate)
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
            self._poses[slot] = y[row, self._of_frame]
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

    def _allocate(self, rows: int) -> None:
        """Rings for that many."""
        shape = self._graph.inputs[0].shape
        for _ in range(rows - len(self._rings)):
            self._rings.append(np.zeros((2 * self._graph.frames, *map(int, shape[2:])), np.float32))
            self._at.append(-1)
            self._next.append(None)
        self._poses = np.zeros((rows, *self._poses.shape[1:]), np.float32)

    def _window(self, slot: int) -> Floats:
        """(T, J, channels), oldest first."""
        at = self._at[slot]
        return self._rings[slot][at : at + self._graph.frames]

    def _bind(self, rows: int) -> tuple[Floats, Floats, BoundInference]:
        tensor_in, tensor_out = self._graph.inputs[0], self._graph.outputs[0]
        x = np.zeros((rows, *map(int, tensor_in.shape[1:])), np.float32)
        y = np.zeros((rows, *map(int, tensor_out.shape[1:])), np.float32)
        bound = (x, y, self._engine.bind({tensor_in.name: x}, {tensor_out.name: y}))
        self._bound[rows] = bound
        return bound
