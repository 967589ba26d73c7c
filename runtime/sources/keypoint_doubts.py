"""What keypoints may be instead of what they are called: another unit, another order, another program's file.

Many frames are looked at together, since a single one seldom tells: those of a file as a whole, the first ones of any other
source (``keypoint_watch.py``). What cannot be right is refused; what is odd is said in one line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arrays import F32, F64
from ..errors import SourceError
from ..pose.keypoints import MOST_NORMALISED, MOST_SCORE, ImageSize, Keypoints
from ..pose.plausibility import BONE_SHARES, BONES
from ..pose.skeleton import COCO17, H36M17, H36M_ORDERS, Skeleton, coco_to_h36m
from ..registry import suggest
from ..source_clock import odd_steps

log = logging.getLogger(__name__)

_MANY = 0.5  # a share of joints that no accident explains
_FEW = 0.02  # a share of scores that single bad frames explain
_ONE = 1.001  # by rounding
_OUTSIDE = 0.2  # of the joints; detectors guess a few joints past the edge
_PEOPLE = 20  # in fewer frames than people
_ENOUGH = 17  # joints, or whole bodies, before anything is asked about them
_MISFIT = 0.25  # of bones: in the right order 0.14, of motion capture from any side, in another one 0.4 to 0.75
_WORSE = 1.6  # than another order; a wrong one fits 1.6 times worse in 99 of 100 clips, and the right one always better
_MOST_FRAMES = 10  # steps of exactly one second
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


@dataclass(frozen=True)
class Doubt:
    """What keypoints may be instead of what they are called.

    Args:
        what: what is odd about them.
        expected: what they should be, or the question to the user.
        certain: no keypoints are like that.
    """

    what: str
    expected: str
    certain: bool = False

    def __str__(self) -> str:
        return f"{self.what}; {'expected ' if self.certain else ''}{self.expected}"


def check_recorded(path: Path, points: F32, t_s: F64, skeleton: Skeleton, size: ImageSize | None) -> None:
    """Refuse what cannot be keypoints in these units, and warn of what is odd.

    Args:
        points: (T, P, 17, 3) x, y, score.
        t_s: (T,)
        skeleton: the order of the joints.
        size: of the picture if they are in pixels; None if they are normalised.

    Raises:
        SourceError: coordinates, scores, times or the order of the axes are of another kind.
    """
    frames, people = points.shape[:2]
    if people > _PEOPLE and people > frames:
        raise SourceError(
            f"{path} holds {people} people in {frames} frame{'s' * (frames != 1)}",
            expected="(T, 17, C) or (T, P, 17, C), frames first: swap the first two axes if they are people and frames",
        )
    judge(path, (*find_doubts(points.reshape(-1, *points.shape[2:]), skeleton, size), *time_doubts(t_s)))


def judge(path: Path, doubts: Iterable[Doubt]) -> None:
    """Refuse a file for the first doubt that is certain; warn of the others.

    Raises:
        SourceError: one is certain.
    """
    for doubt in doubts:
        if doubt.certain:
            raise SourceError(f"{path}: {doubt.what}", expected=doubt.expected)
        log.warning("%s: %s", path, doubt)


def keypoint_doubts(keypoints: Sequence[Keypoints]) -> Iterator[Doubt]:
    """What is odd about several people's keypoints; those of another skeleton or size than the first one's are left out."""
    if not keypoints:
        return
    first = keypoints[0]
    alike = [of.points for of in keypoints if of.skeleton == first.skeleton and of.size == first.size]
    with np.errstate(over="ignore"):  # what is past float32 is infinite, and refused as such
        points = np.stack(alike).astype(np.float32)  # (N, J, 3)
    yield from find_doubts(points, first.skeleton, first.size)


def find_doubts(points: F32, skeleton: Skeleton, size: ImageSize | None) -> Iterator[Doubt]:
    """What is odd about the keypoints of several frames.

    Args:
        points: (N, J, 3) x, y, score, of which some may not be finite.
    """
    finite = np.isfinite(points).all(axis=-1)  # (N, J)
    seen = finite & (points[..., 2] > 0)
    if len(points) >= _ENOUGH and finite.all() and not points[..., 2].any():
        yield Doubt("no joint has a score above 0", "nobody was seen in them: are the scores there?")
    if finite.any():
        yield from _scores(points[..., 2][finite])
    if np.count_nonzero(seen) < _ENOUGH:
        return
    yield from _normalised(points[seen]) if size is None else _pixels(points[seen], size)
    whole = points[seen.all(axis=1)]
    if len(whole) >= _ENOUGH:
        yield from _bodies(whole, skeleton)


def _scores(score: F32) -> Iterator[Doubt]:
    high, low = float(np.max(score)), float(np.min(score))
    if np.mean(score < 0) > _FEW:
        expected = "scores from 0 to 1: 1 / (1 + exp(-x)) of logits; without the third number if it is a depth"
        yield Doubt(f"scores down to {low:g}", expected, certain=True)
    if high > MOST_SCORE and np.mean(score > MOST_SCORE) > _FEW:
        unit = ": a hundredth of percent" if high <= 100 else ": a 255th of bytes" if high <= 255 else ""
        if high <= 2 and np.isin(score, (0, 1, 2)).all():
            unit = ": COCO's visibility, 0, 1 or 2, divided by 2"
        yield Doubt(f"scores up to {high:g}", f"scores from 0 to 1{unit}", certain=True)
    past = score[(score > _ONE) & (score <= MOST_SCORE)]
    if len(past):
        yield Doubt(f"scores run up to {float(past.max()):.3g}", "what is past 1 counts as 1")


def _normalised(seen: F32) -> Iterator[Doubt]:
    """Of joints (N, 3)."""
    reach = np.abs(seen[:, :2]).max(axis=-1)
    if np.mean(reach > MOST_NORMALISED) > _MANY:
        yield Doubt(
            f"coordinates up to {reach.max():g}, which are not normalised",
            "units 'pixels', width_px and height_px beside keypoints in pixels, or x from -1 to 1 across the picture",
            certain=True,
        )
    elif np.mean((seen[:, :2] >= 0).all(axis=-1) & (reach <= 1)) > 0.99:
        yield Doubt(
            "all keypoints lie between 0 and 1",
            "are these shares of the picture, as MediaPipe's? Normalised x runs from -1 to 1; multiply shares by width and "
            "height, and name these beside them, as of pixels",
        )


def _pixels(seen: F32, size: ImageSize) -> Iterator[Doubt]:
    """Of joints (N, 3)."""
    reach = float(np.abs(seen[:, :2]).max())
    if reach <= 2:
        yield Doubt(
            f"pixels, of which none is past {reach:g}",
            "pixels; no size of the picture beside normalised ones; shares of the picture times its width and height",
            certain=True,
        )
        return
    outside = _outside(seen, size.width_px, size.height_px)
    if outside > _OUTSIDE:
        swapped = _outside(seen, size.height_px, size.width_px)
        yield Doubt(
            f"{100 * outside:.0f} % of the joints that were seen lie far outside the picture of "
            f"{size.width_px:g} x {size.height_px:g} px",
            "are width_px and height_px exchanged?" if swapped < outside / 2 else "is this the size of the picture?",
        )


def _bodies(whole: F32, skeleton: Skeleton) -> Iterator[Doubt]:
    """Of bodies (N, 17, 3) with all joints."""
    if skeleton.name not in (COCO17.name, *H36M_ORDERS):
        return
    if other := likelier_order(whole, skeleton):
        yield Doubt(f"the joints of {skeleton.name} make no body", f"are they in the order of {other}?")
        return
    bodies = _in_h36m(whole, skeleton.name)
    head, ankles = H36M17.joints.index("head"), [H36M17.joints.index(f"{side}_ankle") for side in ("left", "right")]
    below = bodies[:, head, 1] > bodies[:, ankles, 1].max(axis=1)
    if np.mean(below) > 0.9:
        yield Doubt("heads are below the feet", "does y grow upwards, or is the camera upside down? y grows downwards here")


def likelier_order(whole: F32, skeleton: Skeleton) -> str | None:
    """The name of an order of joints in which (N, 17, 3) bodies, with all joints, are people; None if their own will do."""
    misfits = {name: _misfit(_in_h36m(whole, name)) for name in (COCO17.name, *H36M_ORDERS)}
    likeliest, misfit = min(misfits, key=lambda name: misfits[name]), misfits[skeleton.name]
    return likeliest if misfit > _MISFIT and misfit > _WORSE * misfits[likeliest] else None


def _in_h36m(points: F32, order: str) -> F32:
    """Joints that are named in some order, in Human3.6M's."""
    if order == COCO17.name:
        return coco_to_h36m(points)
    return points[:, np.argsort(H36M_ORDERS[order])]


def _misfit(bodies: F32) -> float:
    """How far the lengths of bones, over all bodies, are from people's proportions, 0 to 2."""
    parents, children = (list(ends) for ends in zip(*BONES, strict=True))
    xy = bodies[..., :2].astype(np.float64)  # the square of 3e38 is no float32
    lengths = np.linalg.norm(xy[:, parents] - xy[:, children], axis=-1)  # (N, 14)
    typical = np.median(lengths, axis=0)  # which a body that is garbage does not change
    return float(np.abs(typical / max(typical.sum(), 1e-9) - BONE_SHARES / BONE_SHARES.sum()).sum())


def time_doubts(t_s: F64) -> Iterator[Doubt]:
    """What is odd about the times (T,) of frames."""
    steps_s = np.diff(t_s)
    backward = np.count_nonzero(~(steps_s > 0))  # or not a number
    if len(steps_s) and backward > _MANY * len(steps_s):
        yield Doubt(f"{backward} of {len(steps_s)} steps of t_s do not go forward", "seconds that grow", certain=True)
        return
    odd = odd_steps(steps_s.tolist())
    if odd is not None and odd.unit is not None:  # without a unit the run asks
        yield Doubt(odd.question, "t_s in seconds", certain=True)
    if len(steps_s) >= _MOST_FRAMES and (steps_s == 1).all():
        yield Doubt("every step of t_s is 1 s", "are these numbers of frames? Without t_s, fps gives the times")


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
