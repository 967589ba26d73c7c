"""Networks from their weights on disk: ours, and the official ones."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor

from ..export.reference import beside
from ..runtime.errors import ArtefactError, MissingError, UsageError
from .models.lifter import Lifter
from .models.topology import build, config_from
from .official import recognise, shaped

CONTAINERS = ("model_pos", "model", "state_dict")  # where the published codes keep a state dict beside other things


def load_checkpoint(path: Path) -> tuple[Lifter, dict[str, Any]]:
    """The network in eval mode, and its record (preset, config, training)."""
    record_path = beside(path)
    for needed in (path, record_path):
        if not needed.is_file():
            raise MissingError(f"there are no weights at {needed}", expected="a .safetensors file with its .json beside it")
    try:
        record = json.loads(record_path.read_text())
        model = build(config_from(record["config"]))
        model.load_state_dict(load(path.read_bytes()))
    except (
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        ArithmeticError,
        UsageError,
    ) as error:
        raise ArtefactError(
            f"the weights at {path} do not load: {error}", expected="weights that posemoe-edge wrote"
        ) from error
    return model.eval(), record


def load_reference(path: Path) -> Lifter:
    """The network alone, for ``export.verify``."""
    return load_checkpoint(path)[0]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint file: safetensors, or what torch.save wrote. Nothing in the file is executed."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as error:
        # torch's own message would have the file trusted
        raise ArtefactError(f"{path} is damaged, or holds more than weights", expected="tensors by name") from error
    for name in CONTAINERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not found or not all(isinstance(weight, Tensor) for weight in found.values()):
        raise ArtefactError(f"{path} holds no state dict", expected=f"tensors by name, or one in {', '.join(CONTAINERS)}")
    return found


def import_official(family: str, state_dict: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> Lifter:
    """The network of an official checkpoint, in eval mode, float32.

    It takes (B, T, J, C_in) and gives (B, T, J, 3), in the checkpoint's own order of joints. PoseRetNet's
    ``model(x, chunk_size=T_s)`` is the parallel form with the staircase mask, and ``model.chunk(x, state)`` the chunk form,
    whose chunks may differ in length; both give the published numbers, however long a stream has run.

    Args:
        family: poseretnet, mixste (HoT's MixSTE too) or motionbert (lite or base).
        state_dict: by official names, with or without DataParallel's prefix.
        config: the published code's options, as far as weights do not tell: num_heads (8), causal, joint_related and dataset
            of poseretnet; layer_index of HoT; r and b of H2OT. What else is in it is not read, but a size that contradicts
            the weights is an error.

    Raises:
        UsageError: no such family, or a configuration that contradicts the weights.
        ArtefactError: weights are missing, odd, or of another shape.
    """
    weights = {name.removeprefix("module."): weight for name, weight in state_dict.items()}
    ours, renames = recognise(family, weights, config or {})
    model = build(ours)
    shapes = {name: weight.shape for name, weight in model.state_dict().items()}
    model.load_state_dict({rename.ours: shaped(rename, weights, shapes[rename.ours]) for rename in renames})
    return model.eval()
