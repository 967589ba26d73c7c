"""What every mode's slots can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .device_io import DeviceIO

Floats = NDArray[np.float32]
Memory = tuple[NDArray[Any], ...]
"""A copy of one slot's memory, for snapshots."""


class Slots(Protocol):
    """Where streams live."""

    @property
    def far(self) -> DeviceIO | None:
        """Its side on the GPU; None where frames are the host's."""
        ...

    def join(self) -> int:
        """A free slot, cleared."""
        ...

    def leave(self, slot: int) -> None: ...

    def put(self, slot: int, keypoints: Any, dt_s: float, reset: bool) -> None:
        """The next frame of a slot: (J, channels), with a ``far`` on the GPU too. It is only fed by a launch."""
        ...

    def launch(self, slots: Sequence[int]) -> Floats:
        """Feed what was put; (rows, J, 3) poses, indexed by slot. Valid until the next launch."""
        ...

    def commit(self, slots: Sequence[int]) -> None:
        """Keep what the last launch made of these slots' memories; without it they stay as they were."""
        ...

    def copy(self, slot: int) -> Memory: ...

    def paste(self, slot: int, memory: Memory) -> None: ...
