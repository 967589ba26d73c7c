"""``kpts:FILE.npz``: keypoints that were found before, replayed.

The file holds ``keypoints`` (T, 17, 3) or (T, P, 17, 3), x, y, score (or without the score), and may hold ``t_s`` (T,),
``fps``, ``layout`` (``h36m17`` or ``coco17``), ``units`` (``normalised``, or ``pixels`` with ``width_px`` and
``height_px``) and ``truth_m``, shaped as the keypoints. Numbers that are not finite are yielded as they are: refusing them
is the stream's contract.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FrameError, SourceError
from ..pose.keypoints import normalise_screen
from ..pose.skeleton import COCO17, H36M17, coco_to_h36m
from ..pose.types import Frame
from ..registry import suggest
from .base import BaseSource

DEFAULT_FPS = 50.0
Layout = Literal["h36m17", "coco17"]
Units = Literal["normalised", "pixels"]
_KEYS = ("keypoints", "t_s", "fps", "layout", "units", "width_px", "height_px", "truth_m")


class KeypointsFileSource(BaseSource):
    """People of a ``.npz`` file, with ids 0, 1 ... in the file's order.

    Args:
        path: the file.
        frames: at most so many frames, None for all.
        recipe: how COCO-17 keypoints become Human3.6M-17.
    """

    def __init__(self, path: str | Path, *, frames: int | None = None, recipe: str = "coco_eyes") -> None:
        self.path = Path(path)
        data = _read(self.path)
        if "keypoints" not in data:
            raise SourceError(f"{self.path} has no 'keypoints'", expected="an array 'keypoints' (T, 17, 3)")
        layout = _word(data, "layout", ("h36m17", "coco17"), self.path)
        units = _word(data, "units", ("normalised", "pixels"), self.path)
        keypoints = _people(data["keypoints"], "keypoints", (2, 3), self.path)  # (T, P, 17, 2 or 3)
        if keypoints.shape[-1] == 2:
            keypoints = np.concatenate([keypoints, np.ones_like(keypoints[..., :1])], -1)
        if layout == COCO17.name:
            keypoints = coco_to_h36m(keypoints, recipe)
        if units == "pixels":
            size = {name: _scalar(data, name, self.path) for name in ("width_px", "height_px")}
            keypoints = normalise_screen(keypoints, **size)
        self._keypoints: NDArray[np.float32] = keypoints
        self._truth_m = _people(data["truth_m"], "truth_m", (3,), self.path) if "truth_m" in data else None
        if self._truth_m is not None and self._truth_m.shape[:2] != keypoints.shape[:2]:
            raise FrameError(
                f"{self.path}: truth_m has (frames, people) {self._truth_m.shape[:2]}", expected=f"{keypoints.shape[:2]}"
            )
        rate = _scalar(data, "fps", self.path) if "fps" in data else DEFAULT_FPS
        self._t_s = np.asarray(data["t_s"], np.float64) if "t_s" in data else np.arange(len(keypoints)) / rate
        if self._t_s.shape != (len(keypoints),):
            raise FrameError(f"{self.path}: t_s has shape {self._t_s.shape}", expected=f"({len(keypoints)},)")
        self.fps: float | None = rate if "fps" in data or "t_s" not in data else None
        self.frames: int | None = len(keypoints) if frames is None else min(frames, len(keypoints))

    def __iter__(self) -> Iterator[Frame]:
        for i in range(self.frames or 0):
            yield Frame(
                t_s=float(self._t_s[i]),
                people=dict(enumerate(self._keypoints[i])),
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
        "keypoints": _people(np.asarray(keypoints), "keypoints", (2, 3), file, keep=True),
        "t_s": None if t_s is None else np.asarray(t_s, np.float64),
        "fps": fps,
        "layout": layout,
        "units": units,
        "width_px": width_px,
        "height_px": height_px,
        "truth_m": None if truth_m is None else _people(np.asarray(truth_m), "truth_m", (3,), file, keep=True),
    }
    if units == "pixels" and (width_px is None or height_px is None):
        raise FrameError("keypoints in pixels without the size of the image", expected="width_px and height_px")
    with file.open("wb") as opened:  # an open file: numpy would add .npz to a name
        np.savez_compressed(opened, **{name: value for name, value in entries.items() if value is not None})


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The file's arrays; pickled objects are refused, they could run code."""
    if not path.is_file():
        neighbours = {file.name: str(file) for file in path.parent.glob("*.npz")}
        suggestion = suggest(path.name, neighbours, forms=neighbours)
        raise SourceError(f"no file {path}{suggestion}", expected="an .npz file with 'keypoints' (T, 17, 3)")
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise SourceError(f"{path} holds one bare array", expected="an .npz file with 'keypoints' (T, 17, 3)")
        with opened:
            return {name: opened[name] for name in opened.files if name in _KEYS}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path} cannot be read ({error})", expected="an .npz file of plain numbers") from None


def _people(values: NDArray[Any], name: str, last: tuple[int, ...], path: Path, *, keep: bool = False) -> NDArray[np.float32]:
    """(T, 17, C) or (T, P, 17, C) as float32 (T, P, 17, C), or as it came if ``keep``."""
    expected = " or ".join(f"{shape}{c})" for c in last for shape in ("(T, 17, ", "(T, P, 17, "))
    if values.dtype.kind not in "fiu":
        raise FrameError(f"{path}: {name} is of type {values.dtype}", expected="numbers")
    if values.ndim not in (3, 4) or values.shape[-1] not in last or len(values) == 0:
        raise FrameError(f"{path}: {name} has shape {values.shape}", expected=expected)
    if values.shape[-2] != len(H36M17):
        raise FrameError(f"{path}: {name} has {values.shape[-2]} joints: {values.shape}", expected=f"17 joints, {expected}")
    made = values.astype(np.float32)
    return made if keep or values.ndim == 4 else made[:, None]


def _word(data: dict[str, NDArray[Any]], name: str, known: tuple[str, ...], path: Path) -> str:
    """One of the known words; the first of them if the file is silent."""
    word = str(data[name]) if name in data else known[0]
    if word not in known:
        raise SourceError(f"{path}: {name} is {word!r}", expected=" or ".join(known))
    return word


def _scalar(data: dict[str, NDArray[Any]], name: str, path: Path) -> float:
    """A positive number."""
    if name not in data:
        raise SourceError(f"{path} has no '{name}'", expected="width_px and height_px beside keypoints in pixels")
    value = data[name]
    if value.size != 1 or value.dtype.kind not in "fiu" or not (np.isfinite(value).all() and float(value.reshape(())) > 0):
        raise SourceError(f"{path}: {name} is {value.tolist()}", expected="one positive number")
    return float(value.reshape(()))
