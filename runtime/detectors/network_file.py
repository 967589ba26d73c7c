"""The check of a network's file before a library opens it: what else it may be, in words that say what to do."""

from __future__ import annotations

from pathlib import Path

from ..errors import MissingError
from ..file_kind import check_stand_in


def check_network_file(path: Path, *, expected: str, run: str | None = None) -> None:
    """Raise an error unless a file may be a network.

    Args:
        path: the file.
        expected: what it should be, for error messages: "a MoveNet .tflite file, as in movenet:FILE".
        run: the command that brings it, if there is one.

    Raises:
        MissingError: there is no such file.
        ArtefactError: it is empty, the pointer that Git LFS leaves in its place, or a web page.
    """
    if not path.is_file():
        raise MissingError(f"no file {path}", expected=expected, run=run)
    check_stand_in(path, expected=expected, run=run)
