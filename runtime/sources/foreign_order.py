"""When and who: the time of each picture, and the id of each person, in keypoints that another program wrote."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from ..errors import SourceError
from .foreign_json import FoundFrame, FoundKeypoints

DEFAULT_FPS = 30.0
_MOST_PICTURES = 1_000_000_000  # in a year are fewer; from here on a number is a time, since 1970
_MOST_STEP = 1000  # pictures between two that were kept: over so long a time nobody is followed
_log = logging.getLogger(__name__)


def placed_in_time(found: FoundKeypoints, fps: float | None, path: Path) -> tuple[list[tuple[float, FoundFrame]], float | None]:
    """The frames with their times in seconds, in that order, and the rate that these come from; None if the file has times.

    Args:
        found: the content of the file, or of all files of the folder.
        fps: pictures a second, as the user said; None is ``DEFAULT_FPS`` where the file has no times.
        path: of the file or folder, for messages.

    Raises:
        SourceError: most pictures have no time while some have one, or their numbers are times, and nobody said a rate.
    """
    timed = [(frame.t_s, frame) for frame in found.frames if frame.t_s is not None and math.isfinite(frame.t_s)]
    total = len(found.frames)
    if len(timed) > total / 2:
        if fps is not None:
            _log.warning("%s has times of its own: ?fps=%g is not used", path, fps)
        if len(timed) < total:
            _log.warning("%s: pictures without a time, which are left out: %d of %d", path, total - len(timed), total)
        return sorted(timed, key=lambda frame: frame[0]), None
    if timed and fps is None:
        raise SourceError(f"{path}: only {len(timed)} of {total} pictures have a time", expected="one for each, or ?fps=25")
    if timed:
        _log.warning("%s: only %d of %d pictures have a time: ?fps=%g gives all of them", path, len(timed), total, fps)
    if fps is None:
        _log.warning("%s: %s names no times; %g frames a second are assumed, else ?fps=25", path, found.program, DEFAULT_FPS)
    rate = fps or DEFAULT_FPS
    numbers = _numbers(found.frames, fps, path)
    first = min(numbers, default=0)
    placed = [((number - first) / rate, frame) for number, frame in zip(numbers, found.frames, strict=True)]
    return sorted(placed, key=lambda frame: frame[0]), rate


def _numbers(frames: Sequence[FoundFrame], fps: float | None, path: Path) -> list[int]:
    """The numbers of the pictures, or where there are none, their places one after the other."""
    places = list(range(len(frames)))
    known = sorted({frame.number for frame in frames if frame.number is not None})
    if len(known) < len(frames):
        if known or len(frames) > 1:
            _log.warning("%s: pictures with a number of their own: %d of %d; their order counts", path, len(known), len(frames))
        return places
    steps = [after - before for before, after in pairwise(known)]
    if not steps or (known[-1] < _MOST_PICTURES and median(steps) <= _MOST_STEP):
        return [frame.number for frame in frames if frame.number is not None]
    what = f"{path}: the numbers of the pictures, such as {known[0]} and {known[1]}, count no pictures: are they times?"
    if fps is None:
        raise SourceError(what, expected="?fps=25, by which the pictures follow one another in their order")
    _log.warning("%s They follow one another, by ?fps=%g", what, fps)
    return places


def ids_of(frames: Sequence[FoundFrame]) -> list[list[int]] | None:
    """The ids of everybody in each frame; None if the program did not give everybody one, so that a tracker has to.

    Where nobody is ever in company, one person is meant even if an id is missing at times: the id is then that of the picture
    before, or at the start the first one.
    """
    given = [[of.person for of in frame.people] for frame in frames]
    if all(None not in people and len(set(people)) == len(people) for people in given):
        return [[person for person in people if person is not None] for people in given]
    if any(len(people) > 1 for people in given):
        return None
    person = next((person for people in given for person in people if person is not None), 0)
    ids = list[list[int]]()
    for people in given:
        person = next((of for of in people if of is not None), person)
        ids.append([person] * len(people))
    return ids
