"""Engines: what executes a graph."""

from __future__ import annotations

from .engine import Engine, open_engine

__all__ = ["Engine", "open_engine"]
