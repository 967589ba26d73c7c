"""What the file of a clip's poses says of itself: which clip, what lifted it and how, what came of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ..artefact.record import Record

SCHEMA_VERSION = 1
"""It grows when a field of the record, or an array beside it, is renamed or removed."""


class MadeBy(Record):
    """What makes the poses of a clip what they are: where two of these are equal, the poses are too, on one kind of processor.

    Args:
        version: of posemoe-edge.
        preset, precision, mode, engine, graph: the model; ``graph`` is its sha256, or the path of a standalone file.
        detector, detector_file: for pictures, as named, and the file's size and time; None for keypoints.
        tracker: for pictures; None for keypoints.
        smooth, hold_s, flip, rotate, frames, view, stature_m: as the options of ``run``.
        camera: what was told of the camera, as plain values; None if nothing was.
    """

    version: str
    preset: str
    precision: str
    mode: str
    engine: str
    graph: str
    detector: str | None
    detector_file: str | None
    tracker: str | None
    smooth: str
    hold_s: float
    flip: bool
    rotate: int
    frames: int | None
    view: str
    stature_m: float | None
    camera: dict[str, Any] | None


class ClipRecord(Record):
    """The record of a file of poses.

    Args:
        schema_version: of this record and the arrays beside it.
        source: the clip's URI.
        source_bytes, source_mtime_ns: size and time of what it was read from: whether it has changed since.
        made_by: what lifted it.
        frames, people, poses, refused: of the clip; ``refused`` counts frames of one person.
        located: poses with a position.
        units: of the poses: "metres", or what the model answers in.
        joints: their names, in order.
        warnings: what was odd about the clip.
    """

    schema_version: int
    source: str
    source_bytes: int
    source_mtime_ns: int
    made_by: MadeBy
    frames: int
    people: int
    poses: int
    refused: int
    located: int
    units: str
    joints: tuple[str, ...]
    warnings: tuple[str, ...]


def fingerprint(path: Path) -> tuple[int, int]:
    """Size in bytes, and time of the last change in nanoseconds, of a file or of all files in a folder.

    Raises:
        OSError: it is not there.
    """
    if not path.is_dir():
        of = path.stat()
        return of.st_size, of.st_mtime_ns
    files = [file.stat() for file in sorted(path.rglob("*")) if file.is_file()]
    return sum(of.st_size for of in files), max((of.st_mtime_ns for of in (*files, path.stat())), default=0)


def plain(value: Any) -> Any:
    """Data classes and arrays as dictionaries and lists, for JSON and for comparison."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__} | {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value
