"""A training on disk: its averaged weights, and beside them the state from which it can be resumed."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...export.reference import save_reference, settle_reference, stored
from ...runtime.errors import ArtefactError, UsageError
from ..models.lifter import Lifter
from ..models.topology import config_from

TRAINING = ".training.safetensors"


@dataclass
class TrainingHistory:
    """The progress of a training over all its runs.

    Args:
        updates: completed updates.
        seconds: time spent on them.
        runs: calls of ``train``.
        curve: [updates, smoothed loss, validation MPJPE in mm or None], at each save.
    """

    updates: int = 0
    seconds: float = 0.0
    runs: int = 0
    curve: list[list[float | None]] = field(default_factory=list)


def training_path(out: Path) -> Path:
    """The file with the state of the training of the weights at ``out``."""
    return out.with_suffix(TRAINING)


def save_training(
    out: Path, averaged: Lifter, tensors: dict[str, Tensor], history: TrainingHistory, *, preset: str, record: dict[str, Any]
) -> None:
    """Write the averaged weights, their record, and the state of the training, all at once."""
    metadata = {
        "history": json.dumps(dataclasses.asdict(history)),
        "config": json.dumps(dataclasses.asdict(averaged.config)),
        "recipe": json.dumps(record["recipe"]),
    }
    others = {TRAINING: save(stored(tensors), metadata=metadata)}
    save_reference(out, averaged, preset=preset, training=record, others=others)


def load_training(out: Path, model: Lifter, recipe: dict[str, Any]) -> tuple[dict[str, Tensor], TrainingHistory] | None:
    """The tensors and the history of an interrupted training; None if there is none.

    Args:
        out: the path of its weights.
        model: the network to train.
        recipe: the recipe to train it with, as a dictionary.

    Raises:
        UsageError: the training is of another network, or used another recipe (only its length may change).
        ArtefactError: the file cannot be read, or was written when this network had other weights.
    """
    path = training_path(out)
    settle_reference(out)
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no dictionary)
        record, saved_recipe, saved_history = (json.loads(metadata[key]) for key in ("config", "recipe", "history"))
        saved_config = config_from(record)
        history = TrainingHistory(**saved_history)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise ArtefactError(
            f"the training at {path} cannot be read", expected="a file that train wrote", run=f"rm {path}"
        ) from error
    if saved_config != model.config:
        raise UsageError(f"{path} is the training of another network", expected="another --out, or --fresh")
    saved = {name.removeprefix("model."): x.shape for name, x in tensors.items() if name.startswith("model.")}
    if saved != {name: x.shape for name, x in model.state_dict().items()}:
        raise ArtefactError(
            f"the training at {path} is of another version of this network: its weights differ in name or shape",
            expected="a training of this version, or --fresh",
            run=f"rm {path}",
        )
    for key, value in saved_recipe.items():
        if key not in ("updates", "minutes") and recipe.get(key) != value:
            raise UsageError(f"{path} was trained with {key} {value}, not {recipe.get(key)}", expected="the same, or --fresh")
    return tensors, history
