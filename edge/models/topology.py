"""The topologies by name: from a configuration, or from its record on disk, to the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...runtime.errors import UsageError
from .alternating import Alternating, AlternatingConfig
from .config import LifterConfig
from .dual_stream import DualStream, DualStreamConfig
from .frame import FrameConfig, FrameLifter
from .lifter import Lifter
from .posemoe import PoseMoE, PoseMoEConfig
from .pruning import Pruning

TOPOLOGIES: dict[str, tuple[type[LifterConfig], type[Lifter]]] = {
    "alternating": (AlternatingConfig, Alternating),
    "dual_stream": (DualStreamConfig, DualStream),
    "moe": (PoseMoEConfig, PoseMoE),
    "frame": (FrameConfig, FrameLifter),
}


def build(config: LifterConfig) -> Lifter:
    """The network with fresh weights."""
    made: Any = TOPOLOGIES[config.topology][1]
    return made(config)  # type: ignore[no-any-return]


def config_from(record: Mapping[str, Any]) -> LifterConfig:
    """The configuration that ``dataclasses.asdict`` wrote down. Lists, as JSON has them, become tuples again."""
    fields = _tuples(record)
    topology = fields.pop("topology", "moe")
    if "held" in fields:
        fields["zoh_gain"] = fields.pop("held")
    if topology not in TOPOLOGIES:
        raise UsageError(f"there is no topology {topology!r}", expected=f"one of {', '.join(TOPOLOGIES)}")
    if fields.get("pruning") is not None:
        fields["pruning"] = Pruning(**_tuples(fields["pruning"]))
    known = TOPOLOGIES[topology][0]
    strange = sorted(set(fields) - {field.name for field in dataclasses.fields(known)})
    if strange:
        raise UsageError(f"a configuration with {', '.join(strange)}", expected=f"fields of {topology}")
    return known(**fields)


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
