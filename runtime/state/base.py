"""The interface of slots, the same for every mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from ..arrays import F32
from .device_io import DeviceIO

StreamState = tuple[NDArray[Any], ...]
"""A copy of one slot's state on the host, for snapshots and for the shadow."""


class Slots(Protocol):
    """The states of a model's streams, and the buffers of its launches."""

    @property
    def device_io(self) -> DeviceIO | None:
        """Keypoints and poses on the GPU; None if launches read and write them on the host only."""
        ...

    def allocate(self) -> int:
        """A free slot with a cleared state."""
        ...

    def release(self, slot: int) -> None:
        """Make a slot free for another stream."""
        ...

    def put(self, slot: int, keypoints: Any, dt_s: float, reset: bool) -> None:
        """Set the next frame of a slot; a launch feeds it.

        Args:
            keypoints: (J, channels) on the host, or, with a ``device_io``, a ``DeviceArray``.
            dt_s: seconds since the slot's frame before.
            reset: clear the state before this frame.
        """
        ...

    def launch(self, slots: Sequence[int]) -> F32:
        """Feed the frames that were put; (rows, J, 3) poses, with sigma (rows, J, 4), valid until the next launch."""
        ...

    def commit(self, slots: Sequence[int]) -> None:
        """Adopt the states that the last launch computed for these slots. Without a commit they stay as they were."""
        ...

    def state_copy(self, slot: int) -> StreamState:
        """A copy of a slot's state."""
        ...

    def load_state(self, slot: int, state: StreamState) -> None:
        """Replace a slot's state by a copy from ``state_copy``, of this slot or of another one of the same graph."""
        ...
