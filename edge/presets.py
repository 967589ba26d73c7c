"""Presets: named configurations of lifters."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from ..runtime.errors import UsageError
from .models.posemoe import PoseMoE, PoseMoEConfig

DEFAULT_PRESET = "posemoe-retention-s"


@dataclass(frozen=True)
class Preset:
    """A named configuration.

    Args:
        name: as the command line spells it.
        config: of the network.
        note: one line for people.
    """

    name: str
    config: PoseMoEConfig
    note: str

    def build(self) -> PoseMoE:
        """The network with fresh weights."""
        return PoseMoE(self.config)


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "posemoe-attention-s",
            PoseMoEConfig(mixer="attention", dim=64, heads=8, layers=4, window=81),
            "PoseMoE as published, small: softmax over a window of 81 frames",
        ),
        Preset(
            "posemoe-retention-s",
            PoseMoEConfig(mixer="retention", dim=64, heads=8, layers=4),
            "PoseMoE that streams: causal retention, one frame in, one pose out",
        ),
        Preset(
            "posemoe-dssm-s",
            PoseMoEConfig(mixer="dssm", dim=64, heads=8, layers=4),
            "PoseMoE that streams: diagonal state space model, any frame rate",
        ),
        Preset(
            "posemoe-attention-m",
            PoseMoEConfig(mixer="attention", dim=128, heads=8, layers=6, window=81),
            "as posemoe-attention-s, five times the size",
        ),
        Preset(
            "posemoe-retention-m",
            PoseMoEConfig(mixer="retention", dim=128, heads=8, layers=6),
            "as posemoe-retention-s, five times the size",
        ),
        Preset(
            "posemoe-dssm-m",
            PoseMoEConfig(mixer="dssm", dim=128, heads=8, layers=6),
            "as posemoe-dssm-s, five times the size",
        ),
    )
}


def find_preset(name: str) -> Preset:
    """The preset of that name; an unknown one is a UsageError that suggests the nearest."""
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)
    raise UsageError(f"there is no preset {name!r}", expected=f"for example {near[0]}", run="posemoe-edge models")
