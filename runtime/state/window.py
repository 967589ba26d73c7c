"""WindowSlots: slots of a window graph, which takes the last T frames and has no state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import F32
from ..artefact.manifest import Graph
from ..engines.base import BoundInference, Engine
from .allocator import SlotAllocator
from .base import StreamState


class WindowSlots:
    """A ring of the last T frames of keypoints for each slot; a launch lifts a whole window of each.

    Until a window is full, its oldest frame is repeated. Every frame is written into its ring twice, T apart, so that a window
    is always contiguous memory.

    Args:
        latency_frames: which of a window's T poses is returned, counted back from the newest frame. A graph that gives a
            single pose leaves no choice.
    """

    device_io: None = None

    def __init__(self, engine: Engine, graph: Graph, *, latency_frames: int = 0) -> None:
        self._engine, self._graph = engine, graph
        self._pose_index = -1 if graph.outputs[0].shape[1] == 1 else -1 - latency_frames
        self._allocator = SlotAllocator()
        self._rings: list[F32] = []  # (2 T, J, channels) each
        self._at: list[int] = []  # where the next frame goes; -1 for an empty ring
        self._next: list[tuple[F32, bool] | None] = []  # keypoints and reset of the frame that was put
        self._bound: dict[int, tuple[F32, F32, BoundInference]] = {}
        self._poses = np.zeros((0, *map(int, graph.outputs[0].shape[2:])), np.float32)

    def allocate(self) -> int:
        slot = self._allocator.allocate(self._resize)
        self._at[slot] = -1
        return slot

    def release(self, slot: int) -> None:
        self._allocator.release(slot)

    def put(self, slot: int, keypoints: F32, dt_s: float, reset: bool) -> None:
        self._next[slot] = (keypoints, reset)

    def launch(self, slots: Sequence[int]) -> F32:
        x, y, bound = self._bound.get(len(slots)) or self._bind(len(slots))
        for row, slot in enumerate(slots):
            keypoints, reset = self._next_frame(slot)
            if reset or self._at[slot] < 0:
                x[row] = keypoints
            else:
                x[row, :-1] = self._window(slot)[1:]
                x[row, -1] = keypoints
        bound()
        for row, slot in enumerate(slots):
            self._poses[slot] = y[row, self._pose_index]
        return self._poses

    def commit(self, slots: Sequence[int]) -> None:
        frames = self._graph.frames
        for slot in slots:
            keypoints, reset = self._next_frame(slot)
            ring = self._rings[slot]
            if reset or self._at[slot] < 0:
                ring[:] = keypoints
                self._at[slot] = 0
            at = self._at[slot]
            ring[at] = ring[at + frames] = keypoints
            self._at[slot] = (at + 1) % frames

    def state_copy(self, slot: int) -> StreamState:
        return self._rings[slot].copy(), np.array(self._at[slot])

    def load_state(self, slot: int, state: StreamState) -> None:
        self._rings[slot][:] = state[0]
        self._at[slot] = int(state[1])

    def _next_frame(self, slot: int) -> tuple[F32, bool]:
        """Keypoints and reset of the frame that was put."""
        frame = self._next[slot]
        assert frame is not None, "a launch without a put"
        return frame

    def _resize(self, rows: int) -> None:
        """Add rings until there are that many."""
        shape = self._graph.inputs[0].shape
        for _ in range(rows - len(self._rings)):
            self._rings.append(np.zeros((2 * self._graph.frames, *map(int, shape[2:])), np.float32))
            self._at.append(-1)
            self._next.append(None)
        self._poses = np.zeros((rows, *self._poses.shape[1:]), np.float32)

    def _window(self, slot: int) -> F32:
        """(T, J, channels), oldest frame first."""
        at = self._at[slot]
        return self._rings[slot][at : at + self._graph.frames]

    def _bind(self, rows: int) -> tuple[F32, F32, BoundInference]:
        """Bind a launch of that many windows: its input, its output, and the call."""
        keypoints, pose = self._graph.inputs[0], self._graph.outputs[0]
        x = np.zeros((rows, *map(int, keypoints.shape[1:])), np.float32)
        y = np.zeros((rows, *map(int, pose.shape[1:])), np.float32)
        bound = (x, y, self._engine.bind({keypoints.name: x}, {pose.name: y}))
        self._bound[rows] = bound
        return bound
