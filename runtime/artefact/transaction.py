"""Transactions: files and the record that names them by their hashes, changed as one.

The record (an artefact's manifest, a plan's side-car, the .json of weights) is the pointer. New files wait under their hash in
a folder of their own; the moment in which the new record takes the place of the old one is the change; then the files get their
names. Whoever reads in between, or after a kill in between, finds a file under its hash (``read_checked``). So a folder is
changed in place: it may be a mount point or lie behind a link, and other files in it stay.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import MissingError
from .atomic import sync_folder, try_lock, write_atomically
from .files import STAGED, FileRecord

DROPPED = "dropped."
"""Begins the name of a marker among the staged files: that file goes when no record names it any more."""

PATIENCE_S = 60.0  # a commit takes a second


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else changes the folder meanwhile. Long work is done before; what it is based on is read again inside.

    Raises:
        MissingError: another process held the folder for a minute.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        give_up_s = time.monotonic() + PATIENCE_S
        while not try_lock(handle):
            if time.monotonic() > give_up_s:
                raise MissingError(f"another process is writing to {folder}", expected="one at a time")
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def commit(
    record: Path,
    text: bytes,
    files: Mapping[str, bytes | Path],
    *,
    before: Mapping[str, FileRecord],
    after: Mapping[str, FileRecord],
) -> None:
    """Put files and the record that names them in the place of the old ones, in a folder that is ``locked``.

    A kill at any moment leaves the old ones or the new ones. Files that are named no more are deleted.

    Args:
        record: the path of the manifest or side-car; the files are beside it.
        text: its new content.
        files: name -> new content, or a file of the same file system that is moved.
        before, after: what the old and the new record say of their files.
    """
    settle(record, before)
    staged, dropped = staged_folder(record), set(before) - set(after)
    try:
        staged.mkdir(exist_ok=True)
        for name in dropped:
            (staged / f"{DROPPED}{name}").touch()
        for name, content in files.items():
            waiting = staged / after[name].sha256
            if isinstance(content, Path):
                _move(content, waiting)
            else:
                write_atomically(waiting, content)
        sync_folder(staged)
        write_atomically(record, text)
    except BaseException:
        with suppress(OSError):
            if not record.is_file() or record.read_bytes() != text:  # else it was committed, and they are needed
                shutil.rmtree(staged, ignore_errors=True)
        raise
    _give_names(record, {name: after[name].sha256 for name in files}, dropped)


def staged_folder(record: Path) -> Path:
    """Where the files of a record wait for their names."""
    return record.with_name(f".{record.name}{STAGED}")


def settle(record: Path, files: Mapping[str, FileRecord]) -> None:
    """Finish what a killed process left: give the staged files their names that the record speaks of, and delete the rest."""
    staged = staged_folder(record)
    if not staged.is_dir():
        return
    waiting = {entry.name for entry in staged.iterdir()}
    names = {name: file.sha256 for name, file in files.items() if file.sha256 in waiting}
    dropped = {name.removeprefix(DROPPED) for name in waiting if name.startswith(DROPPED)}
    _give_names(record, names, dropped - set(files))


def _give_names(record: Path, names: Mapping[str, str], drop: Collection[str]) -> None:
    """Move the staged files to their names, delete the dropped ones and, last, the folder where they waited."""
    folder, staged = record.parent, staged_folder(record)
    for name, digest in names.items():
        if list(names.values()).count(digest) > 1:  # two files with one content
            write_atomically(folder / name, (staged / digest).read_bytes())
        else:
            (staged / digest).replace(folder / name)
    for name in drop:
        (folder / name).unlink(missing_ok=True)
    sync_folder(folder)
    shutil.rmtree(staged, ignore_errors=True)


def _move(file: Path, target: Path) -> None:
    """Move a file whose content must be on the disk first."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    file.replace(target)
