"""``jsonl:FILE``: one JSON object per person and frame, a line each, written as they come; ``jsonl:-`` is stdout."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO
from urllib.parse import parse_qsl

from ..destination import check_destination, check_space, discard_descriptor, is_pipe, is_special
from ..errors import MissingError, UsageError
from ..events import Event, PoseFrame
from .base import BaseSink, RunInfo

FLUSH_S = 1.0
"""A crash loses the lines of at most so many seconds."""

READER_WITHIN_S = 30.0
"""The sink fails if nobody reads a named pipe by then."""

_LINE_BYTES = 900  # at least, of a pose

_log = logging.getLogger(__name__)

_OPTIONS = ("append", "rotate_mb", "rotate_s")


class JsonLinesSink(BaseSink):
    """Poses as JSON lines, in the file from the first pose on, so that a crash loses a second at most.

    A file that is there is overwritten by the first pose, or at the end, not before. Devices, named pipes and what links point
    to are written to, never replaced; a pipe is flushed for each frame, so that its reader gets it at once. The reader of a
    named pipe is waited for, with a word in the log. Of a disk that runs full, the lines that fitted are kept.

    Args:
        location: the file, or ``-`` for stdout, with options behind a ``?``: ``append=1`` goes on at the end of a file,
            ``rotate_mb=100`` and ``rotate_s=3600`` move a file that is as large, or as old, to ``FILE.1``, ``FILE.2`` ...,
            and start a new one.

    Raises:
        UsageError: the path is a folder, or an option is unknown or no number.
        MissingError: the path's folder does not exist, or nothing can be written there.
    """

    def __init__(self, location: str | Path) -> None:
        path, options = _parse(str(location))
        self._path = None if path == "-" else Path(path)
        self._append = bool(options.get("append"))
        self._rotate_bytes, self._rotate_s = options.get("rotate_mb", 0) * 1e6, options.get("rotate_s", 0)
        self._stream: TextIO | None = None
        self._flushed_s = self._opened_s = 0.0
        self._closed = False
        if self._path is not None:
            check_destination(self._path)
        elif sys.stdout is None:
            raise MissingError("stdout is closed", expected="a reader of jsonl:-, or a file")
        self._at_once = self._path is None or is_special(self._path)

    @property
    def path(self) -> Path | None:
        """The file; None of stdout."""
        return self._path

    def open(self, run: RunInfo) -> None:
        if self._path is not None:
            check_space(self._path, _LINE_BYTES * (run.source.frames or 0))

    def write(self, event: Event) -> None:
        """One line for each pose; other events are not written."""
        if self._closed:
            raise ValueError("the sink is closed")
        if not isinstance(event, PoseFrame) or not event.poses:
            return
        with self._failures_named():
            stream = self._opened()
            for person in sorted(event.poses):
                stream.write(json.dumps(event.poses[person].to_json(), allow_nan=False, separators=(",", ":")) + "\n")
            now_s = time.monotonic()
            if self._at_once or now_s - self._flushed_s >= FLUSH_S:
                self._flush(stream)
                self._flushed_s = now_s
            if self._is_full(stream, now_s):
                self._rotate()

    def close(self) -> None:
        """Keep the file; that of a run without poses is empty, so that nobody takes an older one for it."""
        with self._failures_named():
            if not self._closed and self.written is None and not self._at_once:
                self._opened()
            self.abort()

    def abort(self) -> None:
        """Keep the lines so far, which are complete."""
        stream, self._stream, self._closed = self._stream, None, True
        if stream is not None and self._path is not None:
            stream.close()

    def _opened(self) -> TextIO:
        if self._stream is None:
            if self._path is None:
                self._stream = sys.stdout
            elif is_pipe(self._path):
                self._stream = _pipe_with_a_reader(self._path)
                self.written = self._path
            else:
                self._stream = self._path.open("a" if self._append else "w", encoding="utf-8")
                self.written = self._path
                if self._append and not _ends_with_a_line(self._path):
                    self._stream.write("\n")  # what a crash left is a line of its own, and costs no other
            self._opened_s = self._flushed_s = time.monotonic()
        return self._stream

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        """A failure to write, of a file with its name, after which that ends with a complete line."""
        try:
            yield
        except OSError as error:
            if self._path is None:
                raise
            stream, self._stream, self._closed = self._stream, None, True
            with suppress(OSError):
                if stream is not None:
                    stream.close()  # which tries to write once more
            if not self._at_once and self.written is not None:
                _cut_behind_the_last_line(self._path)
            gone = isinstance(error, BrokenPipeError)
            raise MissingError(
                f"the reader of {self._path} is gone" if gone else f"{self._path} cannot be written to ({error.strerror})",
                expected="a reader until the end of the run" if gone else "a disk with space; the lines before are kept",
            ) from None

    def _flush(self, stream: TextIO) -> None:
        try:
            stream.flush()
        except BrokenPipeError:
            if self._path is None:
                discard_descriptor(stream.fileno())
            raise

    def _is_full(self, stream: TextIO, now_s: float) -> bool:
        if self._at_once:
            return False
        too_old = bool(self._rotate_s) and now_s - self._opened_s >= self._rotate_s
        return too_old or (bool(self._rotate_bytes) and stream.tell() >= self._rotate_bytes)

    def _rotate(self) -> None:
        assert self._stream is not None and self._path is not None, "stdout is not rotated"
        self._stream.close()
        self._stream = None
        full, number = self._path.resolve(), 1  # a link goes on to lead to the newest lines
        while (older := full.with_name(f"{full.name}.{number}")).exists():
            number += 1
        full.rename(older)


def _parse(location: str) -> tuple[str, dict[str, float]]:
    """Path and options."""
    path, mark, query = location.partition("?")
    if not mark or Path(location).exists():  # a file may have a ? in its name
        return location, {}
    options: dict[str, float] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        try:
            options[key] = float(text)
        except ValueError:
            options[key] = -1.0
        if key not in _OPTIONS or not 0 <= options[key] < float("inf"):
            raise UsageError(f"{key}={text} of jsonl:{path}", expected=", ".join(f"{name}=NUMBER" for name in _OPTIONS))
    return path, options


def _pipe_with_a_reader(path: Path) -> TextIO:
    """A named pipe, opened when somebody reads it. An ``open`` that blocks would wait for ever, and without a word."""
    until_s, told = time.monotonic() + READER_WITHIN_S, False
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        else:
            os.set_blocking(handle, True)
            return os.fdopen(handle, "w", encoding="utf-8")
        if time.monotonic() >= until_s:
            raise MissingError(f"nobody reads the pipe {path}", expected=f"a reader within {READER_WITHIN_S:g} s: cat {path}")
        if not told:
            _log.warning("waiting for a reader of the pipe %s, for %g s at most", path, READER_WITHIN_S)
            told = True
        time.sleep(0.05)  # the system tells nobody when a reader comes


def _ends_with_a_line(path: Path) -> bool:
    if not stat.S_ISREG(path.stat().st_mode) or path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _cut_behind_the_last_line(path: Path) -> None:
    """Cut off what stands behind the last complete line of a file."""
    with suppress(OSError), path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        begin = max(0, end - (1 << 20))
        file.seek(begin)
        file.truncate(begin + file.read(end - begin).rfind(b"\n") + 1)
