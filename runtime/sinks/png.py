"""``png:FILE``: a picture of one person's run: skeletons in a row, and below them the error or the wrists over time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..artefact.atomic import AtomicFile
from ..errors import missing_extra
from ..plotting import Lines, draw_skeletons
from ..pose.metrics import mpjpe
from ..pose.skeleton import H36M17
from ..pose.types import Frame, Pose
from .base import BaseSink

_MOST = 4096  # moments kept: a longer run is thinned out, so that memory stays bounded
_MEMORY = 512  # frames whose truth waits for a pose that comes late


@dataclass(frozen=True, eq=False)
class _Moment:
    t_s: float
    xyz_m: NDArray[np.float32]
    truth_m: NDArray[np.float32] | None


class PngSink(BaseSink):
    """Draws the person that it saw first, when it is closed.

    Args:
        path: the picture.
        panels: how many skeletons stand in the row.
    """

    def __init__(self, path: str | Path, *, panels: int = 6) -> None:
        try:
            import matplotlib  # noqa: F401  (before an hour's run, not after it)
        except ImportError:
            raise missing_extra("matplotlib", "plot", "drawing pictures") from None
        self._draft: AtomicFile | None = AtomicFile(Path(path))
        self._panels = panels
        self._person: int | None = None
        self._moments: list[_Moment] = []
        self._every, self._seen = 1, 0
        self._truths: deque[tuple[float, dict[int, NDArray[np.float32]]]] = deque(maxlen=_MEMORY)

    def write(self, frame: Frame, poses: dict[int, Pose]) -> None:
        """Remember the pose of the first person, with the truth of the frame that the pose belongs to."""
        if self._draft is None:
            raise ValueError("write to a sink that is closed")
        if frame.truth_m is not None:
            self._truths.append((frame.t_s, frame.truth_m))
        if self._person is None and poses:
            self._person = min(poses)
        if self._person not in poses:
            return
        self._seen += 1
        if (self._seen - 1) % self._every:
            return
        pose = poses[self._person]
        truth = next((truths.get(self._person) for t_s, truths in reversed(self._truths) if t_s == pose.t_s), None)
        self._moments.append(_Moment(pose.t_s, pose.xyz_m.copy(), truth))
        if len(self._moments) >= _MOST:
            self._moments = self._moments[::2]
            self._every *= 2

    def close(self) -> None:
        """Draw; a run without any pose leaves no picture."""
        draft, self._draft = self._draft, None
        if draft is None:
            return
        if not self._moments:
            draft.discard()
            return
        try:
            self._draw(draft.partial)
        except BaseException:
            draft.discard()
            raise
        draft.commit()

    def abort(self) -> None:
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.discard()

    def _draw(self, path: Path) -> None:
        moments = self._moments
        at = np.unique(np.linspace(0, len(moments) - 1, min(self._panels, len(moments))).round().astype(int))
        shown = [moments[i] for i in at]
        truths = [m.truth_m for m in shown if m.truth_m is not None]
        draw_skeletons(
            path,
            file_format="png",
            poses=np.stack([m.xyz_m for m in shown]),
            truth=np.stack(truths) if len(truths) == len(shown) else None,
            titles=[f"{m.t_s:.2f} s" for m in shown],
            heading=f"Person {self._person}: {self._seen} poses",
            lines=[_error(moments) if any(m.truth_m is not None for m in moments) else _wrists(moments)],
        )


def _error(moments: list[_Moment]) -> Lines:
    """Mean distance from the truth, frame by frame, both hips at zero as in every report."""
    error_mm = [np.nan if m.truth_m is None else 1000 * mpjpe(m.xyz_m[None], m.truth_m[None], root="align") for m in moments]
    title = f"Distance from the ground truth, mean of 17 joints: {np.nanmean(error_mm):.1f} mm (MPJPE)"
    return Lines(x=[m.t_s for m in moments], y={"MPJPE": error_mm}, title=title, y_label="mm", from_zero=True)


def _wrists(moments: list[_Moment]) -> Lines:
    """How high wrists and ankles are above the hip: all that can be shown without a truth."""
    y = {
        name.replace("_", " "): [-float(m.xyz_m[H36M17.joints.index(name), 1]) for m in moments]
        for name in ("left_wrist", "right_wrist", "left_ankle", "right_ankle")
    }
    return Lines(x=[m.t_s for m in moments], y=y, title="Height above the hip", y_label="m")
