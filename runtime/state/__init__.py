"""Slots: the states of all live streams of a model, in buffers that are allocated and bound once.

A stream owns one slot. Slots are allocated from the lowest number, so that the live ones lie close together and one launch
over the first n rows serves them all. A stream that takes no part in a launch keeps its state.
"""

from __future__ import annotations

from .base import Slots, StreamState
from .chunk import ChunkSlots
from .step import StepSlots
from .window import WindowSlots

__all__ = ["ChunkSlots", "Slots", "StepSlots", "StreamState", "WindowSlots"]
