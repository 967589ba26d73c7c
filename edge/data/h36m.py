"""Human3.6M from VideoPose3D's files: world positions and four views in pixels become recorded sequences in camera axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.arrays import F32
from ...runtime.errors import ArtefactError
from ...runtime.pose.keypoints import normalise_screen
from ...runtime.pose.skeleton import COCO17, H36M17, coco_to_h36m
from ...runtime.sources.keypoint_doubts import likelier_order
from .h36m_cameras import SIZES_PX, Cameras, Positions, Views, find_cameras, median_error_px, read_cameras, sample_points
from .pickled import field_names, read_pickled
from .pixel_check import check_pixels
from .recorded import RecordedSequence, SavedSequence, save_recorded
from .sequences import JOINTS, PoseSequence
from .stature import check_stature

SPLIT_OF = {"S1": "train", "S5": "train", "S6": "train", "S7": "train", "S8": "train", "S9": "test", "S11": "test"}
FPS = 50.0
JOINTS_IN_FILE = 32
H36M17_IN_FILE = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)  # the others do not move, or are duplicates
METADATA = "metadata"
LAYOUTS = {"h36m": H36M17.name, "coco": COCO17.name}  # layout_name in the files -> skeleton
FITTING_PX = 40.0  # a larger median error means wrong cameras: it exceeds detectors' errors and omitted distortion together


@dataclass(frozen=True)
class H36MReport:
    """The result of a conversion.

    Args:
        saved: the sequences written.
        cameras: those used.
        error_px: subject -> for each camera the median distance in pixels of the keypoints from the projected positions.
    """

    saved: list[SavedSequence]
    cameras: Cameras
    error_px: dict[str, tuple[float, ...]]


def convert(path_3d: Path, path_2d: Path, out: Path, *, cameras: Path | None = None) -> H36MReport:
    """Write the file that ``load_recorded`` reads; no code in the published files is executed.

    Sequences are called ``S9/Walking 1/cam2``, cameras counted from 0.

    Args:
        path_3d: ``data_3d_h36m.npz``.
        path_2d: ``data_2d_h36m_gt.npz`` or a detector's file of that form.
        out: the npz to write.
        cameras: JSON (see ``read_cameras``), or ``data_2d_h36m_gt.npz`` to find them from; None finds them from ``path_2d``.

    Raises:
        MissingError: a file does not exist.
        ArtefactError: a file does not have its form, or the cameras do not fit the keypoints.
    """
    positions, views = _read_positions(path_3d), _read_views(path_2d)
    if cameras is not None and cameras.suffix == ".json":
        all_cameras, source = read_cameras(cameras), cameras
    else:
        source = cameras or path_2d
        if joint_layout(source) == COCO17.name:
            raise ArtefactError(
                f"the joints of {source} are COCO's, which are no projection of the 3D file: cameras cannot be found from it",
                expected="--cameras data_2d_h36m_gt.npz, or a JSON of cameras",
            )
        exact = views if cameras is None else _read_views(cameras)
        try:
            all_cameras = find_cameras(positions, exact, source=source)
        except ArtefactError as error:
            _question_order(source, exact, error)
            raise
    error_px = {}
    for subject in positions:
        if subject not in all_cameras:
            raise ArtefactError(f"camera file {source} has no cameras of {subject}", expected=", ".join(positions))
        error_px[subject] = tuple(
            median_error_px(camera, *sample_points(positions, views, subject, n))
            for n, camera in enumerate(all_cameras[subject])
        )
        if max(error_px[subject]) > FITTING_PX:
            missed = ArtefactError(
                f"cameras of {source} miss the keypoints of {subject} in {path_2d} by {max(error_px[subject]):.0f} px",
                expected="camera_from_world rotations, metres, the files' order of cameras",
            )
            _question_order(path_2d, views, missed)
            raise missed
    return H36MReport(save_recorded(out, _recorded_sequences(positions, views, all_cameras)), all_cameras, error_px)


def _question_order(path: Path, views: Views, failure: ArtefactError) -> None:
    """Raise an error that asks about the joints' order, if another one explains a failure: of a file that does not name it."""
    first = next((view for actions in views.values() for cameras in actions.values() for view in cameras), None)
    if first is None:
        return
    bodies = np.concatenate([first, np.ones((*first.shape[:2], 1), np.float32)], axis=-1)
    if other := likelier_order(bodies, H36M17):
        raise ArtefactError(
            f"the joints of {path} make no body in Human3.6M's order; are they in the order of {other}? ({failure.what})",
            expected="metadata with the layout_name 'coco', if they are COCO's",
        ) from failure


def _recorded_sequences(positions: Positions, views: Views, cameras: Cameras) -> Iterator[RecordedSequence]:
    for subject, actions in positions.items():
        for action, joints_m in actions.items():
            action_views = views.get(subject, {}).get(action)
            if action_views is None:
                raise ArtefactError(f"2D file has no {subject} {action}", expected="every action of the 3D file")
            for n, (view, resection) in enumerate(zip(action_views, cameras[subject], strict=True)):
                clip_id = f"{subject}/{action}/cam{n}"
                if len(view) < len(joints_m):
                    lengths = f"{clip_id} has {len(view)} frames of keypoints and {len(joints_m)} of positions"
                    raise ArtefactError(f"2D file is too short: {lengths}", expected="at least as many")
                camera = resection.camera
                points = camera.to_camera(joints_m)
                pixels = np.concatenate([view[: len(joints_m)], np.ones((*joints_m.shape[:2], 1), np.float32)], axis=-1)
                sequence = PoseSequence(
                    keypoints=normalise_screen(pixels, width_px=camera.width_px, height_px=camera.height_px),
                    pose_m=points - points[:, :1],
                    dt_s=np.full(len(joints_m), 1 / FPS, np.float32),
                    clip_id=clip_id,
                    action=action.partition(" ")[0],
                    intrinsics=np.tile(camera.intrinsics, (len(joints_m), 1)),
                )
                yield RecordedSequence(sequence, subject, SPLIT_OF[subject])


def _read_positions(path: Path) -> Positions:
    positions: Positions = {}
    for subject, action, points in _read_actions(path, "positions_3d"):
        shape = getattr(points, "shape", None)
        if shape is None or len(points) < 1 or shape[1:] != (JOINTS_IN_FILE, 3):
            raise _format_error(path, f"has {subject} {action} of shape {shape}", f"(T, {JOINTS_IN_FILE}, 3)")
        joints_m = points[:, list(H36M17_IN_FILE)].astype(np.float32)
        if not np.isfinite(joints_m).all():
            raise _format_error(path, f"has positions of {subject} {action} that are not finite", "metres")
        check_stature(
            joints_m.astype(np.float64),
            unit_m=1.0,
            place=f"{subject} {action} in Human3.6M file {path}",
            expected="positions_3d in metres",
            error=ArtefactError,
        )
        positions.setdefault(subject, {})[action] = joints_m
    return positions


def _read_views(path: Path) -> Views:
    """The keypoints of a 2D file in h36m17; COCO's are brought to it by the recipe ``coco_eyes``."""
    in_coco = joint_layout(path) == COCO17.name
    all_views: Views = {}
    for subject, action, views in _read_actions(path, "positions_2d"):
        shapes = [getattr(view, "shape", None) for view in views] if isinstance(views, list | np.ndarray) else views
        if len(shapes) != len(SIZES_PX) or any(shape is None or shape[1:] != (JOINTS, 2) for shape in shapes):
            raise _format_error(path, f"has views {shapes} of {subject} {action}", f"four (T, {JOINTS}, 2)")
        if not all(np.isfinite(view).all() for view in views):
            raise _format_error(path, f"has keypoints of {subject} {action} that are not finite", "pixels")
        for view, (width_px, height_px) in zip(views, SIZES_PX, strict=True):
            check_pixels(
                view,
                width_px=width_px,
                height_px=height_px,
                place=f"{subject} {action} in Human3.6M file {path}",
                expected=f"pixels of {width_px} x {height_px}",
                error=ArtefactError,
            )
        pixels = [np.asarray(view, np.float32) for view in views]
        all_views.setdefault(subject, {})[action] = [_coco_to_h36m(view) for view in pixels] if in_coco else pixels
    return all_views


def joint_layout(path: Path) -> str:
    """The skeleton of a 2D file, as its metadata say; h36m17 where there are none.

    Raises:
        ArtefactError: another skeleton.
    """
    if not path.is_file() or METADATA not in field_names(path):
        return H36M17.name
    metadata = read_pickled(path, METADATA)
    name = metadata.get("layout_name") if isinstance(metadata, dict) else None
    layout = LAYOUTS.get(str(name).lower()) if name is not None else H36M17.name
    if layout is None:
        raise _format_error(path, f"has joints of the layout {name!r}", " or ".join(LAYOUTS))
    return layout


def _coco_to_h36m(pixels: F32) -> F32:
    """(T, 17, 2) COCO joints as (T, 17, 2) of h36m17."""
    scored = np.concatenate([pixels, np.ones((*pixels.shape[:2], 1), np.float32)], axis=-1)
    return coco_to_h36m(scored)[..., :2]


def _read_actions(path: Path, field: str) -> Iterator[tuple[str, str, Any]]:
    """Each (subject, action, value) of a field of a published file."""
    tree = read_pickled(path, field)
    if not (isinstance(tree, dict) and tree and all(isinstance(actions, dict) and actions for actions in tree.values())):
        raise _format_error(path, f"has {field} that are not by subject and action", "{subject: {action: ...}}")
    if unknown := set(tree) - set(SPLIT_OF):
        raise _format_error(path, "has unknown subjects " + ", ".join(sorted(unknown)), ", ".join(SPLIT_OF))
    for subject, actions in tree.items():
        for action, value in actions.items():
            yield subject, action, value


def _format_error(path: Path, what: str, expected: str) -> ArtefactError:
    return ArtefactError(f"Human3.6M file {path} {what}", expected=expected)
