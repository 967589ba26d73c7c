"""The poses of a clip as Parquet, for tools that read tables: pandas, DuckDB, Spark. Needs pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArtefactError, missing_extra
from .clip_record import ClipRecord
from .pose_table import COLUMNS, Column, PoseTable

RECORD_KEY = b"posemoe_edge"
"""Of the file's metadata, under which the record is."""


def import_pyarrow() -> Any:
    """The module ``pyarrow`` with ``parquet``, or a ``MissingError`` that names the extra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow", "parquet", "writing Parquet") from None
    return pyarrow


def write_parquet(path: Path, table: PoseTable, record: ClipRecord) -> None:
    """Write the columns of a table, and ``clip``, its source; what is unknown is null."""
    pa = import_pyarrow()
    columns = table.columns()
    clip = pa.DictionaryArray.from_arrays(np.zeros(table.poses, np.int32), pa.array([record.source]))
    arrays = {"clip": clip, **{column.name: _array(pa, columns[column.name], column) for column in COLUMNS}}
    written = pa.table(arrays).replace_schema_metadata({RECORD_KEY: record.model_dump_json().encode()})
    pa.parquet.write_table(written, path, compression="zstd")


def parquet_text(path: Path) -> str:
    """The record of a file, as JSON.

    Raises:
        ArtefactError: it has none.
        ValueError, OSError: it is no Parquet.
    """
    pa = import_pyarrow()
    metadata = pa.parquet.read_schema(path).metadata or {}
    if RECORD_KEY not in metadata:
        raise ArtefactError(f"{path} has no record", expected="a file that lift wrote", run="posemoe-edge lift")
    return bytes(metadata[RECORD_KEY]).decode()


def _array(pa: Any, values: NDArray[Any], column: Column) -> Any:
    """A column as Arrow's; values of several numbers are lists of a fixed size, row by row."""
    missing = _missing(values, column)
    if not column.shape:
        return pa.array(values, mask=missing) if missing is not None else pa.array(values)
    size = int(np.prod(column.shape))
    numbers = pa.array(np.ascontiguousarray(values).reshape(-1))
    mask = None if missing is None else pa.array(missing)
    return pa.FixedSizeListArray.from_arrays(numbers, size, mask=mask)


def _missing(values: NDArray[Any], column: Column) -> NDArray[np.bool_] | None:
    """(poses,) which poses have no value; None if all have one."""
    if column.unknown is None:
        return None
    if isinstance(column.unknown, str):
        return np.asarray(values == column.unknown, np.bool_)
    return np.asarray(np.isnan(values).all(axis=tuple(range(1, values.ndim))), np.bool_)
