"""Inflation: a lifter of single frames becomes a lifter with temporal blocks that gives the same poses at first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...runtime.errors import UsageError
from ..checkpoints import load_checkpoint
from ..models.config import LifterConfig
from ..models.frame import FrameLifter
from ..models.lifter import Lifter
from ..models.posemoe import PoseMoE
from ..models.topology import build


def inflate(trunk: Lifter, config: LifterConfig) -> Lifter:
    """A lifter of that configuration with a trunk's weights, and new blocks where the trunk has none.

    The output projections of new blocks are zero, so that they add nothing to their residual: the new lifter gives the same
    pose for each frame of any window as the trunk does, and training continues from there. Tokens and positions of the trunk's
    one frame are repeated for all frames. Image networks become video networks in this way (I3D). The costly part of the
    training, many people in front of many cameras, is thus done once, for all mixers, on single frames.

    An MLP over single frames, such as frame-s, becomes the stem of a PoseMoE, whose experts then add little at first. Not
    nothing: behind heads of zero their gradients would be noise, of which optimizers that normalise gradients make large
    steps.

    Raises:
        UsageError: the trunk is no part of such a lifter.
    """
    if isinstance(trunk, FrameLifter) and config.topology == "moe":
        return _with_stem(trunk, config)
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


SMALL_HEAD = 0.1  # of the usual size
# The parts of a stem by their names in an MLP over single frames.
_STEM = {
    "embed.": "stem.embed.",
    "blocks.": "stem.blocks.",
    "refine.": "stem.refine.",
    "head.0.": "stem.norm.",
    "head.1.": "stem.head.",
    "sigma.": "stem.sigma.",
}


def _with_stem(trunk: FrameLifter, config: LifterConfig) -> Lifter:
    """A PoseMoE whose stem is that MLP, and whose experts add little yet."""
    model = build(config)
    without_time = config.mixer is None  # its stem refines nothing, and so needs no sigma
    stem = {
        new + name.removeprefix(old): value
        for name, value in trunk.state_dict().items()
        for old, new in _STEM.items()
        if name.startswith(old) and not (without_time and old == "sigma.")
    }
    own = {name: value.shape for name, value in model.state_dict().items() if name.startswith("stem.")}
    differing = [name for name, value in stem.items() if own.get(name) != value.shape]
    anew = ("stem.features.", "stem.refine.") if trunk.refine is None else ("stem.features.",)
    missing = sorted(name for name in own.keys() - stem.keys() if not name.startswith(anew))
    if missing and missing[0].startswith("stem.sigma."):
        raise UsageError(
            f"a {config.topology} with sigma cannot start from an MLP without: {missing[0]} would stay random",
            expected="weights of an MLP that was trained with sigma=True, or a configuration with sigma=False",
        )
    if missing or differing or not isinstance(model, PoseMoE) or trunk.config.view != config.view:
        raise UsageError(
            f"an MLP of {trunk.config.dim} channels and {trunk.config.layers} blocks cannot be the stem of {config.topology}",
            expected="a PoseMoE with a stem of that width and number of blocks, and the same view",
        )
    model.load_state_dict({**model.state_dict(), **stem})
    if model.stem is not None and model.stem.refine is not None and trunk.refine is None:
        model.stem.refine.zero_init_residual()
    for head in (model.head_2d, model.head_depth):
        last = head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight *= SMALL_HEAD
            last.bias.zero_()
    return model


def trunk_parameters(model: Lifter) -> frozenset[str]:
    """The names of the weights that a lifter over time has from its trunk.

    They are those of the stem of a PoseMoE that has one, but for the features that it gives to the experts, and otherwise those
    that the same network without a mixer has too. A PoseMoE's head of sigma is no part of them: it has to learn anew.
    """
    if model.config.mixer is None:
        return frozenset()
    if isinstance(model, PoseMoE) and model.stem is not None:
        names = (name for name, _ in model.named_parameters())
        return frozenset(name for name in names if name.startswith("stem.") and not name.startswith("stem.features."))
    with torch.device("meta"):
        trunk = build(replace(model.config, mixer=None, window=1))
    anew = ("sigma",) if model.config.topology == "moe" else ()
    return frozenset(name for name, _ in trunk.named_parameters() if not name.startswith(anew))


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
