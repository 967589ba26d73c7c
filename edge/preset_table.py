"""The table of presets that ``models`` prints: counted with PyTorch by the project, read without it by everyone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

PRESET_TABLE = Path(__file__).with_name("presets.json")  # written by scripts/count_presets.py, checked by a test


def read_preset_table() -> list[dict[str, Any]]:
    """A row for each preset: its name, note and cost as ``lifter_cost`` counts it, and what its paper prints, or None."""
    rows: list[dict[str, Any]] = json.loads(PRESET_TABLE.read_text(encoding="utf-8"))
    return rows


def preset_row(name: str) -> dict[str, Any]:
    """The row of one preset, counted now. Needs PyTorch; some seconds for a published system."""
    from .models.cost import lifter_cost
    from .presets import find_preset

    preset = find_preset(name)
    published = preset.published
    return {
        "name": preset.name,
        **lifter_cost(preset.config, frames=published.frames if published else None),
        "note": preset.note,
        "published": None if published is None else dataclasses.asdict(published),
    }
