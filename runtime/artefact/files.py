"""File records: the size and the sha256 by which an artefact vouches for its files, and the one check of them.

Files of text are hashed without carriage returns, which git may add on its way (core.autocrlf); none of them holds one itself.
Neither does a byte order mark count, nor a line end at the end of the file, which editors and hooks of git add or take away.
"""

from __future__ import annotations

import codecs
import hashlib
from pathlib import Path

from ..errors import ArtefactError
from ..file_kind import check_stand_in
from .record import Record

STAGED = ".staged"
"""The end of the name of a folder of files that wait under their hash for their name: see ``transaction``."""

TEXT = (".json",)


class FileRecord(Record):
    """What a file of an artefact must be.

    Args:
        sha256: of its bytes, in hexadecimal.
        bytes: its size.
    """

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
    """The content of a file, if it is what its record says. Use these bytes: a second reading may give others.

    Args:
        source: where the record stands, for error messages: "the manifest", "its side-car".
        run: the command that writes the file anew.

    Raises:
        ArtefactError: the file is missing, or has another size or content.
    """
    for place in (path, None, path):  # the last time for a writer who gave it its name meanwhile
        data = _read(place) if place else read_staged(path.parent, record.sha256)
        if data is not None and (found := _fitting(path, data, record)) is not None:
            return found
    data = _read(path)
    if data is None:
        raise ArtefactError(f"{path} is missing", expected=f"every file that {source} names", run=run)
    if record in (record_bytes(_without_returns(data)), record_bytes(data.replace(b"\r\n", b"\n"))):
        raise ArtefactError(
            f"the line ends of {path} were changed, as git does with core.autocrlf",
            expected="its own bytes: a .gitattributes of '* -text' beside it",
            run="git rm --cached -r . && git reset --hard, with that file",
        )
    if len(data) != record.bytes:
        if data:
            check_stand_in(path, expected=f"{record.bytes} bytes, as {source} says", text=path.suffix == ".json")
        raise ArtefactError(f"{path} has {len(data)} bytes", expected=f"{record.bytes}, as {source} says", run=run)
    digest = hashlib.sha256(data).hexdigest()
    raise ArtefactError(f"{path} was changed: its sha256 is {digest[:12]}...", expected=f"{record.sha256[:12]}...", run=run)


def read_staged(folder: Path, digest: str) -> bytes | None:
    """What waits in a folder under a hash; None if nothing does."""
    found = (_read(place) for place in folder.glob(f".*{STAGED}/{digest}"))
    return next((data for data in found if data is not None), None)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def _fitting(path: Path, data: bytes, record: FileRecord) -> bytes | None:
    """The content that the record is of: the data, or a text without what was added on its way; None if it is neither."""
    if len(data) == record.bytes and record_bytes(data) == record:
        return data
    if path.suffix not in TEXT:
        return None
    text = _without_returns(data).removeprefix(codecs.BOM_UTF8)
    bare = text.rstrip(b"\n")
    return next((form for form in (text, bare, bare + b"\n") if record_bytes(form) == record), None)


def _without_returns(data: bytes) -> bytes:
    return data.replace(b"\r", b"")
