"""SlotAllocator: who sits where."""

from __future__ import annotations

from collections.abc import Callable


class SlotAllocator:
    """Numbers that are given out from the lowest."""

    def __init__(self) -> None:
        self.capacity = 0
        self._free: list[int] = []

    def take(self, make_room: Callable[[int], None]) -> int:
        """The lowest free number. Where there is none, ``make_room`` is told for how many there must be room first."""
        if not self._free:
            make_room(self._grow())
        self._free.sort(reverse=True)
        return self._free.pop()

    def give(self, slot: int) -> None:
        self._free.append(slot)

    def _grow(self) -> int:
        """Twice the seats."""
        more = max(1, self.capacity)
        self._free += range(self.capacity, self.capacity + more)
        self.capacity += more
        return self.capacity
