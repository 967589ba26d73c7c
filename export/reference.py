"""The reference: PyTorch weights on disk as safetensors, with their configuration beside them. No pickle anywhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from ..runtime.errors import UsageError
from ..runtime.files import write_together
from .lifter import Lifter


def save_reference(path: Path, model: Lifter, *, preset: str, training: dict[str, Any] | None = None) -> None:
    """``path`` (safetensors) and, beside it, its record (.json): preset, configuration, how the weights were made."""
    record = {"preset": preset, "config": dataclasses.asdict(model.config), "training": training or {}}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_together({path: save(weights), beside(path): json.dumps(record, indent=1).encode()})


def beside(path: Path) -> Path:
    """Where the record of the weights at ``path`` is."""
    if path.suffix != ".safetensors":
        raise UsageError(f"weights at {path}", expected="a file that ends in .safetensors")
    return path.with_suffix(".json")
