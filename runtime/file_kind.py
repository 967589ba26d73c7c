"""What stands in place of a file: a pointer of Git LFS, a web page, the body of an error, nothing at all.

Such a file has the right name, and the library that opens it would complain of its own format. Every reader of a user's file
asks here first.
"""

from __future__ import annotations

import codecs
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from .errors import ArtefactError, PoseEdgeError

_HEAD_BYTES = 512
_POINTER = "a Git LFS pointer"
_LFS = re.compile(r"version https?://(git-lfs|hawser)\.github\.com/spec")
_ANNEX = re.compile(r"(\.\./)*(\.git)?/?annex/objects/")
_WEB_PAGE = re.compile(r"(<!--.*?-->\s*)*<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_XML_ERROR = re.compile(r"(<\?xml[^>]*>\s*)?<error\b", re.IGNORECASE)
_XML = re.compile(r"<\?xml\b", re.IGNORECASE)
_JSON = re.compile(r"[{\[]\s*([\"{\[\]}]|$)")
_JSON_ERROR = re.compile(r'\{\s*"(error|errors|message|detail|status|code|statusCode|documentation_url)"\s*:', re.IGNORECASE)
_STATUS = re.compile(
    r"(HTTP/\S+ )?[45]\d\d:? [A-Za-z][A-Za-z -]*$|(Not Found|Forbidden|Unauthorized|Access Denied)\W*$", re.IGNORECASE
)
_SIGNATURES = (  # of files that a user may have renamed
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip archive, not unpacked"),
    (b"BZh", "a bzip2 archive, not unpacked"),
    (b"\xfd7zXZ", "an xz archive, not unpacked"),
    (b"7z\xbc\xaf", "a 7z archive, not unpacked"),
    (b"Rar!", "a rar archive, not unpacked"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"\x89HDF", "an HDF5 file"),
)


@dataclass(frozen=True)
class StandIn:
    """What a file is instead of what its name says.

    Args:
        noun: "a web page".
        run: the command that brings the file itself, if that is known.
    """

    noun: str
    run: str | None = None


def find_stand_in(path: Path, *, text: bool = False, pictures: bool = False) -> StandIn | None:
    """What stands in the place of a file, None if it may be the file itself.

    Args:
        path: an existing file.
        text: whether the file is meant to be text; JSON, XML and other texts stand in for binary files only.
        pictures: whether a picture will do.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if not head:
        return StandIn("empty")
    if not head.strip(b"\0 \t\r\n") and not (text and len(head) == _HEAD_BYTES):
        return StandIn("blank: it starts with zeros or spaces alone")
    words = _decode(head).lstrip("\ufeff \t\r\n")
    if _LFS.match(words):
        return StandIn(_POINTER, f"git lfs pull --include {shlex.quote(path.name)}")
    if _ANNEX.match(words):
        return StandIn("a git-annex pointer", f"git annex get {shlex.quote(str(path))}")
    if _WEB_PAGE.match(words):
        return StandIn("a web page")
    if _XML_ERROR.match(words) or _JSON_ERROR.match(words):
        return StandIn("a server's error message")
    if len(head) < _HEAD_BYTES and _STATUS.match(words.strip()):
        return StandIn(f"a server's error message ({words.strip()})")
    for signature, noun in _SIGNATURES:
        if head.startswith(signature) and not (pictures and noun.endswith("picture")):
            return StandIn(noun)
    if text:
        return None
    if _XML.match(words):
        return StandIn("a web page or another XML text")
    return StandIn("a JSON text") if _JSON.match(words) and _printable(words) else None


def check_stand_in(
    path: Path,
    *,
    expected: str,
    run: str | None = None,
    text: bool = False,
    pictures: bool = False,
    error: type[PoseEdgeError] = ArtefactError,
) -> None:
    """Raise an error where another thing stands in the place of a file.

    Args:
        path: an existing file.
        expected: what it should be, for the message: "an npz".
        run: the command that brings it, if there is one.
        text: whether the file is meant to be text.
        pictures: whether a picture will do.
        error: the class of the error.
    """
    stand_in = find_stand_in(path, text=text, pictures=pictures)
    if stand_in is None:
        return
    ends = {_POINTER: ", not the file itself", "a web page": ", not the file that it links to", "empty": ""}
    what = f"{path} is {stand_in.noun}{ends.get(stand_in.noun, ', not the file')}"
    raise error(what, expected=expected, run=run or stand_in.run)


def _decode(head: bytes) -> str:
    """The text of a file's first bytes, whose last character may be cut."""
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return head.decode("utf-16" if wide else "utf-8", errors="replace")


def _printable(words: str) -> bool:
    return all(character.isprintable() or character in "\r\n\t" for character in words.rstrip("\ufffd"))
