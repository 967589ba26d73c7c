"""How a user names a source, and the source for such a name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from ..detectors import Detector
from ..errors import UsageError
from ..pose.skeleton import COCO_TO_H36M
from ..registry import suggest
from .base import Source


@dataclass(frozen=True)
class _Asked:
    """What was asked for beside the name itself."""

    detector: Detector | None
    frames: int | None
    recipe: str


def _synthetic(rest: str, asked: _Asked) -> Source:
    from .synthetic import SyntheticSource

    scene, _, query = rest.partition("?")
    if scene != "walk":
        raise UsageError(f"no synthetic scene {scene!r}", expected="synthetic://walk")
    words = parse_qsl(query, keep_blank_values=True)
    for key, value in words:
        if key not in _WALK_OPTIONS:
            suggestion = suggest(key, _WALK_OPTIONS)
            raise UsageError(f"synthetic://walk has no option {key!r}{suggestion}", expected=", ".join(_WALK_OPTIONS))
        kind = _WALK_OPTIONS[key]
        try:
            kind(value)
        except ValueError:
            number = "a whole number" if kind is int else "a number"
            raise UsageError(f"{key}={value} in synthetic://walk", expected=f"{key}={number}") from None
    said = dict(words)
    return SyntheticSource(
        people=int(said.get("people", "1")),
        fps=float(said.get("fps", "50")),
        seed=int(said.get("seed", "0")),
        noise_px=float(said.get("noise", "0")),
        frames=asked.frames,
    )


def _keypoints(rest: str, asked: _Asked) -> Source:
    from .keypoints_file import KeypointsFileSource

    return KeypointsFileSource(rest, frames=asked.frames, recipe=asked.recipe)


def _camera(rest: str, asked: _Asked) -> Source:
    from .video import CameraSource

    return CameraSource(int(rest), detector=asked.detector, frames=asked.frames, recipe=asked.recipe)


def _video(rest: str, asked: _Asked) -> Source:
    from .video import VideoSource

    return VideoSource(rest, detector=asked.detector, frames=asked.frames, recipe=asked.recipe)


def _later(rest: str, asked: _Asked) -> Source:
    raise UsageError(f"sources of the kind {rest} are not built yet", expected=f"one of {_forms()}")


_WALK_OPTIONS: dict[str, type[int] | type[float]] = {"people": int, "fps": float, "seed": int, "noise": float}

# What is written, the whole of it as a pattern whose group goes to the opener, and the opener.
_GRAMMAR: tuple[tuple[str, str, Callable[[str, _Asked], Source]], ...] = (
    ("synthetic://walk?people=3&fps=50&seed=0&noise=0", r"synthetic://(.*)", _synthetic),
    ("kpts:FILE.npz", r"kpts:(.+)", _keypoints),
    ("camera0", r"camera(\d+)", _camera),
    ("v4l2:///dev/video0", r"v4l2:///dev/video(\d+)", _camera),
    ("", r"(csi|rtsp|mcap):.*", _later),
    ("FILE.mp4|.avi|.mkv|.mov|.webm", r"(.*\.(?:mp4|avi|mkv|mov|webm))", _video),
)


def open_source(uri: str, *, detector: Detector | None = None, frames: int | None = None, recipe: str = "coco_eyes") -> Source:
    """The source that ``uri`` names.

    Args:
        uri: ``synthetic://walk?people=3&fps=50&seed=0&noise=0`` (noise in pixels), ``kpts:FILE.npz``, ``camera0``,
            ``v4l2:///dev/video0`` or the path of a video file.
        detector: finds people in pictures; needed by cameras and videos.
        frames: at most so many frames, None for all there are.
        recipe: how COCO-17 keypoints become Human3.6M-17.
    """
    if recipe not in COCO_TO_H36M:
        suggestion = suggest(recipe, COCO_TO_H36M)
        raise UsageError(f"no keypoint recipe {recipe!r}{suggestion}", expected=" or ".join(COCO_TO_H36M))
    if frames is not None and frames < 1:
        raise UsageError(f"{frames} frames of {uri}", expected="at least 1")
    for _, pattern, opener in _GRAMMAR:
        match = re.fullmatch(pattern, uri, re.IGNORECASE | re.DOTALL)
        if match:
            return opener(match.group(1), _Asked(detector=detector, frames=frames, recipe=recipe))
    raise UsageError(f"no source {uri!r}{_meant(uri)}", expected=f"one of {_forms()}")


def _forms() -> str:
    return ", ".join(form for form, _, _ in _GRAMMAR if form)


def _meant(uri: str) -> str:
    """Which form is near to what was written."""
    if Path(uri).suffix.lower() == ".npz":
        return f"; did you mean kpts:{uri.rpartition(':')[2]}?"
    plain = {"synthetic://walk": "synthetic://walk", "synthetic": "synthetic://walk", "kpts:": "kpts:FILE.npz"}
    plain |= {"camera0": "camera0", "v4l2:///dev/video0": "v4l2:///dev/video0"}
    return suggest(uri.partition("?")[0], plain, forms=plain, cutoff=0.5)
