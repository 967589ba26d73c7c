"""A training on disk: the averaged weights that it is for, and beside them all that it takes to go on."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...export.reference import reference_files, stored
from ...runtime.artefact.atomic import write_together
from ...runtime.errors import ArtefactError, UsageError
from ..models.lifter import Lifter


@dataclass
class TrainingHistory:
    """What happened so far, over all the runs of a training.

    Args:
        curve: [updates, smoothed loss, validation MPJPE in mm or None], at each save.
    """

    updates: int = 0
    seconds: float = 0.0
    runs: int = 0
    curve: list[list[float | None]] = field(default_factory=list)


def training_path(out: Path) -> Path:
    """Where the training of the weights at ``out`` is kept."""
    return out.with_suffix(".training.safetensors")


def save_training(
    out: Path, averaged: Lifter, tensors: dict[str, Tensor], history: TrainingHistory, *, preset: str, record: dict[str, Any]
) -> None:
    """Weights, their record, and the training: all on the disk before the first moves into its place."""
    state = {
        "history": json.dumps(dataclasses.asdict(history)),
        "config": json.dumps(dataclasses.asdict(averaged.config)),
        "recipe": json.dumps(record["recipe"]),
    }
    files = reference_files(out, averaged, preset=preset, training=record)
    write_together({**files, training_path(out): save(stored(tensors), metadata=state)})


def load_training(out: Path, model: Lifter, recipe: dict[str, Any]) -> tuple[dict[str, Tensor], TrainingHistory] | None:
    """What an interrupted training left, None where there is none.

    Raises:
        UsageError: it is of another network, or was made by another recipe (its length may grow).
        ArtefactError: it cannot be read.
    """
    path = training_path(out)
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no dictionary)
        config, made, told = (json.loads(about[key]) for key in ("config", "recipe", "history"))
        history = TrainingHistory(**told)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(
            f"the training at {path} cannot be read", expected="one that train left", run=f"rm {path}"
        ) from error
    if config != json.loads(json.dumps(dataclasses.asdict(model.config))):
        raise UsageError(f"{path} is the training of another network", expected="another --out, or --fresh")
    for key, value in made.items():
        if key != "updates" and recipe.get(key) != value:
            raise UsageError(f"{path} was trained with {key} {value}, not {recipe.get(key)}", expected="the same, or --fresh")
    return tensors, history
