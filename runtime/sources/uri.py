"""How a user names a source, and the source of such a name."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl

from ..errors import UsageError
from ..registry import Registry, suggest
from . import image_files, video
from .base import Source
from .camera import CameraSource
from .latest import LatestSource
from .reconnecting import ReconnectingSource
from .redaction import redacted
from .synthetic import SyntheticSource


class SourceFactory(Protocol):
    """What ``SOURCES`` holds: it opens the source at a location, of at most that many frames."""

    def __call__(self, location: str, *, frames: int | None) -> Source: ...


SOURCES: Registry[SourceFactory] = Registry(
    "source",
    group="posemoe_edge.sources",
    builtin={
        "synthetic": f"{__name__}:open_synthetic",
        "kpts": "posemoe_edge.runtime.sources.keypoints_json:open_keypoints",
        "camera": f"{__name__}:open_camera",
        "v4l2": f"{__name__}:open_camera",
        "video": "posemoe_edge.runtime.sources.video:VideoSource",
        "images": "posemoe_edge.runtime.sources.image_files:open_image_files",
        "mcap": "posemoe_edge.runtime.sources.mcap:McapSource",
        "rtsp": "posemoe_edge.runtime.sources.rtsp:open_rtsp",
        "csi": "posemoe_edge.runtime.sources.gstreamer:open_csi",
        "jsonl": "posemoe_edge.runtime.sources.jsonl:JsonLinesSource",
        "lavfi": "posemoe_edge.runtime.sources.lavfi:LavfiSource",
    },
    forms={
        "synthetic": "synthetic://walk?people=3&fps=50&seed=0&noise=0",
        "kpts": "kpts:FILE.npz|.json or kpts:FOLDER",
        "camera": "camera0",
        "v4l2": "v4l2:///dev/video0",
        "video": "|".join(video.SUFFIXES).replace(".mp4", "FILE.mp4"),
        "images": "FILE.jpg|.png or FOLDER?fps=30",
        "mcap": "mcap:FILE.mcap#/topic",
        "rtsp": "rtsp://USER:PASSWORD@HOST/PATH",
        "csi": "csi://0",
        "jsonl": "jsonl:FILE or jsonl:-",
        "lavfi": "lavfi:testsrc2=size=640x360:rate=30",
    },
)
"""Scheme -> factory. A source of another package is named ``SCHEME:LOCATION`` or ``SCHEME://LOCATION``."""

_WEB = ("http", "https")
_WALK_OPTIONS: dict[str, type[int] | type[float]] = {"people": int, "fps": float, "seed": int, "noise": float}


def open_source(uri: str, *, frames: int | None = None) -> Source:
    """The source that ``uri`` names.

    Args:
        uri: ``synthetic://walk?people=3&fps=50&seed=0&noise=0`` (noise in pixels), ``kpts:FILE.npz``, ``kpts:FILE.json`` or
            ``kpts:FOLDER`` of another program's, ``camera0``, or its number alone, ``v4l2:///dev/video0``, the path of a
            video file, of a picture or of a folder of pictures (``FOLDER?fps=30``), ``mcap:bag.mcap#/topic``,
            ``rtsp://HOST/PATH``, ``csi://0``, ``jsonl:FILE``, ``jsonl:-`` for the standard input, ``lavfi:testsrc2``, or
            ``SCHEME:LOCATION`` of another package's source.
        frames: at most so many frames, None for all.
    """
    if frames is not None and frames < 1:
        raise UsageError(f"{frames} frames of {redacted(uri)}", expected="at least 1")
    scheme, location = split_uri(uri)
    if scheme in _WEB:
        raise UsageError(
            f"{redacted(uri)} is on another machine, and nothing is downloaded here",
            expected="a file or a camera of this machine",
            run=f"curl -LO {shlex.quote(redacted(uri))}",
        )
    if scheme not in SOURCES:
        raise SOURCES.unknown(redacted(uri), suggestion=_suggest_uri(uri))
    return SOURCES.find(scheme)(location, frames=frames)


def open_synthetic(location: str, *, frames: int | None) -> SyntheticSource:
    """``walk?people=3&fps=50&seed=0&noise=0``"""
    scene, _, query = location.partition("?")
    if scene != "walk":
        raise UsageError(f"no synthetic scene {scene!r}", expected="synthetic://walk")
    options = dict[str, str]()
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in _WALK_OPTIONS:
            suggestion = suggest(key, _WALK_OPTIONS)
            raise UsageError(f"synthetic://walk has no option {key!r}{suggestion}", expected=", ".join(_WALK_OPTIONS))
        kind = _WALK_OPTIONS[key]
        try:
            kind(text)
        except ValueError:
            number = "a whole number" if kind is int else "a number"
            raise UsageError(f"{key}={text} in synthetic://walk", expected=f"{key}={number}") from None
        options[key] = text
    return SyntheticSource(
        people=int(options.get("people", "1")),
        fps=float(options.get("fps", "50")),
        seed=int(options.get("seed", "0")),
        noise_px=float(options.get("noise", "0")),
        frames=frames,
    )


def open_camera(location: str, *, frames: int | None) -> LatestSource:
    """``N`` or ``/dev/videoN``; it is opened again when it was unplugged."""
    number = re.fullmatch(r"(?:/dev/video)?(\d+)", location)
    if number is None:
        raise UsageError(f"no camera {location!r}", expected="camera0 or v4l2:///dev/video0")
    index = int(number.group(1))
    return LatestSource(ReconnectingSource(lambda: CameraSource(index)), frames=frames)


def split_uri(uri: str) -> tuple[str, str]:
    """Scheme and location of a URI; the schemes of ``camera0``, of a video and of pictures are not written in it."""
    camera = re.fullmatch(r"(?:camera)?(\d+)", uri, re.IGNORECASE)
    if camera:
        return "camera", camera.group(1)
    scheme, colon, location = uri.partition(":")
    scheme = scheme.lower()
    if colon and not location.startswith("//") and Path(uri).is_file() and Path(uri).suffix.lower() in video.SUFFIXES:
        return "video", uri  # a file whose own name has a colon, even csi:0.mp4
    if colon and location and (scheme in SOURCES or scheme in _WEB):
        return scheme, location.removeprefix("//")
    path = uri if Path(uri).exists() else uri.partition("?")[0]
    suffix = Path(path).suffix.lower()
    if suffix in image_files.SUFFIXES or (path and Path(path).is_dir()):
        return "images", uri
    if suffix in video.SUFFIXES:
        return "video", uri
    return "", uri


def _suggest_uri(uri: str) -> str:
    """Which URI the user may have meant."""
    if Path(uri.partition("?")[0]).suffix.lower() in (".npz", ".json"):
        return f"; did you mean kpts:{uri.rpartition(':')[2]}?"
    similar = {"synthetic://walk": "synthetic://walk", "synthetic": "synthetic://walk", "kpts:": "kpts:FILE.npz"}
    similar |= {form: form for form in ("camera0", "v4l2:///dev/video0", "rtsp://HOST/PATH")}
    return suggest(uri.partition("?")[0], similar, forms=similar, cutoff=0.5)
