"""Files that are whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ..errors import MissingError, UsageError


class AtomicFile:
    """A file that is written beside its place and moved there when it is whole.

    Args:
        path: the place.
    """

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise UsageError(f"{path} is a folder", expected="a file to write")
        if not path.parent.is_dir():
            raise MissingError(f"no folder {path.parent}", run=f"mkdir -p {path.parent}")
        self.path = path
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        except OSError as error:
            raise MissingError(f"{path.parent} cannot be written to ({error.strerror})", expected="a folder of yours") from None
        os.close(handle)
        self.draft = Path(name)

    def keep(self) -> None:
        """Move it into its place, in one go, with the rights of a file that was written there."""
        mask = os.umask(0)
        os.umask(mask)
        self.draft.chmod(0o666 & ~mask)  # mkstemp's files are their owner's alone
        self.draft.replace(self.path)

    def drop(self) -> None:
        self.draft.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that an interruption leaves the old file or none, never half a one."""
    write_together({path: data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all of them are on the disk before the first moves into its place."""
    drafts: list[AtomicFile] = []
    try:
        for path, data in files.items():
            drafts.append(AtomicFile(path))
            drafts[-1].draft.write_bytes(data)
        for draft in drafts:
            draft.keep()
    except BaseException:
        for draft in drafts:
            draft.drop()
        raise


def sha256(path: Path) -> str:
    """The file's sha256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
