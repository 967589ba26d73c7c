"""MPI-INF-3DHP as P-STMO's files hold it, as takes in Human3.6M's joint order.

The files are pickled dictionaries of pixels and of millimetres in camera axes, in the order ``3dhp17``, on the data set's
universal skeleton. Joints keep their own definition: 3DHP's head_top, neck and head take the places of head, thorax and nose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.errors import ArtefactError, UsageError
from ...runtime.pose.keypoints import normalise_screen
from ...runtime.pose.skeleton import H36M_ORDERS, MPI3DHP17
from .pickled import read_pickled
from .recorded import RecordedSequence, SavedSequence, save_recorded
from .sequences import JOINTS, PoseSequence

FIELD = "data"
ORDER = tuple(int(place) for place in np.argsort(H36M_ORDERS[MPI3DHP17.name]))  # index i holds h36m17's joint i
ROOT = MPI3DHP17.joints.index("pelvis")
SIZE_PX = (2048, 2048)
OUTDOORS_PX = {"TS5": (1920, 1080), "TS6": (1920, 1080)}
TEST_FPS = 25.0  # assumed: the test file does not say its rate


def convert(paths: Sequence[Path], out: Path, *, fps_test: float = TEST_FPS) -> list[SavedSequence]:
    """Make the file that ``load_recorded`` reads; nothing in the published files is run. Returns what was written.

    Takes are called ``S1/Seq1/cam4`` and ``TS1``. Training rates are the file's. In the test sequences only frames marked
    valid count; joints of the others that are not finite are missing (0, 0, 0).

    Args:
        paths: ``data_train_3dhp.npz``, ``data_test_3dhp.npz`` or both; told apart by the form of their sequences.
        out: the npz to write.
        fps_test: frames per second of the test sequences, which their file does not say.
    """
    if not paths:
        raise UsageError("neither a training nor a test file to convert", expected="at least one")
    if not (fps_test > 0 and np.isfinite(fps_test)):
        raise UsageError(f"{fps_test} frames per second", expected="a positive rate")
    return save_recorded(out, (one for path in paths for one in _recorded(path, fps_test)))


def _recorded(path: Path, fps_test: float) -> Iterator[RecordedSequence]:
    tree = read_pickled(path, FIELD)
    if not (isinstance(tree, dict) and tree):
        raise _odd(path, f"has {FIELD} that is not by sequence", "{sequence: ...}")
    for name, given in tree.items():
        yield from _train(path, name, given) if isinstance(given, list) else _test(path, name, given, fps_test)


def _train(path: Path, name: str, given: list[Any]) -> Iterator[RecordedSequence]:
    subject, _, sequence = name.partition(" ")
    if not (sequence and len(given) == 2 and isinstance(given[0], dict)):
        raise _odd(path, f"has a sequence {name!r} of another form", "'S1 Seq1': [{camera: ...}, frames per second]")
    views, rate = given
    fps = float(np.ravel(rate)[0]) if isinstance(rate, int | float | np.ndarray) and np.size(rate) == 1 else float("nan")
    if not (fps > 0 and np.isfinite(fps)):
        raise _odd(path, f"has {rate} frames per second in {name}", "a positive rate")
    for camera, view in views.items():
        take = _take(path, f"{subject}/{sequence}/cam{camera}", view, action=sequence, fps=fps, size_px=SIZE_PX)
        yield RecordedSequence(take, subject, "train")


def _test(path: Path, name: str, view: Any, fps: float) -> Iterator[RecordedSequence]:
    if isinstance(view, dict) and "valid" not in view:
        raise _odd(path, f"lacks valid in {name}", "a flag for each frame")
    take = _take(path, name, view, action=name, fps=fps, size_px=OUTDOORS_PX.get(name, SIZE_PX))
    yield RecordedSequence(take, name, "test")


def _take(path: Path, name: str, view: Any, *, action: str, fps: float, size_px: tuple[int, int]) -> PoseSequence:
    given = {key: value for key, value in view.items() if isinstance(value, np.ndarray)} if isinstance(view, dict) else {}
    if missing := [key for key in ("data_2d", "data_3d") if key not in given]:
        raise _odd(path, f"lacks {' and '.join(missing)} in {name}", "arrays of both")
    pixels, xyz_mm = given["data_2d"].astype(np.float64), given["data_3d"].astype(np.float64)
    frames = len(np.atleast_1d(xyz_mm))
    valid = np.atleast_1d(np.squeeze(given.get("valid", np.ones(frames)))).astype(np.bool_)
    shapes = {"data_2d": (pixels, (JOINTS, 2)), "data_3d": (xyz_mm, (JOINTS, 3)), "valid": (valid, ())}
    for key, (array, shape) in shapes.items():
        if array.shape != (frames, *shape) or not frames:
            raise _odd(path, f"has {key} of shape {array.shape} in {name}", str((frames, *shape)))
    found = np.isfinite(pixels[..., :1] + pixels[..., 1:])  # (T, 17, 1)
    known = np.isfinite(xyz_mm.sum(axis=(1, 2)))  # (T,)
    if not (found[valid].all() and known[valid].all()):
        raise _odd(path, f"has frames of {name} that are valid and not finite", "numbers in the frames that count")
    keypoints = np.concatenate([np.where(found, pixels, 0), found], axis=-1)[:, list(ORDER)]
    pose_m = (xyz_mm - xyz_mm[:, ROOT : ROOT + 1])[:, list(ORDER)] / 1000
    return PoseSequence(
        keypoints=normalise_screen(keypoints, width_px=size_px[0], height_px=size_px[1]),
        pose_m=np.where(known[:, None, None], pose_m, 0).astype(np.float32),
        dt_s=np.full(frames, 1 / fps, np.float32),
        clip_id=name,
        action=action,
        valid=None if valid.all() else valid,
    )


def _odd(path: Path, what: str, expected: str) -> ArtefactError:
    return ArtefactError(f"3DHP file {path} {what}", expected=expected)
