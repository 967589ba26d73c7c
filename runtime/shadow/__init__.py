"""The shadow: a reference lifts a sample of a live run's frames beside the engine, and reports the drift between the two."""

from __future__ import annotations

from .drift import DriftPercentiles
from .sampler import StreamSampler
from .shadow import Policy, Reference, Shadow, ShadowReport

__all__ = ["DriftPercentiles", "Policy", "Reference", "Shadow", "ShadowReport", "StreamSampler"]
