"""Presets: named configurations of lifters."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from ..runtime.errors import UsageError
from .models.posemoe import MixerKind, PoseMoE, PoseMoEConfig

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


SIZES = {"s": {"dim": 64, "heads": 8, "layers": 4}, "m": {"dim": 128, "heads": 8, "layers": 6}}

MIXERS: dict[MixerKind, tuple[int | None, str]] = {
    "attention": (81, "PoseMoE as published, in small: softmax over a window of 81 frames"),
    "retention": (None, "PoseMoE that streams: causal retention, one frame in, one pose out"),
    "dssm": (None, "PoseMoE that streams: diagonal state space model, one frame in, one pose out"),
}

PRESETS: dict[str, Preset] = {
    f"posemoe-{mixer}-{size}": Preset(f"posemoe-{mixer}-{size}", PoseMoEConfig(mixer=mixer, window=window, **shape), note)
    for size, shape in SIZES.items()
    for mixer, (window, note) in MIXERS.items()
}


def find_preset(name: str) -> Preset:
    """The preset of that name; an unknown one is a UsageError that suggests the nearest."""
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)
    raise UsageError(f"there is no preset {name!r}", expected=f"for example {near[0]}", run="posemoe-edge models")
