"""Atomic files: written beside their final path and moved there when complete, so that a reader never sees half a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import MissingError, UsageError


class AtomicFile:
    """A file that is written at ``partial`` and appears at ``path`` when it is committed.

    Args:
        path: the final path.

    Raises:
        UsageError: the path is a folder.
        MissingError: the path's folder does not exist, or cannot be written to.
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
            raise MissingError(
                f"{path.parent} cannot be written to ({error.strerror})", expected="a folder with write permission"
            ) from None
        os.close(handle)
        self.partial = Path(name)

    def commit(self) -> None:
        """Move the file to its final path in one operation, with the permissions of an ordinary new file."""
        umask = os.umask(0)
        os.umask(umask)
        self.partial.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
        self.partial.replace(self.path)

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Commit after what runs inside; if that fails, discard."""
        try:
            yield
        except BaseException:
            self.discard()
            raise
        self.commit()

    def discard(self) -> None:
        """Delete the partial file; after ``commit``, or a second time, this does nothing."""
        self.partial.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``. An interruption leaves the old file or none, never an incomplete one."""
    write_together({path: data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all of them are complete on the disk before the first is moved to its path."""
    drafts: list[AtomicFile] = []
    try:
        for path, data in files.items():
            drafts.append(AtomicFile(path))
            drafts[-1].partial.write_bytes(data)
        for draft in drafts:
            draft.commit()
    except BaseException:
        for draft in drafts:
            draft.discard()
        raise
