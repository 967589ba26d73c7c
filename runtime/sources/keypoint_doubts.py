"""What recorded keypoints may be instead of what their file says: another unit, another order, another program's file.

A file is looked at as a whole, once, since a single frame seldom tells. What cannot be right is refused; what is odd is warned
of in one line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..arrays import F32, F64
from ..errors import SourceError
from ..pose.keypoints import MOST_NORMALISED, MOST_SCORE, ImageSize
from ..registry import suggest
from ..source_clock import step_question

log = logging.getLogger(__name__)

_MANY = 0.5  # a share of joints that no accident explains
_FEW = 0.02  # a share of scores that single bad frames explain
_ONE = 1.001  # by rounding
_OUTSIDE = 0.2  # of the joints; detectors guess a few joints past the edge
_PEOPLE = 20  # in fewer frames than people
_ALIASES = {
    "t_s": ("timestamps", "timestamp", "times", "time", "t", "stamps", "t_ms", "t_ns"),
    "fps": ("frame_rate", "framerate", "rate", "hz"),
    "width_px": ("width", "w", "image_width", "img_w"),
    "height_px": ("height", "h", "image_height", "img_h"),
    "layout": ("skeleton", "format", "order"),
    "units": ("unit",),
    "keypoints": ("keypoints_2d", "kpts", "kps", "joints_2d", "pose_2d", "poses_2d", "kp2d"),
}
_OTHERS = {  # entries that tell whose file it is, and the way on
    "positions_2d": (
        "VideoPose3D's keypoints of a data set",
        "posemoe-edge import h36m data_3d_h36m.npz --keypoints with this file, or one clip of it saved as 'keypoints'",
    ),
    "reconstruction": (
        "the keypoints of MHFormer and its kin, people first and in pixels",
        "its array [0] saved as 'keypoints', with units 'pixels', width_px and height_px",
    ),
    "segments": (
        "Detectron2's output for VideoPose3D, objects per frame",
        "x, y and score of one person a frame saved as 'keypoints' (T, 17, 3), with layout 'coco17' and units 'pixels'",
    ),
}


def check_entries(path: Path, names: Sequence[str], known: Iterable[str]) -> None:
    """Name the entries that nothing reads; refuse the files of other programs, and those without keypoints.

    Raises:
        SourceError: there are no 'keypoints', or the file is another program's.
    """
    for entry, (what, way) in _OTHERS.items():
        if entry in names:
            raise SourceError(f"{path} holds {what} ({', '.join(names)})", expected=way)
    if "keypoints" not in names:
        near = [name for name in names if name.lower() in _ALIASES["keypoints"]]
        hint = f"; {near[0]!r} may be them" if near else ""
        raise SourceError(
            f"{path} has no 'keypoints', but {', '.join(names) or 'nothing'}{hint}", expected="an array 'keypoints' (T, 17, 3)"
        )
    if unread := [name for name in names if name not in known]:
        hints = [f"{name!r}{_meant(name, known)}" for name in unread]
        log.warning("%s: %s not read; the entries are %s", path, _are(hints), ", ".join(known))


def check_recorded(path: Path, points: F32, t_s: F64, size: ImageSize | None) -> None:
    """Refuse what cannot be keypoints in these units, and warn of what is odd.

    Args:
        points: (T, P, 17, 3) x, y, score.
        t_s: (T,)
        size: of the picture if they are in pixels; None if they are normalised.

    Raises:
        SourceError: coordinates, scores or the order of the axes are of another kind.
    """
    frames, people = points.shape[:2]
    if people > _PEOPLE and people > frames:
        raise SourceError(
            f"{path} holds {people} people in {frames} frame{'s' * (frames != 1)}",
            expected="(T, 17, C) or (T, P, 17, C), frames first: swap the first two axes if they are people and frames",
        )
    finite = points[np.isfinite(points).all(axis=-1)]  # (N, 3)
    if len(finite):
        _check_scores(path, finite[:, 2])
    seen = finite[finite[:, 2] > 0]
    if len(seen):
        (_check_normalised if size is None else _check_pixels)(path, seen, *([] if size is None else [size]))
    question = step_question(np.diff(t_s).tolist())
    if question and "are these seconds" not in question:  # else the run asks
        raise SourceError(f"{path}: {question}", expected="t_s in seconds")


def _check_scores(path: Path, score: F32) -> None:
    high = float(np.max(score))
    if np.mean(score < 0) > _FEW:
        raise SourceError(
            f"{path} has scores down to {float(np.min(score)):g}", expected="scores from 0 to 1: 1 / (1 + exp(-x)) of logits"
        )
    if high > MOST_SCORE and np.mean(score > MOST_SCORE) > _FEW:
        percent = ": a hundredth of percent" if high <= 100 else ": a 255th of bytes" if high <= 255 else ""
        raise SourceError(f"{path} has scores up to {high:g}", expected=f"scores from 0 to 1{percent}")
    past = score[(score > _ONE) & (score <= MOST_SCORE)]
    if len(past):
        log.warning("%s: scores run up to %.3g; what is past 1 counts as 1", path, float(past.max()))


def _check_normalised(path: Path, seen: F32) -> None:
    reach = np.abs(seen[:, :2]).max(axis=-1)
    if np.mean(reach > MOST_NORMALISED) > _MANY:
        raise SourceError(
            f"{path} has coordinates up to {reach.max():g}, which are not normalised",
            expected="units 'pixels', width_px and height_px beside keypoints in pixels, or x from -1 to 1 across the picture",
        )
    if np.mean((seen[:, :2] >= 0).all(axis=-1) & (reach <= 1)) > 0.99 and len(seen) >= 17:
        log.warning(
            "%s: all keypoints lie between 0 and 1: are these shares of the picture, as MediaPipe's? Normalised x runs from -1 "
            "to 1; multiply shares by width and height, and say units 'pixels'",
            path,
        )


def _check_pixels(path: Path, seen: F32, size: ImageSize) -> None:
    if np.abs(seen[:, :2]).max() <= 2 and len(seen) >= 17:
        raise SourceError(
            f"{path} has units 'pixels', and no coordinate is past {np.abs(seen[:, :2]).max():g}",
            expected="pixels, or units 'normalised' (x from -1 to 1); shares of the picture times its width and height",
        )
    outside = _outside(seen, size.width_px, size.height_px)
    if outside > _OUTSIDE:
        swapped = _outside(seen, size.height_px, size.width_px)
        question = "are width_px and height_px exchanged?" if swapped < outside / 2 else "is this the size of the picture?"
        log.warning(
            "%s: %.0f %% of the joints that were seen lie far outside the picture of %g x %g px: %s",
            path, 100 * outside, size.width_px, size.height_px, question,
        )  # fmt: skip


def _outside(seen: F32, width_px: float, height_px: float) -> float:
    """The share of joints that are a tenth of the picture or more away from it."""
    limits = np.array([width_px, height_px])
    return float(np.mean(((seen[:, :2] < -0.1 * limits) | (seen[:, :2] > 1.1 * limits)).any(axis=-1)))


def _meant(name: str, known: Iterable[str]) -> str:
    """The entry that a name may stand for, as words."""
    meant = next((entry for entry, aliases in _ALIASES.items() if name.lower() in aliases), None)
    return f" (meant as {meant!r}?)" if meant else suggest(name, list(known))


def _are(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
