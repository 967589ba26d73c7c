"""The check of a network's file before a library opens it: what else it may be, in words that say what to do."""

from __future__ import annotations

from pathlib import Path

from ..errors import ArtefactError, MissingError

_HEAD_BYTES = 512
_WEB_PAGES = (b"<!doctype html", b"<html", b"<?xml")


def check_network_file(path: Path, *, expected: str, run: str | None = None) -> bytes:
    """The first bytes of a file that may be a network.

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
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if not head:
        raise ArtefactError(f"{path} is empty", expected=expected, run=run)
    if head.startswith(b"version https://git-lfs"):
        run = run or f"git lfs pull --include {path.name}"
        raise ArtefactError(f"{path} is a pointer of Git LFS, not the file itself", expected=expected, run=run)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_WEB_PAGES):
        raise ArtefactError(f"{path} is a web page, not the file that it links to", expected=expected, run=run)
    return head
