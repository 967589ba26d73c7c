"""Figures drawn with Matplotlib, without a screen and in one style: skeletons, curves over time, bars."""

from __future__ import annotations

from .bars import Bars, draw_bars
from .figure import LEFT, RIGHT, TRUTH, Verdict, check_available
from .lines import Lines, draw_lines
from .skeletons import draw_skeletons
from .table import Cell

__all__ = [
    "LEFT",
    "RIGHT",
    "TRUTH",
    "Bars",
    "Cell",
    "Lines",
    "Verdict",
    "check_available",
    "draw_bars",
    "draw_lines",
    "draw_skeletons",
]
