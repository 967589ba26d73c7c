"""Slots: the memory of all live streams, in buffers that are allocated once and bound once.

A stream owns one slot. Slots are handed out from the lowest, so that the live ones lie close together and one launch over
the first n rows serves them all; whoever is absent from a launch keeps its memory.
"""

from __future__ import annotations

from .base import Memory, Slots
from .chunk import ChunkSlots
from .step import StepSlots
from .window import WindowSlots

__all__ = ["ChunkSlots", "Memory", "Slots", "StepSlots", "WindowSlots"]
