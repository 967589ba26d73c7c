"""Poses in a notebook: ``show(pose)``. Needs the extra ``notebook``, or ``plot`` for pictures alone.

from posemoe_edge.plotting import show

show(pose)
"""

from __future__ import annotations

from .runtime.plotting.show import PoseFigure, show

__all__ = ["PoseFigure", "show"]
