"""MPI-INF-3DHP from P-STMO's files, as recorded sequences in Human3.6M's joint order.

The files are pickled dictionaries of pixels and of millimetres in camera axes, in the order ``3dhp17``, on the data set's
universal skeleton. Joints keep their own definition: 3DHP's head_top, neck and head are stored as head, thorax and nose.
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
from .pixel_check import check_pixels
from .recorded import RecordedSequence, SavedSequence, save_recorded
from .sequences import JOINTS, PoseSequence
from .stature import check_stature

FIELD = "data"
ORDER = tuple(int(index) for index in np.argsort(H36M_ORDERS[MPI3DHP17.name]))  # entry i: the file's index of joint i
ROOT = MPI3DHP17.joints.index("pelvis")
SIZE_PX = (2048, 2048)
OUTDOORS_PX = {"TS5": (1920, 1080), "TS6": (1920, 1080)}
TEST_FPS = 25.0  # assumed: the test file does not contain its rate


def convert(paths: Sequence[Path], out: Path, *, fps_test: float = TEST_FPS) -> list[SavedSequence]:
    """Write the file that ``load_recorded`` reads; no code in the published files is executed.

    Sequences are called ``S1/Seq1/cam4`` and ``TS1``. Training rates are the file's. In the test sequences only the frames
    marked valid count; joints of other frames that are not finite are stored as missing (0, 0, 0).

    Args:
        paths: ``data_train_3dhp.npz``, ``data_test_3dhp.npz`` or both; recognised by the form of their sequences.
        out: the npz to write.
        fps_test: frames per second of the test sequences, which their file does not contain.

    Returns:
        The sequences written.

    Raises:
        UsageError: no file, an invalid rate, or a file given twice.
        MissingError: a file does not exist.
        ArtefactError: a file does not have its form.
    """
    if not paths:
        raise UsageError("neither a training nor a test file to convert", expected="at least one")
    if not (fps_test > 0 and np.isfinite(fps_test)):
        raise UsageError(f"{fps_test} frames per second", expected="a positive rate")
    return save_recorded(out, (sequence for path in paths for sequence in _read_sequences(path, fps_test)))


def _read_sequences(path: Path, fps_test: float) -> Iterator[RecordedSequence]:
    tree = read_pickled(path, FIELD)
    if not (isinstance(tree, dict) and tree):
        raise _format_error(path, f"has {FIELD} that is not by sequence", "{sequence: ...}")
    for name, value in tree.items():
        if isinstance(value, list):
            yield from _training_sequences(path, name, value)
        else:
            yield _test_sequence(path, name, value, fps_test)


def _training_sequences(path: Path, name: str, value: list[Any]) -> Iterator[RecordedSequence]:
    """One sequence for each camera."""
    subject, _, sequence = name.partition(" ")
    if not (sequence and len(value) == 2 and isinstance(value[0], dict)):
        raise _format_error(path, f"has a sequence {name!r} of another form", "'S1 Seq1': [{camera: ...}, frames per second]")
    views, rate = value
    fps = float(np.ravel(rate)[0]) if isinstance(rate, int | float | np.ndarray) and np.size(rate) == 1 else float("nan")
    if not (fps > 0 and np.isfinite(fps)):
        raise _format_error(path, f"has {rate} frames per second in {name}", "a positive rate")
    for camera, view in views.items():
        clip_id = f"{subject}/{sequence}/cam{camera}"
        yield RecordedSequence(_pose_sequence(path, clip_id, view, action=sequence, fps=fps, size_px=SIZE_PX), subject, "train")


def _test_sequence(path: Path, name: str, view: Any, fps: float) -> RecordedSequence:
    if isinstance(view, dict) and "valid" not in view:
        raise _format_error(path, f"lacks valid in {name}", "a flag for each frame")
    sequence = _pose_sequence(path, name, view, action=name, fps=fps, size_px=OUTDOORS_PX.get(name, SIZE_PX))
    return RecordedSequence(sequence, name, "test")


def _pose_sequence(path: Path, clip_id: str, view: Any, *, action: str, fps: float, size_px: tuple[int, int]) -> PoseSequence:
    arrays = {key: value for key, value in view.items() if isinstance(value, np.ndarray)} if isinstance(view, dict) else {}
    if missing := [key for key in ("data_2d", "data_3d") if key not in arrays]:
        raise _format_error(path, f"lacks {' and '.join(missing)} in {clip_id}", "arrays of both")
    pixels, xyz_mm = arrays["data_2d"].astype(np.float64), arrays["data_3d"].astype(np.float64)
    frames = len(np.atleast_1d(xyz_mm))
    valid = np.atleast_1d(np.squeeze(arrays.get("valid", np.ones(frames)))).astype(np.bool_)
    shapes = {"data_2d": (pixels, (JOINTS, 2)), "data_3d": (xyz_mm, (JOINTS, 3)), "valid": (valid, ())}
    for key, (array, shape) in shapes.items():
        if array.shape != (frames, *shape) or not frames:
            raise _format_error(path, f"has {key} of shape {array.shape} in {clip_id}", str((frames, *shape)))
    has_pixels = np.isfinite(pixels[..., :1] + pixels[..., 1:])  # (T, 17, 1)
    has_pose = np.isfinite(xyz_mm.sum(axis=(1, 2)))  # (T,)
    if not (has_pixels[valid].all() and has_pose[valid].all()):
        raise _format_error(
            path, f"has frames of {clip_id} that are valid and not finite", "numbers in the frames marked valid"
        )
    place = f"{clip_id} in 3DHP file {path}"
    check_pixels(
        pixels[valid],
        width_px=size_px[0],
        height_px=size_px[1],
        place=place,
        expected=f"pixels of {size_px[0]} x {size_px[1]}",
        error=ArtefactError,
    )
    if valid.any():
        check_stature(
            xyz_mm[valid][:, list(ORDER)], unit_m=0.001, place=place, expected="data_3d in millimetres", error=ArtefactError
        )
    keypoints = np.concatenate([np.where(has_pixels, pixels, 0), has_pixels], axis=-1)[:, list(ORDER)]
    pose_m = (xyz_mm - xyz_mm[:, ROOT : ROOT + 1])[:, list(ORDER)] / 1000
    return PoseSequence(
        keypoints=normalise_screen(keypoints, width_px=size_px[0], height_px=size_px[1]),
        pose_m=np.where(has_pose[:, None, None], pose_m, 0).astype(np.float32),
        dt_s=np.full(frames, 1 / fps, np.float32),
        clip_id=clip_id,
        action=action,
        valid=None if valid.all() else valid,
    )


def _format_error(path: Path, what: str, expected: str) -> ArtefactError:
    return ArtefactError(f"3DHP file {path} {what}", expected=expected)
