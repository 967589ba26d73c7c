"""Where an output goes: to an ordinary file, perhaps behind a link, or through a device, a named pipe or a descriptor."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .errors import MissingError, UsageError, missing_folder

LEAST_FREE_BYTES = 1_000_000
"""A disk with less counts as full: work that writes to it does not begin."""

_DESCRIPTORS = ("/dev/fd/", "/dev/stdout", "/dev/stderr", "/proc/")


def is_special(path: Path) -> bool:
    """Whether a path is written through, never replaced: a device, a named pipe, a descriptor, also behind a link."""
    if str(path.absolute()).startswith(_DESCRIPTORS):
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_pipe(path: Path) -> bool:
    """Whether a path is a named pipe, or a descriptor of one."""
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False


def target_of(path: Path) -> Path:
    """The file that a path leads to: what is replaced is that file, and links stay."""
    return path if is_special(path) else Path(os.path.realpath(path))


def check_destination(path: Path, *, plain: bool = False) -> Path:
    """The file that a path leads to, if it can be written. Nothing is changed, and a pipe without a reader is not waited for.

    Args:
        plain: only an ordinary file will do.

    Raises:
        UsageError: it is a folder or a socket, a link that leads nowhere, or no ordinary file where that is needed.
        MissingError: its folder does not exist, or nothing can be written there.
    """
    target = target_of(path)
    if target.is_dir():
        raise UsageError(f"{path} is a folder", expected="a file to write")
    if target.is_symlink() and not is_special(path):  # what realpath leaves of links that lead to each other
        raise UsageError(f"{path} is a link that leads nowhere", expected="a file to write")
    if is_special(path) and not path.exists():
        raise MissingError(f"{path} is not open", expected="a file to write, or a descriptor that is open")
    if is_special(path) and (plain or path.is_socket()):
        raise UsageError(f"{path} is no plain file", expected="a file to write")
    if not target.parent.is_dir():
        folder = target.parent if path.is_symlink() else path.parent
        raise missing_folder(folder)
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise MissingError(f"{path} cannot be written to", expected="a file or a folder with write permission")
    return target


def check_space(path: Path, need_bytes: int) -> None:
    """Check, before the work, that a file of about that size finds room on its disk.

    Raises:
        MissingError: it does not; the message names the place, and both sizes.
    """
    if is_special(path):
        return
    check_free(target_of(path).parent, max(need_bytes, LEAST_FREE_BYTES), what=path.name)


def check_free(folder: Path, need_bytes: int, *, what: str) -> None:
    """Check that the disk of a folder has that much space.

    Args:
        what: is to be written, for the message.

    Raises:
        MissingError: the disk has less.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < need_bytes:
        raise MissingError(
            f"{folder.absolute()} has {megabytes(free_bytes)} left, and {what} needs about {megabytes(need_bytes)}",
            expected="more space, or another place",
        )


def discard_descriptor(descriptor: int) -> None:
    """Discard what is still written to it: Python flushes stdout once more at its end, even if nobody reads it any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def check_apart(written: Iterable[Path], read: Iterable[Path]) -> None:
    """Check that no file is written twice, or both read and written, by whatever spelling or link.

    Raises:
        UsageError: one is.
    """
    sources, before = list(read), list[Path]()
    for path in written:
        if is_special(path) and not is_pipe(path):
            continue  # several sinks may write to one device
        for other in sources:
            if _same(path, other):
                raise UsageError(f"{path} is the source {other} itself", expected="another file to write")
        for other in before:
            if _same(path, other):
                raise UsageError(f"{path} is written twice, also as {other}", expected="a file of its own for each")
        before.append(path)


def _same(a: Path, b: Path) -> bool:
    """Whether two paths lead to one file, which need not be there yet."""
    with suppress(OSError):
        return a.samefile(b)  # hard links too
    return os.path.realpath(a) == os.path.realpath(b)


def megabytes(size: int) -> str:
    """A size in bytes as text, rounded up to a tenth of a megabyte."""
    return f"{-(-size // 100_000) / 10:.1f} MB"
