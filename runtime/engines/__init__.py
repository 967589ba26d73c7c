"""Engines: they execute a graph. ``resolve`` selects one for an artefact, ``open_engine`` opens it."""

from __future__ import annotations

from .base import BoundInference, Engine
from .open import ENGINES, open_engine
from .select import Selection, resolve

__all__ = ["ENGINES", "BoundInference", "Engine", "Selection", "open_engine", "resolve"]
