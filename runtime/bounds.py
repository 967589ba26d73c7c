"""Bounds of what a file may cost: its size is known before memory is taken, and whatever a parser throws becomes one error.

Files come from others. A few bytes may claim terabytes, or expand to gigabytes; the sizes that they claim are compared here
with what they hold, and with a limit that ``--max-input-mb`` raises.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from .errors import ArtefactError, PoseEdgeError

DEFAULT_MB = 1024
MOST_RATIO = 4
"""A large file may grow by so much where it is unpacked: numbers that were measured do not compress further."""

MOST_PEOPLE = 1000
"""In a frame: the network keeps a state in memory for each of them."""

LEAST_FPS, MOST_FPS = 1e-3, 1e4
"""Of a frame rate that a user or a file names. Nobody can be followed over longer steps, and no camera has shorter ones."""

MOST_JSON_BYTES = 64 << 20
MOST_NODES = 1_000_000
"""Values in nested lists and dictionaries, counted as often as they are referred to."""

RAISE = "a smaller file, or posemoe-edge --max-input-mb with a higher limit"

_limits = {"bytes": DEFAULT_MB << 20}  # of this process


def allow_megabytes(megabytes: int) -> None:
    """Set what the content of a file may take in memory, in this process."""
    _limits["bytes"] = megabytes << 20


def most_bytes(file_bytes: int = 0) -> int:
    """What the content of a file of that size may take in memory."""
    return max(_limits["bytes"], MOST_RATIO * file_bytes)


def check_bytes(place: str, need_bytes: int, *, file_bytes: int = 0, error: type[PoseEdgeError] = ArtefactError) -> None:
    """Raise the error if something needs more memory than a file may take."""
    if need_bytes > most_bytes(file_bytes):
        raise error(
            f"{place} needs {need_bytes / 2**20:.0f} MB of memory",
            expected=f"at most {most_bytes(file_bytes) / 2**20:.0f} MB: {RAISE}",
        )


def check_people(place: str, count: int, *, error: type[PoseEdgeError] = ArtefactError) -> None:
    """Raise the error if there are more people in a frame than anything here is made for."""
    if count > MOST_PEOPLE:
        raise error(f"{place} has {count} people", expected=f"at most {MOST_PEOPLE} people in a frame")


def check_fps(place: str, fps: float, *, error: type[PoseEdgeError] = ArtefactError) -> float:
    """The rate; raise the error if no source has it, such as 0, nan or 1e-320, whose step is infinite."""
    if not LEAST_FPS <= fps <= MOST_FPS:
        raise error(f"{place}: fps={fps:g}", expected=f"fps from {LEAST_FPS:g} to {MOST_FPS:g}")
    return fps


def check_nodes(value: Any) -> None:
    """Raise ``ValueError`` if nested lists and dictionaries hold more than ``MOST_NODES`` values, or themselves."""
    waiting, count = [value], 0
    while waiting:
        node = waiting.pop()
        count += len(node) if isinstance(node, Mapping | list | tuple) else 0
        if count > MOST_NODES:
            raise ValueError(f"more than {MOST_NODES} values")
        if isinstance(node, Mapping):
            waiting.extend(node.values())
        elif isinstance(node, list | tuple):
            waiting.extend(node)


def check_archive(file: Path | IO[bytes]) -> None:
    """Raise an error if a zip archive would grow past the limit. zipfile reads no more than the sizes that the archive names.

    Raises:
        ArtefactError: it would.
        zipfile.BadZipFile: it is not an archive.
    """
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        packed = file.stat().st_size if isinstance(file, Path) else sum(entry.compress_size for entry in entries)
        check_bytes(str(getattr(file, "name", file)), sum(entry.file_size for entry in entries), file_bytes=packed)


def npz_names(path: Path) -> set[str]:
    """The names of an npz's arrays; the arrays themselves are not read.

    Raises:
        OSError, zipfile.BadZipFile: it is not an npz.
    """
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


@contextmanager
def npz(file: Path | IO[bytes]) -> Iterator[Any]:
    """numpy's archive of arrays, each of which is as large as its header says; without pickled objects.

    Raises:
        ArtefactError: it would take too much memory.
        ValueError, zipfile.BadZipFile: it is not an npz.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError("no npz archive")
    check_archive(file)
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(".npy"):
                with archive.open(entry) as content:
                    _check_array(content, entry)
    if not isinstance(file, Path):
        file.seek(0)
    with np.load(file, allow_pickle=False) as entries:
        yield entries


@contextmanager
def parsing(place: str, *, expected: str, error: type[PoseEdgeError] = ArtefactError, run: str | None = None) -> Iterator[None]:
    """Turn whatever reading a file throws into one error that names the file; errors of this package pass.

    Bytes that are not what they should be lead to any exception: of zlib, struct, recursion, memory. None of them tells a
    user which file it was.

    Args:
        place: the file, as the message names it.
        expected: what it should be.
        error: the class of the error.
        run: the command that writes it anew.
    """
    try:
        yield
    except PoseEdgeError:
        raise
    except Exception as fault:
        reason = str(fault).partition("\n")[0][:200] or type(fault).__name__
        if "pickle" in reason:  # numpy advises to allow them, which would execute what they name
            reason = "it holds pickled objects"
        if isinstance(fault, KeyError | AssertionError | RecursionError | MemoryError):
            reason = f"{type(fault).__name__}: {reason}"
        raise error(f"{place} cannot be read ({reason})", expected=expected, run=run) from fault


def _check_array(content: IO[bytes], entry: zipfile.ZipInfo) -> None:
    version = np.lib.format.read_magic(content)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(content)
    held, claimed = entry.file_size - content.tell(), math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and claimed != held:
        raise ValueError(f"{entry.filename} claims {claimed} bytes and holds {held}")
