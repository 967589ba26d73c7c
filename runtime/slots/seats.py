"""Seats: who sits where."""

from __future__ import annotations


class Seats:
    """Numbers that are given out from the lowest."""

    def __init__(self) -> None:
        self.capacity = 0
        self._free: list[int] = []

    def take(self) -> int | None:
        self._free.sort(reverse=True)
        return self._free.pop() if self._free else None

    def give(self, slot: int) -> None:
        self._free.append(slot)

    def grow(self) -> int:
        """Twice the seats."""
        more = max(1, self.capacity)
        self._free += range(self.capacity, self.capacity + more)
        self.capacity += more
        return self.capacity
