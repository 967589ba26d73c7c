"""The metadata of an ONNX file, among them its manifest, so that a standalone ONNX file can be run."""

from __future__ import annotations

import mmap
from pathlib import Path

from ..errors import ArtefactError
from ..file_kind import check_stand_in
from .manifest import Manifest, parse_manifest
from .protobuf import fields

METADATA = "posemoe.manifest"
"""The key of the manifest in an ONNX file's metadata."""

METADATA_PROPS = 14  # ModelProto.metadata_props, repeated StringStringEntryProto: key = 1, value = 2


def read_embedded_manifest(path: Path, graph: bytes | None = None) -> Manifest:
    """The manifest inside a standalone ONNX file.

    Args:
        graph: its content, if that has been read.

    Raises:
        ArtefactError: the file is not ONNX, carries no manifest, or an invalid one.
    """
    metadata = read_metadata(path) if graph is None else _metadata(graph, path)
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
            return _metadata(data, path)
    except ValueError as error:  # of mmap, for an empty file
        raise _no_onnx(path, error) from error


def _metadata(data: bytes | mmap.mmap, path: Path) -> dict[str, str]:
    try:
        entries = [dict(fields(data, *span)) for number, span in fields(data, 0, len(data)) if number == METADATA_PROPS]
        return {data[slice(*entry[1])].decode(): data[slice(*entry[2])].decode() for entry in entries}
    except (ValueError, IndexError, KeyError) as error:
        raise _no_onnx(path, error) from error


def _no_onnx(path: Path, error: Exception) -> ArtefactError:
    return ArtefactError(f"cannot open {path}: it is not an ONNX file ({error})", expected="a graph that export wrote")
