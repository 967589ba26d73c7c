"""Weights on disk: safetensors, with the configuration beside them. No pickle anywhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from ..runtime.errors import ArtefactError, MissingError, UsageError
from ..runtime.files import write_atomically
from .models.posemoe import PoseMoE, PoseMoEConfig


def save_checkpoint(path: Path, model: PoseMoE, *, preset: str, training: dict[str, Any] | None = None) -> None:
    """``path`` (safetensors) and ``path`` with .json: the weights, their configuration and how they were made."""
    record = {"preset": preset, "config": dataclasses.asdict(model.config), "training": training or {}}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(path, save(weights))
    write_atomically(_beside(path), json.dumps(record, indent=1).encode())


def load_checkpoint(path: Path) -> tuple[PoseMoE, dict[str, Any]]:
    """The network in eval mode, and its record (preset, config, training)."""
    beside = _beside(path)
    for needed in (path, beside):
        if not needed.is_file():
            raise MissingError(f"there are no weights at {needed}", expected="a .safetensors file with its .json beside it")
    try:
        record = json.loads(beside.read_text())
        model = PoseMoE(PoseMoEConfig(**record["config"]))
        model.load_state_dict(load(path.read_bytes()))
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError, UsageError) as error:
        raise ArtefactError(
            f"the weights at {path} do not load: {error}", expected="weights that posemoe-edge wrote"
        ) from error
    return model.eval(), record


def _beside(path: Path) -> Path:
    """The record of the weights at ``path``."""
    if path.suffix != ".safetensors":
        raise UsageError(f"weights at {path}", expected="a file that ends in .safetensors")
    return path.with_suffix(".json")
