"""Atomic files: written beside their final path and moved there when complete, so that a reader never sees half a file.

A draft is locked as long as its process lives. Whoever writes the same path next deletes the drafts that nobody holds: those of
processes that were killed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ..destination import is_special
from ..errors import MissingError, UsageError, missing_folder

PART = ".part"
"""The end of a draft's name, which begins with a dot and the name of what it will be."""


class AtomicFile:
    """A file that is written at ``partial`` and appears at ``path`` when it is committed; behind a link, the link stays.

    Into a device or a pipe, which are never replaced, it is copied then.

    Args:
        path: the final path.
        mode: its permissions before the umask.

    Raises:
        UsageError: the path is a folder.
        MissingError: the path's folder does not exist, or cannot be written to.
    """

    def __init__(self, path: Path, *, mode: int = 0o666) -> None:
        if path.is_dir():
            raise UsageError(f"{path} is a folder", expected="a file to write")
        self.path, self._mode = path, mode
        self._through = is_special(path)
        if self._through:
            self._handle, name = tempfile.mkstemp(prefix="posemoe-edge-", suffix=path.suffix)
            self.partial = Path(name)
            return
        self._target = Path(os.path.realpath(path)) if path.is_symlink() else path
        if not self._target.parent.is_dir():
            raise missing_folder(path.parent)
        sweep(self._target.parent, self._target.name)
        try:
            self._handle, self.partial = _locked_draft(self._target)
        except OSError as error:
            raise MissingError(
                f"{path.parent} cannot be written to ({error.strerror})", expected="a folder with write permission"
            ) from None

    def commit(self) -> None:
        """Move the file to its final path in one operation, with permissions as those of a new file.

        It is on the disk before that, so that a power failure does not leave an empty one.
        """
        if self._through:
            with self.partial.open("rb") as draft, self.path.open("wb", buffering=0) as out:
                shutil.copyfileobj(draft, out)
            self.discard()
            return
        self.partial.chmod(self._mode & ~_umask())  # mkstemp makes files that only their owner can read
        os.fsync(self._handle)
        self.partial.replace(self._target)
        self._release()
        sync_folder(self._target.parent)

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Commit after what runs inside; if that fails, discard."""
        try:
            yield
            self.commit()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Delete the partial file; after ``commit``, or a second time, this does nothing."""
        self.partial.unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``. An interruption leaves the old file or none, never an incomplete one."""
    write_together({path: data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write several files: all of them are complete on the disk before the first is moved to its path, in this order.

    Each must be good beside older ones of the others: a kill between two moves leaves them so. Where it is not, see ``commit``
    in ``transaction``.
    """
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


@contextmanager
def draft_folder(place: Path, name: str) -> Iterator[Path]:
    """A folder in ``place`` for what is not finished, deleted at the end; those of killed processes are deleted first."""
    sweep(place, name)
    draft = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=PART, dir=place))
    handle = os.open(draft, os.O_RDONLY)
    try:
        try_lock(handle)
        inner = draft / name  # the outer one is held, and the inner one may be locked by who writes there
        inner.mkdir()
        yield inner
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(handle)


def sweep(folder: Path, name: str) -> None:
    """Delete the drafts of ``name`` that no process holds. What cannot be locked, or not be deleted, stays."""
    with suppress(OSError):
        for entry in folder.iterdir():
            if is_draft(entry.name, name):
                with suppress(OSError):
                    _delete_unheld(entry)


def is_draft(entry: str, name: str | None = None) -> bool:
    """Whether a file's name is that of a draft, of ``name`` or of anything; ``.part.old`` is what older versions left."""
    return entry.startswith("." if name is None else f".{name}.") and entry.endswith((PART, f"{PART}.old"))


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk. A file system that cannot do that is not an error."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _locked_draft(path: Path) -> tuple[int, Path]:
    """A new draft that this process holds, and its name. One that a sweep caught before it was locked is given up."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent)
        if try_lock(handle) and os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)
        Path(name).unlink(missing_ok=True)


def try_lock(handle: int) -> bool:
    """Lock a file or folder; False if another process holds it. Where there are no locks, nothing is ever swept."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _delete_unheld(entry: Path) -> None:
    handle = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    finally:
        os.close(handle)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
