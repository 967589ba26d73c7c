"""Files of a clip's poses: ``NAME.poses.npz`` or ``NAME.poses.parquet``, complete or not there."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from ..artefact.atomic import AtomicFile
from ..artefact.record import read_record
from ..bounds import npz
from ..errors import PoseEdgeError
from .clip_record import SCHEMA_VERSION, ClipRecord
from .pose_parquet import parquet_text, write_parquet
from .pose_table import PoseTable

Format = Literal["npz", "parquet"]
SUFFIX = MappingProxyType({"npz": ".poses.npz", "parquet": ".poses.parquet"})
"""Format -> how the names of its files end."""


def write_poses(path: Path, table: PoseTable, record: ClipRecord, *, form: Format) -> None:
    """Write the poses of a clip and their record. The same poses and record are the same bytes.

    Raises:
        OSError: the disk is full, or the file cannot be written; an older one stays.
        MissingError: the folder cannot be written to; or pyarrow is not installed, for Parquet.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = AtomicFile(path)
    with draft.committing():
        if form == "parquet":
            write_parquet(draft.partial, table, record)
        else:
            with draft.partial.open("wb") as stream:  # an open file, since numpy appends .npz to a name
                arrays: dict[str, Any] = {"record": np.array(record.model_dump_json()), "frame_t_s": table.frame_t_s}
                arrays |= table.columns()
                np.savez_compressed(stream, **arrays)


def read_clip_record(path: Path, *, form: Format) -> ClipRecord | None:
    """What a file of poses says of itself; None if there is no such file, or if it is none that this version wrote."""
    try:
        if not path.is_file():
            return None
        return read_record(
            ClipRecord,
            _RECORD_TEXT[form](path),
            place=str(path),
            noun="a file of poses",
            version=SCHEMA_VERSION,
            migrations={},
            run="posemoe-edge lift",
        )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, PoseEdgeError):
        return None


def _npz_text(path: Path) -> str:
    with npz(path) as entries:
        return str(entries["record"])


_RECORD_TEXT: dict[Format, Callable[[Path], str]] = {"npz": _npz_text, "parquet": parquet_text}
