"""Which clips an archive has: files, folders, patterns and URIs to clips, each with a name that its result will have."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..command_line import command_line
from ..errors import MissingError, SourceError, UsageError
from ..sources import image_files, video
from ..sources.image_files import natural_order
from ..sources.redaction import redacted
from ..sources.uri import SOURCES, split_uri
from .pose_file import SUFFIX

KEYPOINT_SUFFIXES = {".npz": "kpts", ".json": "kpts", ".jsonl": "jsonl", ".mcap": "mcap"}
"""Suffix -> scheme of the source that reads it."""

CLIPS = "keypoints (.npz, .json, .jsonl, .mcap) and videos"
_NO_FILES = ("synthetic", "camera", "v4l2", "rtsp", "csi", "lavfi")  # they have no end, or cannot be read a second time
_PICTURE_SCHEMES = ("video", "images", "mcap")
_ONE_FOR_EACH_PICTURE = re.compile(r"_keypoints\.json$")  # as OpenPose writes: the folder is the clip
_MOST_NAMED = 10  # of what is missing
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Clip:
    """A recorded clip.

    Args:
        source: its URI, which ``open_source`` opens, with an absolute path.
        path: the file or the folder that holds it.
        name: of its result, relative to the folder of results and without the ending: below an input folder as the clip lies
            there.
        may_have_pictures: whether a detector may be needed.
    """

    source: str
    path: Path
    name: PurePath
    may_have_pictures: bool


def find_clips(inputs: Sequence[str]) -> list[Clip]:
    """The clips that the inputs name, in the order of the inputs; within a folder in the natural order of their names.

    An input is a file of keypoints or a video; a folder, in which such files are looked for at any depth; a pattern such as
    ``"clips/*/walk*.mp4"``; or a URI, as ``kpts:FOLDER`` for one clip in many files. A clip that is named twice is one. Hidden
    files, and results of an archive, are no clips.

    Raises:
        MissingError: an input does not exist, a pattern matches nothing, or a folder cannot be read; all of them are named.
        UsageError: a file that is no clip, a folder without one, or a source that is no recording.
    """
    clips, absent = dict[str, Clip](), list[str]()
    for text in inputs:
        try:
            for clip in _clips(text):
                clips.setdefault(clip.source, clip)
        except SourceError as error:
            absent.append(error.what)
    if absent:
        others = f" and {len(absent) - _MOST_NAMED} more" if len(absent) > _MOST_NAMED else ""
        raise MissingError("; ".join(absent[:_MOST_NAMED]) + others, expected=f"files, folders or patterns of {CLIPS}")
    if not clips:
        raise UsageError("no clips are named", expected=f"files, folders or patterns of {CLIPS}")
    return list(clips.values())


def _clips(text: str) -> Iterator[Clip]:
    path = Path(text)
    if path.is_dir():
        yield from _in_folder(path, root=path)
    elif path.exists():
        clip = _of_file(path, root=path.parent)
        if clip is None:
            raise UsageError(f"{text} is no clip that is known by its name", expected=f"files of {CLIPS}, or SCHEME:FILE")
        yield clip
    elif (named := split_uri(text))[0] in SOURCES and ":" in text:
        yield _of_uri(text, *named)
    elif _WILD.search(text):
        yield from _matching(text)
    else:
        raise SourceError(f"no file or folder {redacted(text)}")


def _in_folder(folder: Path, *, root: Path) -> Iterator[Clip]:
    """The clips below a folder.

    Raises:
        UsageError: there is none.
        SourceError: a folder cannot be read.
    """
    found, pictures = 0, False

    def fail(error: OSError) -> None:
        raise SourceError(f"the folder {error.filename} cannot be read ({error.strerror})")

    for place, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=lambda name: natural_order(Path(name)))
        if any(_ONE_FOR_EACH_PICTURE.search(name) for name in files):
            found += 1
            yield _clip("kpts", Path(place), root=root)
            files = [name for name in files if not name.endswith(".json")]
        for name in sorted(files, key=lambda name: natural_order(Path(name))):
            clip = _of_file(Path(place, name), root=root)
            pictures |= Path(name).suffix.lower() in image_files.SUFFIXES
            if clip is not None:
                found += 1
                yield clip
    if not found:
        instead = f"; its pictures are one clip as images:{folder}" if pictures else ""
        raise UsageError(f"no clips in the folder {folder}{instead}", expected=f"a folder with {CLIPS}")


def _matching(pattern: str) -> Iterator[Clip]:
    """The clips that match a pattern. What else matches is left out, unless there is no clip at all."""
    fixed = Path(_WILD.split(pattern)[0] + "*").parent
    matches = sorted(map(Path, glob.glob(pattern, recursive=True)), key=_natural_path)  # noqa: PTH207  (Path.glob takes no absolute pattern)
    if not matches:
        raise SourceError(f"nothing matches {pattern}")
    found = 0
    for match in matches:
        if match.is_dir():
            try:
                for clip in _in_folder(match, root=fixed):
                    found += 1
                    yield clip
            except UsageError:
                continue
        elif (matched := _of_file(match, root=fixed)) is not None:
            found += 1
            yield matched
    if not found:
        raise UsageError(f"none of the {len(matches)} files and folders that match {pattern} is a clip", expected=CLIPS)


def _of_file(path: Path, *, root: Path) -> Clip | None:
    """The clip in a file; None if it is none by its name."""
    if path.name.startswith(".") or path.name.endswith(tuple(SUFFIX.values())):
        return None
    suffix = path.suffix.lower()
    if suffix in video.SUFFIXES:
        return _clip("video", path, root=root)
    return _clip(KEYPOINT_SUFFIXES[suffix], path, root=root) if suffix in KEYPOINT_SUFFIXES else None


def _of_uri(text: str, scheme: str, location: str) -> Clip:
    if scheme in _NO_FILES or location == "-":
        raise UsageError(
            f"{redacted(text)} is no recording", expected=f"files of {CLIPS}", run=command_line("run", redacted(text))
        )
    for separator in ("\0", "#", "?"):  # first the whole location: a name may contain the others
        name, mark, rest = location.partition(separator)
        if Path(name).exists():
            return _clip(scheme, Path(name), root=Path(name).absolute().parent, rest=mark + rest)
    raise SourceError(f"no file or folder {location} of {scheme}:")


def _natural_path(path: Path) -> list[list[tuple[int, int, str]]]:
    """The key that sorts paths folder by folder in the natural order of names."""
    return [natural_order(Path(part)) for part in path.parts]


def _clip(scheme: str, path: Path, *, root: Path, rest: str = "") -> Clip:
    full = path.absolute()
    source = f"{full}{rest}" if scheme == "video" else f"{scheme}:{full}{rest}"
    name = full.relative_to(root.absolute())
    return Clip(source, full, name if name.parts else PurePath(full.name), scheme in _PICTURE_SCHEMES)
