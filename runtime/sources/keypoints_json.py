"""``kpts:FILE.json`` and ``kpts:FOLDER``: keypoints that another program wrote, as it writes them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from ..bounds import check_bytes, check_fps, check_people, parsing
from ..detectors.base import Detection
from ..errors import FrameError, SourceError, UsageError
from ..file_kind import check_stand_in
from ..pose.keypoints import ImageSize, Keypoints
from ..pose.skeleton import COCO17
from ..registry import suggest
from ..tracking import open_tracker
from .base import BaseSource, People, SourceInfo
from .foreign_json import FORMS, FoundFrame, FoundKeypoints, found_keypoints, found_picture
from .foreign_order import ids_of, placed_in_time
from .image_files import natural_order
from .keypoint_doubts import judge, keypoint_doubts, time_doubts
from .keypoints_file import KeypointsFileSource

_LARGEST = float(np.finfo(np.float32).max)
_NOT_FINITE = "a number that is not finite"
_FINITE = "finite numbers; a joint that was not seen is (0, 0, 0)"
_GROWTH = 8  # of JSON, in memory
_OPTIONS = ("width", "height", "fps")
_log = logging.getLogger(__name__)


class KeypointsJsonSource(BaseSource):
    """People of a ``.json`` file, or of a folder with one for each picture, in COCO's joints.

    Ids are the program's if it tracked; else those of the tracker ``oks``, as of a detector's people.

    Args:
        path: the file, or the folder.
        size: of the pictures. The files seldom say.
        fps: pictures a second, for files that name no times.
        frames: at most so many frames, None for all.

    Raises:
        SourceError: there is no such file, it has no known form, or the size of the pictures is not known.
        UsageError: no source has that many pictures a second.
    """

    checked = True

    def __init__(
        self, path: str | Path, *, size: ImageSize | None = None, fps: float | None = None, frames: int | None = None
    ) -> None:
        self.path = Path(path)
        if fps is not None:
            check_fps(str(path), fps, error=UsageError)
        self._files = _json_files(self.path)
        found = _read(self.path, self._files)
        self._frames, self._fps = placed_in_time(found, fps, self.path)
        self._keypoints = [_keypoints(frame, size, found, self.path) for _, frame in self._frames]
        everybody = [of for people in self._keypoints for of in people]
        if not everybody:
            count = len(self._frames)
            raise SourceError(f"{self.path} has nobody in {count} picture{'s' * (count != 1)}", expected=FORMS)
        broken = sum(not _is_finite(of) for of in everybody)
        if broken > len(everybody) / 2:  # a few cost a person a frame each
            raise SourceError(f"{self.path}: {broken} of {len(everybody)} times a person has {_NOT_FINITE}", expected=_FINITE)
        times = np.array([t_s for t_s, _ in self._frames])
        judge(self.path, (*keypoint_doubts(everybody), *time_doubts(times)))
        self._frames = self._frames[:frames]

    @property
    def info(self) -> SourceInfo:
        return SourceInfo(str(self.path), fps=self._fps, frames=len(self._frames))

    @property
    def files(self) -> Sequence[Path]:
        return self._files

    def __iter__(self) -> Iterator[People]:
        ids = ids_of([frame for _, frame in self._frames])
        if ids is None and any(of.person is not None for _, frame in self._frames for of in frame.people):
            _log.warning("%s: not everybody has an id of their own: the ids are ignored, and people are tracked", self.path)
        tracker = open_tracker() if ids is None else None
        broken = 0
        for index, ((t_s, _), keypoints) in enumerate(zip(self._frames, self._keypoints, strict=False)):
            if ids is not None:
                yield People(t_s, dict(zip(ids[index], keypoints, strict=True)))
                continue
            whole = [of for of in keypoints if _is_finite(of)]
            broken += len(keypoints) - len(whole)
            assert tracker is not None
            found = tracker.update([_detection(of) for of in whole if (of.score > 0).any()], t_s=t_s)
            yield People(t_s, {person: of.keypoints for person, of in found.items()})
        if broken:
            _log.warning("%s: times that a person has %s, and is left out there: %d", self.path, _NOT_FINITE, broken)


def _is_finite(keypoints: Keypoints) -> bool:
    """Whether all numbers are, also as float32; the comparison is false for nan."""
    return bool((np.abs(keypoints.points) <= _LARGEST).all())


def _detection(keypoints: Keypoints) -> Detection:
    """What a tracker takes. The score is the joints', at most 1: programs mean different things by a person's."""
    assert keypoints.size is not None, "the keypoints of these files are in pixels"
    score = np.minimum(keypoints.score[keypoints.score > 0].mean(), 1)
    return Detection.from_coco(keypoints.points, size=keypoints.size, score=float(score))


def open_keypoints(location: str, *, frames: int | None) -> KeypointsFileSource | KeypointsJsonSource:
    """``FILE.npz``, or ``FILE.json`` or ``FOLDER``, which may say ``?width=1920&height=1080&fps=25``"""
    path, mark, query = location.partition("?")
    if Path(location).exists() or not mark:
        path, query = location, ""
    if not (Path(path).is_dir() or Path(path).suffix.lower() == ".json"):
        return KeypointsFileSource(location, frames=frames)
    options = dict[str, float]()
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in _OPTIONS:
            raise UsageError(f"keypoints have no option {key!r}{suggest(key, _OPTIONS)}", expected=", ".join(_OPTIONS))
        try:
            options[key] = float(text)
        except ValueError:
            raise UsageError(f"{key}={text} of {path}", expected=f"{key}=a number") from None
        if key != "fps" and not 0 < options[key] < float("inf"):
            raise UsageError(f"{key}={text} of {path}", expected=f"{key}=a number above 0")
    if ("width" in options) != ("height" in options):
        raise UsageError(f"one of width and height of {path}", expected="both: ?width=1920&height=1080")
    size = ImageSize(options["width"], options["height"]) if "width" in options else None
    return KeypointsJsonSource(path, size=size, fps=options.get("fps"), frames=frames)


def _json_files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted((file for file in path.glob("*.json") if not file.name.startswith(".")), key=natural_order)
        if not files:
            raise SourceError(
                f"no .json file in the folder {path}", expected="OpenPose's or MMPose's folder, a file for each picture"
            )
        return files
    if not path.is_file():
        neighbours = {file.name: str(file) for file in path.parent.glob("*.json")}
        raise SourceError(f"no file {path}{suggest(path.name, neighbours, forms=neighbours)}", expected=FORMS)
    check_stand_in(path, expected=FORMS, text=True, error=SourceError)
    return [path]


def _read(path: Path, files: Sequence[Path]) -> FoundKeypoints:
    with parsing(str(path), expected=FORMS, error=SourceError):  # of a link that leads nowhere
        check_bytes(str(path), _GROWTH * sum(file.stat().st_size for file in files), error=SourceError)
    found = list[FoundKeypoints]()
    for file in files:
        try:
            with parsing(str(file), expected=FORMS, error=SourceError):
                found.append(found_picture(file.name, _json(file)) if path.is_dir() else found_keypoints(_json(file)))
        except FrameError as error:  # of a size that is none
            raise SourceError(f"{file}: {error.what}", expected=error.expected) from None
    return replace(found[0], frames=[frame for of in found for frame in of.frames])


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes().decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None


def _keypoints(frame: FoundFrame, size: ImageSize | None, found: FoundKeypoints, path: Path) -> list[Keypoints]:
    if not frame.people:
        return []
    size = frame.size or size
    if size is None:
        raise SourceError(
            f"{path}: {found.program} does not say how large the pictures are", expected=f"kpts:{path}?width=1920&height=1080"
        )
    check_people(str(path), len(frame.people), error=SourceError)
    unit_px = [size.width_px, size.height_px, 1] if found.shares else [1, 1, 1]
    return [Keypoints(of.points * unit_px, COCO17, size) for of in frame.people]
