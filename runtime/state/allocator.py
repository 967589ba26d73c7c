"""SlotAllocator: which slot numbers are in use."""

from __future__ import annotations

from collections.abc import Callable


class SlotAllocator:
    """Hands out slot numbers, the lowest free one first, and doubles the capacity when none is free."""

    def __init__(self) -> None:
        self.capacity = 0
        self._free: list[int] = []

    def allocate(self, resize: Callable[[int], None]) -> int:
        """The lowest free slot.

        Args:
            resize: called with the new capacity if no slot is free, before a new one is handed out.
        """
        if not self._free:
            resize(self._grow())
        self._free.sort(reverse=True)
        return self._free.pop()

    def release(self, slot: int) -> None:
        """Make a slot free again."""
        self._free.append(slot)

    def _grow(self) -> int:
        """Double the capacity, from 1 at first; the new capacity."""
        added = max(1, self.capacity)
        self._free += range(self.capacity, self.capacity + added)
        self.capacity += added
        return self.capacity
