"""Inflation: a lifter of single frames becomes one that also moves, saying at first exactly what it said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ...runtime.errors import UsageError
from ..checkpoints import load_checkpoint
from ..models.config import LifterConfig
from ..models.lifter import Lifter
from ..models.topology import build


def inflate(trunk: Lifter, config: LifterConfig) -> Lifter:
    """A lifter of that configuration with a trunk's weights, and fresh blocks wherever the trunk has none, hushed.

    A hushed block adds nothing to its residual, so the new lifter answers each frame of any window as the trunk does, and
    learns from there. What the trunk knows of a place is known of it in every frame. Image networks become video networks in
    this way; it lets the costly part, many people before many cameras, be trained once, for all mixers, on single frames.

    Raises:
        UsageError: the trunk is no part of such a lifter.
    """
    model, known = build(config), trunk.state_dict()
    fresh = {name for name in model.state_dict() if name not in known}
    for name, module in model.named_modules():
        if hasattr(module, "zero_init_residual") and all(f"{name}.{own}" in fresh for own, _ in module.named_parameters()):
            module.zero_init_residual()
            fresh -= {f"{name}.{own}" for own in module.state_dict()}
    strange = sorted(set(known) - set(model.state_dict()))
    if fresh or strange:
        raise UsageError(
            f"a {trunk.config.topology} lifter with mixer {trunk.config.mixer} cannot start one with {config.mixer}: "
            f"{(sorted(fresh) + strange)[0]} is in one of them alone",
            expected="the same network without blocks over time, such as posemoe-frame-s",
        )
    with torch.no_grad():
        for name, place in model.state_dict().items():
            if name not in known:
                continue
            value = known[name]
            if value.ndim > 2 and value.shape[-3] == 1:  # (..., 1, J, C), what is known of one frame's places
                value = value.squeeze(-3) if place.ndim < value.ndim else value.expand_as(place)
            if value.shape != place.shape:
                raise UsageError(
                    f"{name} is {tuple(value.shape)} in the trunk and {tuple(place.shape)} here", expected="one size of both"
                )
            place.copy_(value)
    return model


def start_from(path: Path, config: LifterConfig) -> tuple[Lifter, dict[str, Any]]:
    """The lifter of a file of weights if it is of that configuration, else one of that configuration inflated from it.

    And what to remember of it: its preset, and on how many frames it was trained.
    """
    found, record = load_checkpoint(path)
    training = record.get("training") or {}
    origin = {"preset": record.get("preset"), "frames": training.get("frames"), "minutes": training.get("minutes")}
    return (found, origin) if found.config == config else (inflate(found, config), origin)
