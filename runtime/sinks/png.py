"""``png:FILE``: a picture of one person's run: skeletons in a row, and below them the error or the wrists' height over time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32
from ..artefact.atomic import AtomicFile
from ..destination import check_destination, check_space
from ..errors import missing_extra
from ..events import Event, PoseFrame
from ..plotting import Lines, draw_skeletons
from ..pose.metrics import mpjpe
from ..pose.skeleton import H36M17
from .base import BaseSink, RunInfo

_MAX_SAMPLES = 4096  # a longer run is thinned out, so that memory stays bounded
_MAX_TRUTHS = 512  # frames whose truth waits for a pose with latency


@dataclass(frozen=True, eq=False)
class _Sample:
    """The person's pose at one time, (17, 3) metres each, its standard deviations, and which joints are guessed."""

    t_s: float
    xyz_m: F32
    truth_m: F32 | None
    sigma_m: F32 | None  # (17,)
    guessed: NDArray[np.bool_]  # (17,)


class PngSink(BaseSink):
    """Draws the first person of the run, when it is closed.

    Args:
        path: the image file to write.
        panels: how many skeletons stand in the row.
    """

    def __init__(self, path: str | Path, *, panels: int = 6) -> None:
        try:
            import matplotlib  # noqa: F401  (a missing package is an error before the run, not after it)
        except ImportError:
            raise missing_extra("matplotlib", "plot", "drawing pictures") from None
        self.path = Path(path)
        check_destination(self.path)
        self._file: AtomicFile | None = AtomicFile(self.path)
        self._panels = panels
        self._person: int | None = None
        self._samples: list[_Sample] = []
        self._stride, self._pose_count = 1, 0
        self._truths: deque[tuple[float, Mapping[int, F32]]] = deque(maxlen=_MAX_TRUTHS)

    def open(self, run: RunInfo) -> None:
        check_space(self.path, 0)

    def write(self, event: Event) -> None:
        """Record the first person's pose, with the truth of the frame that the pose belongs to."""
        if self._file is None:
            raise ValueError("the sink is closed")
        if not isinstance(event, PoseFrame):
            return
        if event.truth_m is not None:
            self._truths.append((event.t_s, event.truth_m))
        if self._person is None and event.poses:
            self._person = min(event.poses)
        if self._person is None or self._person not in event.poses:
            return
        self._pose_count += 1
        if (self._pose_count - 1) % self._stride:
            return
        pose = event.poses[self._person]
        truth = next((truths.get(self._person) for t_s, truths in reversed(self._truths) if t_s == pose.t_s), None)
        self._samples.append(_Sample(pose.t_s, pose.xyz_m.copy(), truth, pose.sigma_m, pose.guessed))
        if len(self._samples) >= _MAX_SAMPLES:
            self._samples = self._samples[::2]
            self._stride *= 2

    def close(self) -> None:
        """Draw the figure; a run without any pose writes no file."""
        file, self._file = self._file, None
        if file is None:
            return
        if not self._samples:
            file.discard()
            return
        with file.committing():
            self._draw(file.partial)
        self.written = file.path

    def abort(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.discard()

    def _draw(self, path: Path) -> None:
        samples = self._samples
        indices = np.unique(np.linspace(0, len(samples) - 1, min(self._panels, len(samples))).round().astype(int))
        shown = [samples[i] for i in indices]
        truths = [sample.truth_m for sample in shown if sample.truth_m is not None]
        sigmas = [sample.sigma_m for sample in shown if sample.sigma_m is not None]
        draw_skeletons(
            path,
            file_format="png",
            poses=np.stack([sample.xyz_m for sample in shown]),
            truth=np.stack(truths) if len(truths) == len(shown) else None,
            sigma=np.stack(sigmas) if len(sigmas) == len(shown) else None,
            guessed=np.stack([sample.guessed for sample in shown]),
            titles=[f"{sample.t_s:.2f} s" for sample in shown],
            heading=f"Person {self._person}: {self._pose_count} poses",
            lines=[_error_lines(samples) if any(s.truth_m is not None for s in samples) else _height_lines(samples)],
        )


def _error_lines(samples: list[_Sample]) -> Lines:
    """MPJPE of each sample, with both hips moved to the origin as in every report."""
    error_mm = [np.nan if s.truth_m is None else 1000 * mpjpe(s.xyz_m[None], s.truth_m[None], root="align") for s in samples]
    title = f"Distance from the ground truth, mean of 17 joints: {np.nanmean(error_mm):.1f} mm"
    return Lines(x=[sample.t_s for sample in samples], y={"MPJPE": error_mm}, title=title, y_label="MPJPE (mm)", from_zero=True)


def _height_lines(samples: list[_Sample]) -> Lines:
    """Height of wrists and ankles above the hip, for a run without a truth."""
    y = {
        name.replace("_", " "): [-float(sample.xyz_m[H36M17.joints.index(name), 1]) for sample in samples]
        for name in ("left_wrist", "right_wrist", "left_ankle", "right_ankle")
    }
    return Lines(x=[sample.t_s for sample in samples], y=y, title="Height above the hip", y_label="height (m)")
