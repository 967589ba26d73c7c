"""The reference: PyTorch weights on disk as safetensors, with their configuration in a JSON file of the same name."""

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
    """Write the weights to ``path`` (safetensors), and preset, configuration and training to a .json of the same name."""
    write_together(reference_files(path, model, preset=preset, training=training))


def reference_files(
    path: Path, model: ExportableLifter, *, preset: str, training: dict[str, Any] | None = None
) -> dict[Path, bytes]:
    """The files that ``save_reference`` writes, for callers that write others in the same transaction."""
    record = {"preset": preset, "config": dataclasses.asdict(model.config), "training": training or {}}
    return {path: save(stored(model.state_dict())), beside(path): json.dumps(record, indent=1).encode()}


def stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as safetensors needs them: on the CPU, contiguous, without gradients."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def beside(path: Path) -> Path:
    """The path of the .json that belongs to the weights at ``path``."""
    if path.suffix != ".safetensors":
        raise UsageError(f"weights at {path}", expected="a file that ends in .safetensors")
    return path.with_suffix(".json")
