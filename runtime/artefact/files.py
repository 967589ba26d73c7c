"""File records: the size and the sha256 by which an artefact vouches for its files, and the one check of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import ArtefactError
from ..file_kind import check_stand_in
from .record import Record


class FileRecord(Record):
    """What a file of an artefact must be."""

    sha256: str
    bytes: int


def sha256(path: Path) -> str:
    """The file's sha256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record_bytes(data: bytes) -> FileRecord:
    """The record of a file with this content."""
    return FileRecord(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def record_file(path: Path) -> FileRecord:
    """The record of a file as it is now."""
    return record_bytes(path.read_bytes())


def read_checked(path: Path, record: FileRecord, *, source: str, run: str) -> bytes:
    """The content of a file, if it is what its record says.

    Args:
        source: where the record stands, for error messages: "the manifest", "its side-car".
        run: the command that writes the file anew.

    Raises:
        ArtefactError: the file is missing, or has another size or content.
    """
    if not path.is_file():
        raise ArtefactError(f"{path} is missing", expected=f"every file that {source} names", run=run)
    data = path.read_bytes()
    if len(data) != record.bytes:
        check_stand_in(path, expected=f"{record.bytes} bytes, as {source} says", text=path.suffix == ".json")
        raise ArtefactError(f"{path} has {len(data)} bytes", expected=f"{record.bytes}, as {source} says", run=run)
    digest = hashlib.sha256(data).hexdigest()
    if digest != record.sha256:
        expected = f"{record.sha256[:12]}..."
        raise ArtefactError(f"{path} was changed: its sha256 is {digest[:12]}...", expected=expected, run=run)
    return data
