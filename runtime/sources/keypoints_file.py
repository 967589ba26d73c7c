"""``kpts:FILE.npz``: recorded keypoints.

The file holds ``keypoints`` (T, 17, 3) or (T, P, 17, 3), x, y, score (or without the score), and may hold ``t_s`` (T,),
``fps``, ``layout`` (``h36m17`` or ``coco17``), ``units`` (``normalised``, or ``pixels`` with ``width_px`` and
``height_px``) and ``truth_m``, shaped as the keypoints. Numbers that are not finite are yielded as they are: the stream
refuses them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import F32
from ..artefact.atomic import AtomicFile
from ..bounds import check_fps, check_people, npz, parsing
from ..errors import FrameError, SourceError
from ..file_kind import check_stand_in
from ..pose.keypoints import ImageSize, Keypoints
from ..pose.skeleton import COCO17, H36M17, SKELETONS
from ..registry import suggest
from .base import BaseSource, People, SourceInfo
from .keypoint_doubts import check_entries, check_recorded

DEFAULT_FPS = 50.0
Layout = Literal["h36m17", "coco17"]
Units = Literal["normalised", "pixels"]
_KEYS = ("keypoints", "t_s", "fps", "layout", "units", "width_px", "height_px", "truth_m")
_OTHER_SKELETONS = {  # number of joints -> whose they are, and the way on
    18: ("OpenPose's COCO model", "OpenPose's JSON as kpts:FOLDER, which is converted"),
    25: ("OpenPose's BODY_25", "OpenPose's JSON as kpts:FOLDER, which is converted"),
    26: ("Halpe, as of AlphaPose", "the first 17 of Halpe, which are COCO's, with layout 'coco17'"),
    33: ("MediaPipe", "MediaPipe's landmarks as kpts:FILE.json, which are converted"),
    133: ("COCO-WholeBody", "the first 17 of COCO-WholeBody, which are COCO's, with layout 'coco17'"),
    136: ("Halpe with face and hands", "the first 17 of Halpe, which are COCO's, with layout 'coco17'"),
}
_SHORT = {"px": "pixels", "coco": COCO17.name, "h36m": H36M17.name}


class KeypointsFileSource(BaseSource):
    """People of a ``.npz`` file, with ids 0, 1 ... in the order of the file.

    Args:
        path: the file.
        frames: at most so many frames, None for all.
    """

    checked = True

    def __init__(self, path: str | Path, *, frames: int | None = None) -> None:
        self.path = Path(path)
        entries = _read(self.path)
        self._skeleton = SKELETONS[_word(entries, "layout", (H36M17.name, COCO17.name), self.path)]
        units = _word(entries, "units", ("normalised", "pixels"), self.path)
        points = _people(entries["keypoints"], "keypoints", (2, 3), self.path)  # (T, P, 17, 2 or 3)
        if points.shape[-1] == 2:
            points = np.concatenate([points, np.ones_like(points[..., :1])], -1)
        self._points = points
        self._size: ImageSize | None = None
        if units == "pixels":
            self._size = ImageSize(*(_scalar(entries, name, self.path) for name in ("width_px", "height_px")))
        self._truth_m = _people(entries["truth_m"], "truth_m", (3,), self.path) if "truth_m" in entries else None
        if self._truth_m is not None and self._truth_m.shape[:2] != points.shape[:2]:
            raise FrameError(
                f"{self.path}: truth_m has (frames, people) {self._truth_m.shape[:2]}", expected=f"{points.shape[:2]}"
            )
        fps = _scalar(entries, "fps", self.path) if "fps" in entries else DEFAULT_FPS
        check_fps(str(self.path), fps, error=SourceError)
        self._t_s = np.asarray(entries["t_s"], np.float64) if "t_s" in entries else np.arange(len(points)) / fps
        if self._t_s.shape != (len(points),):
            raise FrameError(f"{self.path}: t_s has shape {self._t_s.shape}", expected=f"({len(points)},)")
        check_recorded(self.path, points, self._t_s, self._skeleton, self._size)
        self._fps = fps if "fps" in entries or "t_s" not in entries else None
        self._frames = len(points) if frames is None else min(frames, len(points))

    @property
    def info(self) -> SourceInfo:
        return SourceInfo(str(self.path), fps=self._fps, frames=self._frames)

    def __iter__(self) -> Iterator[People]:
        for i in range(self._frames):
            yield People(
                t_s=float(self._t_s[i]),
                keypoints={
                    person: Keypoints(points, self._skeleton, self._size) for person, points in enumerate(self._points[i])
                },
                truth_m=None if self._truth_m is None else dict(enumerate(self._truth_m[i])),
            )


def save_keypoints(
    path: str | Path,
    *,
    keypoints: ArrayLike,
    t_s: ArrayLike | None = None,
    fps: float | None = None,
    layout: Layout = "h36m17",
    units: Units = "normalised",
    width_px: float | None = None,
    height_px: float | None = None,
    truth_m: ArrayLike | None = None,
) -> None:
    """Write a file that ``kpts:FILE.npz`` reads back; the arguments are the file's entries."""
    file = Path(path)
    entries: dict[str, Any] = {
        "keypoints": _numbers(np.asarray(keypoints), "keypoints", (2, 3), file),
        "t_s": None if t_s is None else np.asarray(t_s, np.float64),
        "fps": fps,
        "layout": layout,
        "units": units,
        "width_px": width_px,
        "height_px": height_px,
        "truth_m": None if truth_m is None else _numbers(np.asarray(truth_m), "truth_m", (3,), file),
    }
    if units == "pixels" and (width_px is None or height_px is None):
        raise FrameError("keypoints in pixels without the size of the image", expected="width_px and height_px")
    draft = AtomicFile(file)
    with draft.committing(), draft.partial.open("wb") as stream:  # an open file, since numpy appends .npz to a name
        np.savez_compressed(stream, **{name: value for name, value in entries.items() if value is not None})


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The file's arrays. Pickled objects are refused, since loading them could run code."""
    if not path.is_file():
        neighbours = {file.name: str(file) for file in path.parent.glob("*.npz")}
        suggestion = suggest(path.name, neighbours, forms=neighbours)
        raise SourceError(f"no file {path}{suggestion}", expected="an .npz file with 'keypoints' (T, 17, 3)")
    check_stand_in(path, expected="an .npz file with 'keypoints' (T, 17, 3)", error=SourceError)
    with path.open("rb") as file:
        if file.read(6) == np.lib.format.MAGIC_PREFIX:
            raise SourceError(f"{path} holds one bare array", expected="an .npz file with 'keypoints' (T, 17, 3)")
    with parsing(str(path), expected="an .npz file of plain numbers", error=SourceError), npz(path) as archive:
        check_entries(path, archive.files, _KEYS)
        return {name: archive[name] for name in archive.files if name in _KEYS}


def _people(values: NDArray[Any], name: str, channels: tuple[int, ...], path: Path) -> F32:
    """(T, 17, C) or (T, P, 17, C) as float32 (T, P, 17, C)."""
    numbers = _numbers(values, name, channels, path)
    if values.ndim == 4:
        check_people(str(path), values.shape[1], error=SourceError)
    return numbers if values.ndim == 4 else numbers[:, None]


def _numbers(values: NDArray[Any], name: str, channels: tuple[int, ...], path: Path) -> F32:
    """(T, 17, C) or (T, P, 17, C) as float32, checked."""
    expected = " or ".join(f"{shape}{c})" for c in channels for shape in ("(T, 17, ", "(T, P, 17, "))
    if values.dtype.kind not in "fiu":
        raise FrameError(f"{path}: {name} is of type {values.dtype}", expected="numbers")
    if values.ndim not in (3, 4) or values.shape[-1] not in channels or len(values) == 0:
        raise FrameError(f"{path}: {name} has shape {values.shape}", expected=expected)
    if values.shape[-2] != len(H36M17):
        meant = _OTHER_SKELETONS.get(values.shape[-2])
        way_on = f"{meant[1]}, " if meant else ""
        whose = f", those of {meant[0]}?" if meant else ""
        raise FrameError(
            f"{path}: {name} has {values.shape[-2]} joints: {values.shape}{whose}", expected=f"{way_on}17 joints, {expected}"
        )
    with np.errstate(over="ignore"):  # what is past float32 is infinite, and refused as such
        return values.astype(np.float32)


def _word(entries: dict[str, NDArray[Any]], name: str, allowed: tuple[str, ...], path: Path) -> str:
    """One of the known words; the first of them if the file has no such entry."""
    with parsing(f"{path}: {name}", expected=" or ".join(allowed), error=SourceError):  # of bytes that are no Unicode
        word = str(entries[name]) if name in entries else allowed[0]
        if word in allowed:
            return word
        words = {short: long for short, long in _SHORT.items() if long in allowed} | {long: long for long in allowed}
        meant = suggest(word.lower(), words, forms=words)
    raise SourceError(f"{path}: {name} is {word!r}{meant}", expected=" or ".join(allowed))


def _scalar(entries: dict[str, NDArray[Any]], name: str, path: Path) -> float:
    """A positive number."""
    if name not in entries:
        raise SourceError(f"{path} has no '{name}'", expected="width_px and height_px beside keypoints in pixels")
    value = entries[name]
    if value.size != 1 or value.dtype.kind not in "fiu" or not (np.isfinite(value).all() and float(value.reshape(())) > 0):
        raise SourceError(f"{path}: {name} is {value.tolist()}", expected="one positive number")
    return float(value.reshape(()))
