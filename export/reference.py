"""The reference: PyTorch weights on disk as safetensors, with their configuration beside them. No pickle anywhere."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from ..runtime.artefact.atomic import write_together
from ..runtime.errors import UsageError
from .lifter import ExportableLifter


def save_reference(path: Path, model: ExportableLifter, *, preset: str, training: dict[str, Any] | None = None) -> None:
    """``path`` (safetensors) and, beside it, its record (.json): preset, configuration, how the weights were made."""
    write_together(reference_files(path, model, preset=preset, training=training))


def reference_files(
    path: Path, model: ExportableLifter, *, preset: str, training: dict[str, Any] | None = None
) -> dict[Path, bytes]:
    """What ``save_reference`` writes, for whoever has more to write with it."""
    record = {"preset": preset, "config": dataclasses.asdict(model.config), "training": training or {}}
    return {path: save(stored(model.state_dict())), beside(path): json.dumps(record, indent=1).encode()}


def stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors takes them."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def beside(path: Path) -> Path:
    """Where the record of the weights at ``path`` is."""
    if path.suffix != ".safetensors":
        raise UsageError(f"weights at {path}", expected="a file that ends in .safetensors")
    return path.with_suffix(".json")
