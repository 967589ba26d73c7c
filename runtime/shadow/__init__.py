"""A shadow: the reference lifts a sample of a live run's frames beside the engine, and says how far the two are apart."""

from __future__ import annotations

from .drift import DriftPercentiles
from .sample import Watch
from .shadow import Policy, Reference, Shadow, ShadowReport

__all__ = ["DriftPercentiles", "Policy", "Reference", "Shadow", "ShadowReport", "Watch"]
