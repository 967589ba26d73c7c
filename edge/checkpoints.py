"""Networks from their weights on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load

from ..export.reference import beside
from ..runtime.errors import ArtefactError, MissingError, UsageError
from .models.posemoe import PoseMoE, PoseMoEConfig


def load_checkpoint(path: Path) -> tuple[PoseMoE, dict[str, Any]]:
    """The network in eval mode, and its record (preset, config, training)."""
    record_path = beside(path)
    for needed in (path, record_path):
        if not needed.is_file():
            raise MissingError(f"there are no weights at {needed}", expected="a .safetensors file with its .json beside it")
    try:
        record = json.loads(record_path.read_text())
        model = PoseMoE(PoseMoEConfig(**record["config"]))
        model.load_state_dict(load(path.read_bytes()))
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError, UsageError) as error:
        raise ArtefactError(
            f"the weights at {path} do not load: {error}", expected="weights that posemoe-edge wrote"
        ) from error
    return model.eval(), record


def load_reference(path: Path) -> PoseMoE:
    """The network alone, for ``export.verify``."""
    return load_checkpoint(path)[0]
