"""``jsonl:-`` and ``jsonl:FILE``: keypoints that another program finds, one JSON object a line."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..bounds import check_people, parsing
from ..errors import FrameError, PoseEdgeError, SourceError
from ..file_kind import check_stand_in
from ..pose.keypoints import ImageSize, Keypoints
from ..pose.skeleton import COCO17, H36M17, Skeleton
from ..registry import suggest
from .base import BaseSource, People, SourceInfo

_SKELETONS = {skeleton.name: skeleton for skeleton in (COCO17, H36M17)}
_KEYS = ("t_s", "people", "width_px", "height_px", "skeleton")
_MOST_BYTES = 1 << 20  # of a line: a hundred people have about 50 kB
_MOST_DIGITS = 18  # of an id, which others keep in 64 bits
_MOST_WARNINGS = 10
_EXPECTED = '{"t_s": 0.02, "people": {"0": [[x, y, score], ... 17]}, "width_px": 640, "height_px": 480, "skeleton": "coco17"}'

_log = logging.getLogger(__name__)


class JsonLinesSource(BaseSource):
    """People of lines of JSON.

    A line has ``t_s``, and ``people``: id -> 17 times x, y, score. ``width_px`` and ``height_px`` are the size of the
    picture; without them x and y are normalised. ``skeleton`` is ``coco17`` (the default) or ``h36m17``. A line that is not
    such an object is left out with a warning in the log, and so is one of its people whose keypoints are not 17 times three
    numbers; an empty line is skipped. ``null`` is a number that is not known, for which the stream refuses that person's frame.

    Args:
        path: the file, or ``-`` for the standard input, where arrival times are noted.
        frames: at most so many frames, None for all.

    Attributes:
        refused: lines that were left out.
        refused_people: people of other lines who were left out.
    """

    def __init__(self, path: str | Path, *, frames: int | None = None) -> None:
        self.path, self._max_frames = Path(path), frames
        self._stdin = str(path) == "-"
        self.name = "standard input" if self._stdin else str(path)
        self.refused = self.refused_people = 0
        if not self._stdin and not self.path.exists():
            raise SourceError(f"no file {self.name}", expected="lines of JSON, or - for the standard input")

    @property
    def info(self) -> SourceInfo:
        return SourceInfo(self.name, frames=self._max_frames)

    def __iter__(self) -> Iterator[People]:
        self.refused = self.refused_people = given = number = 0
        try:
            with nullcontext(sys.stdin.buffer) if self._stdin else self.path.open("rb") as stream:
                for number, line in _lines(stream):
                    if self._max_frames is not None and given >= self._max_frames:
                        return
                    try:
                        people, faults = _checked_people(line, arrived_s=time.monotonic() if self._stdin else None)
                    except PoseEdgeError as error:
                        self.refused += 1
                        self._warn(f"line {number} is left out", error)
                        continue
                    for fault in faults:  # they cost the others in the line nothing
                        self.refused_people += 1
                        self._warn(f"a person in line {number} is left out", fault)
                    given += 1
                    yield people
        except OSError as error:
            raise SourceError(f"{self.name} cannot be read: {error.strerror}") from None
        if self.refused:
            _log.warning("%s: %d of %d lines were left out", self.name, self.refused, number)
        if self.refused_people:
            _log.warning("%s: people of other lines who were left out: %d", self.name, self.refused_people)
        if not given:
            if not self._stdin:
                check_stand_in(self.path, expected=_EXPECTED, text=True, error=SourceError)
            raise SourceError(f"{self.name} has no keypoints in {number} lines", expected=_EXPECTED)

    def _warn(self, what: str, error: PoseEdgeError) -> None:
        if self.refused + self.refused_people <= _MOST_WARNINGS:
            _log.warning("%s: %s: %s", self.name, what, error)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Number, from 1, and text of the lines that are not empty. What is longer than a line may be is cut off."""
    number = 0
    while line := stream.readline(_MOST_BYTES):
        number += 1
        rest = line
        while len(rest) == _MOST_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(_MOST_BYTES)
        if line.strip():
            yield number, line


def _checked_people(line: bytes, *, arrived_s: float | None) -> tuple[People, list[FrameError]]:
    with parsing("the line", expected=_EXPECTED, error=FrameError):
        return _people(line, arrived_s=arrived_s)


def _people(line: bytes, *, arrived_s: float | None) -> tuple[People, list[FrameError]]:
    """The people of a line, and what is wrong with those who are left out; a ``FrameError`` if nobody is left."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON ({type(error).__name__})", expected=_EXPECTED) from None
    if not isinstance(record, dict):
        raise FrameError(f"a {type(record).__name__}", expected=_EXPECTED)
    for key in record:
        if key not in _KEYS:
            raise FrameError(f"the entry {key!r}{suggest(key, _KEYS)}", expected=", ".join(_KEYS))
    name = record.get("skeleton", COCO17.name)
    if not isinstance(name, str) or name not in _SKELETONS:
        raise FrameError(f"the skeleton {name!r}", expected=" or ".join(_SKELETONS))
    if not isinstance(record.get("people"), dict):
        raise FrameError("no people", expected='"people": {"0": [[x, y, score], ... 17]}')
    size = None
    if "width_px" in record or "height_px" in record:
        size = ImageSize(_number(record, "width_px"), _number(record, "height_px"))
    check_people("the line", len(record["people"]), error=FrameError)
    keypoints, faults = dict[int, Keypoints](), list[FrameError]()
    for person, points in record["people"].items():
        try:
            keypoints[_id(person)] = _keypoints(points, _SKELETONS[name], size)
        except FrameError as error:
            faults.append(FrameError(f"the person {person[:_MOST_DIGITS]!r} has {error.what}", expected=error.expected))
    if faults and not keypoints:
        raise faults[0]
    return People(_number(record, "t_s"), keypoints, arrived_s=arrived_s), faults


def _id(person: str) -> int:
    if len(person) > _MOST_DIGITS or not (person.isdecimal() and str(int(person)) == person):
        raise FrameError("an id that is none", expected=f"a whole number of at most {_MOST_DIGITS} digits")
    return int(person)


def _keypoints(points: Any, skeleton: Skeleton, size: ImageSize | None) -> Keypoints:
    expected = "17 times [x, y, score]"
    try:
        array = np.array(points)
        if array.dtype.kind == "O" and array.ndim == 2:  # null, or a whole number past 64 bits
            array = np.array([[math.nan if number is None else number for number in row] for row in array])
    except ValueError:  # rows of different lengths
        raise FrameError("keypoints of no shape", expected=expected) from None
    if array.dtype.kind not in "fiu":
        raise FrameError("keypoints that are not numbers", expected=expected)
    return Keypoints(array.astype(np.float64), skeleton, size)


def _number(record: dict[str, Any], key: str) -> float:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300 or not math.isfinite(value):
        raise FrameError(f"{key} is {value!r}", expected="a number")
    return float(value)
