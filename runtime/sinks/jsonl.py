"""``jsonl:FILE``: one JSON object per person and frame, a line each; ``jsonl:-`` writes to stdout as they come."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TextIO

from ..artefact.atomic import AtomicFile
from ..pose.types import Frame, Pose
from .base import BaseSink


class JsonLinesSink(BaseSink):
    """Poses as JSON lines.

    Args:
        path: the file, or ``-`` for stdout.
    """

    def __init__(self, path: str | Path) -> None:
        self._draft = None if str(path) == "-" else AtomicFile(Path(path))
        self._file: TextIO | None = self._draft.partial.open("w", encoding="utf-8") if self._draft else sys.stdout

    def write(self, frame: Frame, poses: dict[int, Pose]) -> None:
        """One line for each pose; on stdout it is passed on at once, for whoever reads the pipe."""
        if self._file is None:
            raise ValueError("write to a sink that is closed")
        for person in sorted(poses):
            self._file.write(json.dumps(poses[person].to_json(), allow_nan=False, separators=(",", ":")) + "\n")
        if self._draft is None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None and self._draft is not None:
            self._file.close()
            self._draft.commit()
        self._file = None

    def abort(self) -> None:
        if self._file is not None and self._draft is not None:
            self._file.close()
            self._draft.discard()
        self._file = None
