"""The metadata of an ONNX file, among them its manifest, so that a standalone ONNX file can be run."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from ..errors import ArtefactError
from ..file_kind import check_stand_in
from .manifest import Manifest, parse_manifest

METADATA = "posemoe.manifest"
"""The key of the manifest in an ONNX file's metadata."""

METADATA_PROPS = 14  # ModelProto.metadata_props, repeated StringStringEntryProto: key = 1, value = 2
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5  # protobuf's wire types


def read_embedded_manifest(path: Path) -> Manifest:
    """The manifest inside a standalone ONNX file.

    Raises:
        ArtefactError: the file is not ONNX, carries no manifest, or an invalid one.
    """
    metadata = read_metadata(path)
    if METADATA not in metadata:
        raise ArtefactError(
            f"{path} carries no manifest", expected="an ONNX file that posemoe-edge wrote", run="posemoe-edge export"
        )
    return parse_manifest(metadata[METADATA], f"{path} ({METADATA})")


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file, read from the protobuf without opening a session. The graph itself is skipped.

    Raises:
        ArtefactError: the file is not an ONNX file.
    """
    check_stand_in(path, expected="a graph that export wrote")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            entries = [dict(_fields(data, *span)) for number, span in _fields(data, 0, len(data)) if number == METADATA_PROPS]
            return {data[slice(*entry[1])].decode(): data[slice(*entry[2])].decode() for entry in entries}
    except (ValueError, IndexError, KeyError) as error:  # mmap: ValueError for an empty file
        raise ArtefactError(
            f"cannot open {path}: it is not an ONNX file ({error})", expected="a graph that export wrote"
        ) from error


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Each field of the protobuf message in ``data[start:end]``: its number, and the first and last byte of its value."""
    while start < end:
        tag, start = _varint(data, start)
        wire_type = tag & 7
        if wire_type == VARINT:
            size = _varint(data, start)[1] - start
        elif wire_type == LENGTH_DELIMITED:
            size, start = _varint(data, start)
        elif wire_type in (FIXED32, FIXED64):
            size = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire_type}")
        if start + size > end:
            raise ValueError("a field is longer than the file")
        yield tag >> 3, (start, start + size)
        start += size


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A base-128 integer, and the position after it."""
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1
