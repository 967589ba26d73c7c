"""``jsonl:FILE``: one JSON object per person and frame, a line each, written as they come; ``jsonl:-`` is stdout."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from pathlib import Path
from typing import TextIO
from urllib.parse import parse_qsl

from ..errors import MissingError, UsageError
from ..events import Event, PoseFrame
from .base import BaseSink

FLUSH_S = 1.0
"""What a crash loses at most."""

_OPTIONS = ("append", "rotate_mb", "rotate_s")


class JsonLinesSink(BaseSink):
    """Poses as JSON lines, in the file from the first pose on, so that a crash loses a second at most.

    A file that is there is overwritten by the first pose, or at the end, not before. Devices, named pipes and what links point
    to are written to, never replaced; a pipe is flushed for each frame, so that its reader gets it at once.

    Args:
        location: the file, or ``-`` for stdout, with options behind a ``?``: ``append=1`` goes on at the end of a file,
            ``rotate_mb=100`` and ``rotate_s=3600`` move a file that is as large, or as old, to ``FILE.1``, ``FILE.2`` ...,
            and begin anew.

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
            _check_writable(self._path)
        self._at_once = self._path is None or (self._path.exists() and not self._path.is_file())

    def write(self, event: Event) -> None:
        """One line for each pose; other events are not written."""
        if self._closed:
            raise ValueError("the sink is closed")
        if not isinstance(event, PoseFrame) or not event.poses:
            return
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
        if not self._closed and self.written is None and not self._at_once:
            self._opened()
        self.abort()

    def abort(self) -> None:
        """Keep the lines so far, which are complete."""
        if self._stream is not None and self._path is not None:
            self._stream.close()
        self._stream, self._closed = None, True

    def _opened(self) -> TextIO:
        if self._stream is None:
            if self._path is None:
                self._stream = sys.stdout
            else:
                self._stream = self._path.open("a" if self._append else "w", encoding="utf-8")
                self.written = self._path
                if self._append and not _ends_with_a_line(self._path):
                    self._stream.write("\n")  # what a crash left is a line of its own, and costs no other
            self._opened_s = self._flushed_s = time.monotonic()
        return self._stream

    def _flush(self, stream: TextIO) -> None:
        try:
            stream.flush()
        except BrokenPipeError:
            if self._path is None:  # Python flushes stdout once more at its end
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
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


def _check_writable(path: Path) -> None:
    """Raise an error if nothing can be written there; nothing is changed, and a pipe without a reader is not waited for."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder", expected="a file to write")
    if not path.parent.is_dir():
        raise MissingError(f"no folder {path.parent}", run=f"mkdir -p {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise MissingError(f"{path} cannot be written to", expected="a file or a folder with write permission")


def _ends_with_a_line(path: Path) -> bool:
    if not stat.S_ISREG(path.stat().st_mode) or path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
