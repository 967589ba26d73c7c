"""The reference: PyTorch weights on disk as safetensors, with their configuration in a JSON file of the same name.

The JSON says by hash which weights it describes, and, of a training, which state it goes on from. They are changed as one.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from ..runtime.artefact.certificate import StoredReference
from ..runtime.artefact.files import FileRecord, read_checked, read_staged, record_bytes
from ..runtime.artefact.transaction import commit, locked, settle, staged_folder
from ..runtime.errors import MissingError, UsageError, missing_folder
from ..runtime.file_kind import check_stand_in
from .lifter import ExportableLifter

WEIGHTS = ".safetensors"


def save_reference(
    path: Path,
    model: ExportableLifter,
    *,
    preset: str,
    training: dict[str, Any] | None = None,
    others: Mapping[str, bytes] | None = None,
) -> None:
    """Write the weights to ``path`` (safetensors), and preset, configuration and training to a .json of the same name.

    All at once: a kill at any moment leaves the old files or the new ones.

    Args:
        others: ending of a name -> content, of files that belong to them.

    Raises:
        UsageError, MissingError: there is no such folder, or the path is one.
    """
    place = _behind_link(path)
    if place.is_dir():
        raise UsageError(f"{path} is a folder", expected="a file to write")
    if not place.parent.is_dir():
        raise missing_folder(place.parent)
    files = reference_files(place, model, preset=preset, training=training, others=others)
    record = beside(place)
    text = files.pop(record)
    with locked(place.parent):
        before, after = file_records(record), {file.name: record_bytes(data) for file, data in files.items()}
        kept = {name: file for name, file in before.items() if name in after}  # weights alone leave a training where it is
        commit(record, text, {file.name: data for file, data in files.items()}, before=kept, after=after)


def reference_files(
    path: Path,
    model: ExportableLifter,
    *,
    preset: str,
    training: dict[str, Any] | None = None,
    others: Mapping[str, bytes] | None = None,
) -> dict[Path, bytes]:
    """The files that ``save_reference`` writes."""
    contents = {WEIGHTS: save(stored(model.state_dict())), **(others or {})}
    record = {
        "preset": preset,
        "config": dataclasses.asdict(model.config),
        "training": training or {},
        "files": {ending: record_bytes(data).model_dump() for ending, data in contents.items()},
    }
    files = {path.with_suffix(ending): data for ending, data in contents.items()}
    return {**files, beside(path): json.dumps(record, indent=1).encode()}


def read_reference(path: Path) -> StoredReference:
    """Weights and their record as they lie on the disk; a record with hashes must be of these weights.

    Raises:
        MissingError: one of them is not there.
        ArtefactError: the record describes other weights.
    """
    place = path if beside(path).is_file() else _behind_link(path)
    record_path = beside(place)
    if not record_path.is_file():
        missing = record_path if path.is_file() else path
        raise MissingError(f"there are no weights at {missing}", expected="a .safetensors file with its .json beside it")
    for file_path in (record_path, *([path] if path.is_file() else [])):
        check_stand_in(file_path, expected="weights that posemoe-edge wrote", text=file_path == record_path)
    record = record_path.read_bytes()
    file = file_records(record_path).get(record_path.stem + WEIGHTS)
    if not path.is_file() and (file is None or read_staged(path.parent, file.sha256) is None):
        raise MissingError(f"there are no weights at {path}", expected="a .safetensors file with its .json beside it")
    if file is None:
        return StoredReference(path, path.read_bytes(), record)
    run = "posemoe-edge import or train, which write both"
    return StoredReference(path, read_checked(path, file, source=record_path.name, run=run), record)


def settle_reference(path: Path) -> None:
    """Finish what a killed ``save_reference`` left: for whoever writes there next."""
    record = beside(_behind_link(path))
    if staged_folder(record).is_dir():
        with locked(record.parent):
            settle(record, file_records(record))


def file_records(record: Path) -> dict[str, FileRecord]:
    """What the .json of weights says of the files that it belongs to, by name; nothing in one of an older version."""
    try:
        files = json.loads(record.read_bytes())["files"]
        return {record.stem + ending: FileRecord.model_validate(file) for ending, file in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as safetensors needs them: on the CPU, contiguous, without gradients."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def beside(path: Path) -> Path:
    """The path of the .json that belongs to the weights at ``path``."""
    if path.suffix != WEIGHTS:
        raise UsageError(f"weights at {path}", expected="a file that ends in .safetensors")
    return path.with_suffix(".json")


def _behind_link(path: Path) -> Path:
    """Where a link leads, so that it stays one; the .json lies beside what it leads to."""
    beside(path)
    return Path(os.path.realpath(path)) if path.is_symlink() else path
