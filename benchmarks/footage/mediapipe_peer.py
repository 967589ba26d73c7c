"""MediaPipe Pose beside us: its package in a virtual environment of its own, in a process that is asked frame by frame."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.cache import cache_folder
from posemoe_edge.runtime.detectors.models import POSE_LANDMARKS
from posemoe_edge.runtime.errors import MissingError

from .scoring import IN_MEDIAPIPE, Candidate

PACKAGES = ("mediapipe==0.10.14", "numpy<2", "setuptools<81")
COMPLEXITY = {"lite": 0, "full": 1, "heavy": 2}
_IN_COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)  # COCO-17's joints among its landmarks


def make_environment() -> Path:
    """The Python of the virtual environment with MediaPipe in the cache, which is made the first time."""
    folder = cache_folder() / "mediapipe"
    python = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", *PACKAGES],
        ):
            if subprocess.run(command, stdout=sys.stderr).returncode:
                raise MissingError(f"{' '.join(command)} failed", expected="a package registry, or --mediapipe-python PYTHON")
        (folder / ".complete").touch()
    return python


class MediaPipe:
    """A process that runs MediaPipe on one video.

    Args:
        python: of its environment.
        variant: ``lite``, ``full`` or ``heavy``; the networks that are not in its wheel come from our detectors' cache.
        video: the file.
    """

    def __init__(self, python: Path, variant: str, video: Path) -> None:
        worker = Path(__file__).with_name("mediapipe_worker.py")
        networks = [str(file.path) for file in POSE_LANDMARKS.values() if file.path.is_file()]
        self._process = subprocess.Popen(
            [str(python), str(worker), *networks],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._ask({"video": str(video.resolve()), "complexity": COMPLEXITY[variant]})

    def next(self) -> dict[str, Any] | None:
        """``seconds``, and where a person is seen ``px`` (33 x 3) and ``m`` (33 x 3); None at the end."""
        answer = self._ask({"next": 1})
        return None if "end" in answer else answer

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (answer := self.next()) is not None:
            yield answer

    def __enter__(self) -> MediaPipe:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise MissingError("MediaPipe's process ended", expected=f"an environment with {PACKAGES[0]}, and its networks")
        answer: dict[str, Any] = json.loads(line)
        return answer


def candidates(answer: dict[str, Any]) -> list[Candidate]:
    """The person of a frame, as it is scored."""
    if "px" not in answer:
        return []
    return [Candidate(0, np.array(answer["px"])[IN_MEDIAPIPE, :2], np.array(answer["m"])[IN_MEDIAPIPE])]


def coco(answer: dict[str, Any]) -> F64:
    """(17, 3) COCO-17 in pixels, and visibility; all 0 without a person."""
    return np.array(answer["px"])[list(_IN_COCO)] if "px" in answer else np.zeros((17, 3))
