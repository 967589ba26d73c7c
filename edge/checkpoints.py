"""Networks from weights on disk: those of this package, and official checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ..export.reference import read_reference
from ..runtime.artefact.certificate import StoredReference
from ..runtime.errors import ArtefactError, UsageError
from .models.lifter import Lifter
from .models.topology import build, config_from
from .official.conversion import convert_weight
from .official.families import match_checkpoint
from .official.names import clean_state_dict
from .official.options import Options


def load_checkpoint(path: Path) -> tuple[Lifter, dict[str, Any]]:
    """The network in eval mode, and its record (preset, config, training).

    Raises:
        MissingError: the weights or the record are not there.
        ArtefactError: they cannot be read, or do not belong together.
    """
    return open_checkpoint(read_reference(path))


def open_checkpoint(stored: StoredReference) -> tuple[Lifter, dict[str, Any]]:
    """As ``load_checkpoint``, of weights that have been read."""
    try:
        record = json.loads(stored.record)
        model = build(config_from(record["config"]))
        model.load_state_dict(load(stored.weights))
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
            f"the weights at {stored.path} do not load: {error}", expected="weights that posemoe-edge wrote"
        ) from error
    return model.eval(), record


def load_reference(stored: StoredReference) -> Lifter:
    """The network alone, for ``export.verify``."""
    return open_checkpoint(stored)[0]


def import_official(
    family: str,
    state_dict: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    *,
    on_ignored: Callable[[list[str]], None] = lambda keys: None,
) -> Lifter:
    """The network of an official checkpoint, in eval mode, float32.

    It takes (B, T, J, C_in) and gives (B, T, J, 3), in the checkpoint's own order of joints. PoseRetNet's
    ``model(x, chunk_size=T_s)`` is the parallel form with the staircase mask, and ``model.chunk(x, state)`` the chunk form,
    whose chunks may differ in length; both give the published numbers, however long a stream has run.

    Args:
        family: poseretnet, mixste (HoT's MixSTE too) or motionbert (lite or base).
        state_dict: by official names, with or without DataParallel's prefix.
        config: the published code's options that do not follow from the weights: num_heads (8); causal (or uncausal),
            joint_related and gamma_divider of poseretnet; dataset (h36m or mpii3d_univ); layer_index of HoT; r and b of H2OT.
            A size that contradicts the weights is an error, and so is a key that nearly has the name of one of these.
        on_ignored: called with the keys of ``config`` that were not read.

    Raises:
        UsageError: no such family, or a configuration that contradicts the weights.
        ArtefactError: weights are missing, unknown, or of another shape.
    """
    weights, options = clean_state_dict(state_dict), Options(config or {})
    our_config, converted = match_checkpoint(family, weights, options)
    on_ignored(options.unread_keys())
    model = build(our_config)
    shapes = {name: weight.shape for name, weight in model.state_dict().items()}
    model.load_state_dict({weight.name: convert_weight(weight, weights, shapes[weight.name]) for weight in converted})
    return model.eval()
