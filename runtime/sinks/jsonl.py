"""``jsonl:FILE``: one JSON object per person and frame, a line each; ``jsonl:-`` writes to stdout as they come."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TextIO

from ..artefact.atomic import AtomicFile
from ..events import Event, PoseFrame
from .base import BaseSink


class JsonLinesSink(BaseSink):
    """Poses as JSON lines.

    Args:
        path: the file, or ``-`` for stdout.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = None if str(path) == "-" else AtomicFile(Path(path))
        self._stream: TextIO | None = self._file.partial.open("w", encoding="utf-8") if self._file else sys.stdout

    def write(self, event: Event) -> None:
        """One line for each pose; stdout is flushed for each frame, so that a reader of the pipe gets it at once."""
        if self._stream is None:
            raise ValueError("the sink is closed")
        if not isinstance(event, PoseFrame):
            return
        for person in sorted(event.poses):
            self._stream.write(json.dumps(event.poses[person].to_json(), allow_nan=False, separators=(",", ":")) + "\n")
        if self._file is None:
            self._stream.flush()

    def close(self) -> None:
        if self._stream is not None and self._file is not None:
            self._stream.close()
            self._file.commit()
            self.written = self._file.path
        self._stream = None

    def abort(self) -> None:
        if self._stream is not None and self._file is not None:
            self._stream.close()
            self._file.discard()
        self._stream = None
