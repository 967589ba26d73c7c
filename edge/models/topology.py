"""The topologies by name: from a configuration, or from its JSON record, to the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...runtime.errors import UsageError
from ...runtime.registry import suggest
from .alternating import Alternating, AlternatingConfig
from .config import MIXER_CONFIGS, LifterConfig
from .dual_stream import DualStream, DualStreamConfig
from .frame import FrameConfig, FrameLifter
from .lifter import Lifter
from .mixer import MixerConfig
from .posemoe import PoseMoE, PoseMoEConfig
from .pruning import Pruning

TOPOLOGIES: dict[str, tuple[type[LifterConfig], type[Lifter]]] = {
    "alternating": (AlternatingConfig, Alternating),
    "dual_stream": (DualStreamConfig, DualStream),
    "moe": (PoseMoEConfig, PoseMoE),
    "frame": (FrameConfig, FrameLifter),
}

# The settings of mixers by their names in flat records (manifests of schema 1), and in the mixers' own configurations.
FLAT_MIXER_FIELDS = {
    "held": "zoh_gain",
    "distances": "distances",
    "state_size": "state_size",
    "modes": "modes",
    "shared_modes": "shared_modes",
}


def build(config: LifterConfig) -> Lifter:
    """The network with fresh weights."""
    network: Any = TOPOLOGIES[config.topology][1]
    return network(config)  # type: ignore[no-any-return]


def config_from(record: Mapping[str, Any]) -> LifterConfig:
    """The configuration that ``dataclasses.asdict`` wrote. Lists, as JSON has them, become tuples again.

    A record of the flat shape, whose ``mixer`` is a name, is migrated first (``nest_mixer``).

    Raises:
        UsageError: an unknown topology, mixer or field, or a configuration that is not valid.
    """
    fields = _with_tuples(nest_mixer(record))
    topology = fields.pop("topology", "moe")
    if topology not in TOPOLOGIES:
        raise UsageError(
            f"there is no topology {topology!r}{suggest(str(topology), TOPOLOGIES)}",
            expected=f"one of {', '.join(TOPOLOGIES)}",
        )
    if fields.get("pruning") is not None:
        fields["pruning"] = Pruning(**_with_tuples(fields["pruning"]))
    if fields.get("mixer") is not None:
        fields["mixer"] = mixer_config_from(fields["mixer"])
    config_type = TOPOLOGIES[topology][0]
    _check_fields(fields, config_type, topology)
    return config_type(**fields)


def mixer_config_from(record: Mapping[str, Any]) -> MixerConfig:
    """The configuration of a mixer from its JSON record, such as ``{"kind": "retention", "zoh_gain": true}``.

    Raises:
        UsageError: an unknown mixer or field, or a configuration that is not valid.
    """
    kind = record.get("kind")
    config_type = MIXER_CONFIGS.get(str(kind))
    if config_type is None:
        raise UsageError(
            f"there is no mixer {kind!r}{suggest(str(kind), MIXER_CONFIGS)}",
            expected=f"one of {', '.join(MIXER_CONFIGS)}, none",
        )
    _check_fields(record, config_type, str(kind))
    return config_type(**record)


def nest_mixer(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose ``mixer`` holds the mixer's own settings, from one of either shape.

    Records of a manifest of schema 1 are flat: ``mixer`` is a name, and the settings of all mixers stand
    beside it, in use or not. Those of the mixer in use move into it, the others are dropped.
    """
    fields = dict(record)
    kind = fields.get("mixer")
    if not isinstance(kind, str):
        return fields
    settings = {new: fields.pop(old) for old, new in FLAT_MIXER_FIELDS.items() if old in fields}
    if kind == "none":
        return fields | {"mixer": None}
    config_type = MIXER_CONFIGS.get(kind)
    used = {field.name for field in dataclasses.fields(config_type)} if config_type else set()
    return fields | {"mixer": {"kind": kind} | {name: value for name, value in settings.items() if name in used}}


def _check_fields(fields: Mapping[str, Any], config_type: type[LifterConfig | MixerConfig], noun: str) -> None:
    unknown = sorted(set(fields) - {field.name for field in dataclasses.fields(config_type)})
    if unknown:
        raise UsageError(f"a configuration with {', '.join(unknown)}", expected=f"fields of {noun}")


def _with_tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
