"""Inflation: a lifter of single frames becomes a lifter with temporal blocks that gives the same poses at first."""

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
    """A lifter of that configuration with a trunk's weights, and new blocks where the trunk has none.

    The output projections of new blocks are zero, so that they add nothing to their residual: the new lifter gives the same
    pose for each frame of any window as the trunk does, and training continues from there. Tokens and positions of the trunk's
    one frame are repeated for all frames. Image networks become video networks in this way (I3D). The costly part of the
    training, many people in front of many cameras, is thus done once, for all mixers, on single frames.

    Raises:
        UsageError: the trunk is no part of such a lifter.
    """
    model, trunk_state = build(config), trunk.state_dict()
    fresh = {name for name in model.state_dict() if name not in trunk_state}
    for name, module in model.named_modules():
        if hasattr(module, "zero_init_residual") and all(
            f"{name}.{parameter}" in fresh for parameter, _ in module.named_parameters()
        ):
            module.zero_init_residual()
            fresh -= {f"{name}.{entry}" for entry in module.state_dict()}
    surplus = sorted(set(trunk_state) - set(model.state_dict()))
    if fresh or surplus:
        raise UsageError(
            f"a {trunk.config.topology} lifter with mixer {trunk.config.mixer_kind} cannot start one with {config.mixer_kind}: "
            f"{(sorted(fresh) + surplus)[0]} exists in only one of them",
            expected="the same network without blocks over time, such as posemoe-frame-s",
        )
    with torch.no_grad():
        for name, parameter in model.state_dict().items():
            if name not in trunk_state:
                continue
            value = trunk_state[name]
            if value.ndim > 2 and value.shape[-3] == 1:  # (..., 1, J, C): tokens or positions of one frame
                value = value.squeeze(-3) if parameter.ndim < value.ndim else value.expand_as(parameter)
            if value.shape != parameter.shape:
                raise UsageError(
                    f"{name} is {tuple(value.shape)} in the trunk and {tuple(parameter.shape)} here",
                    expected="the same shape in both",
                )
            parameter.copy_(value)
    return model


def start_from(path: Path, config: LifterConfig) -> tuple[Lifter, dict[str, Any]]:
    """The lifter to start a training from, and its origin: preset, frames and minutes of its own training.

    Args:
        path: weights of that configuration, or of a trunk that is then inflated to it.
        config: the configuration to train.
    """
    model, record = load_checkpoint(path)
    training = record.get("training") or {}
    origin = {"preset": record.get("preset"), "frames": training.get("frames"), "minutes": training.get("minutes")}
    return (model, origin) if model.config == config else (inflate(model, config), origin)
