"""A random schedule of streams, which hypothesis plays: they come, go, and go back to a saved state in any order."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from posemoe_edge.runtime.state import Slots, StreamState


class SlotSchedule(RuleBasedStateMachine):
    """Subclasses add a rule that launches, and update ``expected`` as the launch should change the slots.

    Args:
        slots: what is tested.
        cleared: what ``expected`` holds for a slot without any frame; never changed in place.
    """

    def __init__(self, slots: Slots, *, cleared: Any) -> None:
        super().__init__()
        self.slots, self.cleared = slots, cleared
        self.expected: dict[int, Any] = {}  # slot -> its state, computed without other streams
        self.saved: list[tuple[StreamState, Any]] = []

    @initialize(n=st.integers(1, 3))
    def start(self, n: int) -> None:
        for _ in range(n):
            self.allocate()

    @precondition(lambda self: len(self.expected) < 9)
    @rule()
    def allocate(self) -> None:
        slot = self.slots.allocate()
        assert slot not in self.expected, "a slot was allocated twice"
        assert slot <= len(self.expected), "the lowest free slot is allocated first"
        self.expected[slot] = self.cleared

    @precondition(lambda self: len(self.expected) > 1)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.expected)))
        self.slots.release(slot)
        del self.expected[slot]

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def save(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.expected)))
        self.saved.append((self.slots.state_copy(slot), self.expected[slot]))

    @precondition(lambda self: self.expected and self.saved)
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.expected)))
        state, self.expected[slot] = data.draw(st.sampled_from(self.saved))
        self.slots.load_state(slot, state)
