"""Human3.6M as VideoPose3D's files hold it: world positions, four views in pixels, and the cameras that the files leave out.

The calibration belongs to the data set's licence and is in none of the files. It is given as a JSON of the user's, or found
again: the exact 2D file is a projection of the 3D file, so each camera follows from its points.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.artefact.atomic import write_atomically
from ...runtime.errors import ArtefactError, MissingError, PoseEdgeError
from ...runtime.pose.keypoints import normalise_screen
from .camera import Camera
from .pickled import read_pickled
from .recorded import RecordedSequence, SavedSequence, save_recorded
from .resection import Resection, resect
from .sequences import JOINTS, PoseSequence

Floats = NDArray[np.float32]
Cameras = dict[str, tuple[Resection, ...]]
"""Subject -> its four cameras, in the files' order."""

SPLIT_OF = {"S1": "train", "S5": "train", "S6": "train", "S7": "train", "S8": "train", "S9": "test", "S11": "test"}
SIZES_PX = ((1000, 1002), (1000, 1000), (1000, 1000), (1000, 1002))  # width, height of the four cameras
FPS = 50.0
JOINTS_IN_FILE = 32
KEPT = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)  # the others stand still or are there twice

SAMPLE_FRAMES = 300  # of a subject, spread over all actions, to find a camera from
EXACT_PX = 0.5  # median error up to which a 2D file is a projection; of the real one it is far below, a detector's is 3 to 6 px
FITTING_PX = 40.0  # median error up to which given cameras can be meant: a detector's error, and distortion left out


@dataclass(frozen=True)
class Report:
    """What a conversion did: the takes written, and by subject and camera the median distance of the keypoints in pixels."""

    saved: list[SavedSequence]
    cameras: Cameras
    error_px: dict[str, tuple[float, ...]]


def convert(path_3d: Path, path_2d: Path, out: Path, *, cameras: Path | None = None) -> Report:
    """Make the file that ``load_recorded`` reads; nothing in the published files is run.

    Takes are called ``S9/Walking 1/cam2``, cameras counted from 0.

    Args:
        path_3d: ``data_3d_h36m.npz``.
        path_2d: ``data_2d_h36m_gt.npz`` or a detector's file of that form.
        out: the npz to write.
        cameras: JSON (see ``read_cameras``), or ``data_2d_h36m_gt.npz`` to find them from; None finds them from ``path_2d``.
    """
    world, seen = _world(path_3d), _seen(path_2d)
    if cameras is not None and cameras.suffix == ".json":
        views, source = read_cameras(cameras), cameras
    else:
        source = cameras or path_2d
        views = find_cameras(world, seen if cameras is None else _seen(cameras), source=source)
    error_px = {}
    for subject in world:
        if subject not in views:
            raise ArtefactError(f"camera file {source} has no cameras of {subject}", expected=", ".join(world))
        error_px[subject] = tuple(_error_px(view, *_sample(world, seen, subject, n)) for n, view in enumerate(views[subject]))
        if max(error_px[subject]) > FITTING_PX:
            raise ArtefactError(
                f"cameras of {source} miss the keypoints of {subject} in {path_2d} by {max(error_px[subject]):.0f} px",
                expected="camera_from_world rotations, metres, the files' order of cameras",
            )
    return Report(save_recorded(out, _recorded(world, seen, views)), views, error_px)


def find_cameras(world: dict[str, dict[str, Floats]], seen: dict[str, dict[str, list[Floats]]], *, source: Path) -> Cameras:
    """Every subject's four cameras, from exact keypoints.

    Args:
        world: subject -> action -> (T, 17, 3) metres.
        seen: subject -> action -> four (T, 17, 2) pixels.
        source: where the pixels are from, to be named in errors.
    """
    made = {}
    for subject in world:
        views = []
        for n, (width_px, height_px) in enumerate(SIZES_PX):
            try:
                view = resect(*_sample(world, seen, subject, n), width_px=width_px, height_px=height_px)
            except PoseEdgeError as error:
                raise ArtefactError(f"camera {n} of {subject} cannot be found from {source}: {error.what}") from error
            if view.median_px > EXACT_PX:
                raise ArtefactError(
                    f"{source} is no projection of the 3D file: camera {n} of {subject} is {view.median_px:.2g} px off",
                    expected="cameras of data_2d_h36m_gt.npz, or in a JSON",
                )
            views.append(view)
        made[subject] = tuple(views)
    return made


def write_cameras(path: Path, cameras: Cameras) -> None:
    """Keep cameras as JSON. They are the data set's calibration: its licence goes with them."""
    record = {
        subject: [
            {key: np.asarray(getattr(view.camera, key)).tolist() for key in ("rotation", "eye_m", "focal_px", "centre_px")}
            | {"distortion": view.distortion.tolist()}
            for view in views
        ]
        for subject, views in cameras.items()
    }
    write_atomically(path, json.dumps(record, indent=1).encode())


def read_cameras(path: Path) -> Cameras:
    """Cameras of a JSON: subject -> a list of four, each with rotation (3, 3) camera_from_world, eye_m (3,), focal_px (2,),
    centre_px (2,) and, if known, distortion (5,) k1 k2 k3 p1 p2."""
    if not path.is_file():
        raise MissingError(f"there is no camera file {path}", expected="JSON, or leave it out: data_2d_h36m_gt.npz will do")
    try:
        record = json.loads(path.read_bytes())
        return {subject: _views(subject, given) for subject, given in record.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        expected = "subject -> four cameras of rotation, eye_m, focal_px, centre_px"
        raise ArtefactError(f"camera file {path} does not fit: {error}", expected=expected) from error


def _views(subject: str, given: list[dict[str, Any]]) -> tuple[Resection, ...]:
    if len(given) != len(SIZES_PX):
        raise ValueError(f"{len(given)} cameras of {subject}")
    return tuple(_view(view, n) for n, view in enumerate(given))


def _view(given: dict[str, Any], n: int) -> Resection:
    shapes = {"rotation": (3, 3), "eye_m": (3,), "focal_px": (2,), "centre_px": (2,), "distortion": (5,)}
    made = {key: np.array({"distortion": [0.0] * 5, **given}[key], np.float32) for key in shapes}
    for key, shape in shapes.items():
        if made[key].shape != shape or not np.isfinite(made[key]).all():
            raise ValueError(f"{key} of camera {n} is not a finite {shape}")
    rotation = made["rotation"]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-4 or np.linalg.det(rotation) < 0:
        raise ValueError(f"rotation of camera {n} is no rotation")
    distortion = made.pop("distortion")
    return Resection(Camera(**made, width_px=SIZES_PX[n][0], height_px=SIZES_PX[n][1]), distortion, median_px=0.0)


def _world(path: Path) -> dict[str, dict[str, Floats]]:
    """Subject -> action -> (T, 17, 3) metres."""
    made: dict[str, dict[str, Floats]] = {}
    for subject, action, points in _each(path, "positions_3d"):
        shape = getattr(points, "shape", None)
        if shape is None or len(points) < 1 or shape[1:] != (JOINTS_IN_FILE, 3):
            raise _odd(path, f"has {subject} {action} of shape {shape}", f"(T, {JOINTS_IN_FILE}, 3)")
        joints_m = points[:, list(KEPT)].astype(np.float32)
        if not np.isfinite(joints_m).all():
            raise _odd(path, f"has positions of {subject} {action} that are not finite", "metres")
        made.setdefault(subject, {})[action] = joints_m
    return made


def _seen(path: Path) -> dict[str, dict[str, list[Floats]]]:
    """Subject -> action -> four (T, 17, 2) pixels."""
    made: dict[str, dict[str, list[Floats]]] = {}
    for subject, action, views in _each(path, "positions_2d"):
        shapes = [getattr(view, "shape", None) for view in views] if isinstance(views, list | np.ndarray) else views
        if len(shapes) != len(SIZES_PX) or any(shape is None or shape[1:] != (JOINTS, 2) for shape in shapes):
            raise _odd(path, f"has views {shapes} of {subject} {action}", f"four (T, {JOINTS}, 2)")
        if not all(np.isfinite(view).all() for view in views):
            raise _odd(path, f"has keypoints of {subject} {action} that are not finite", "pixels")
        made.setdefault(subject, {})[action] = [np.asarray(view, np.float32) for view in views]
    return made


def _each(path: Path, field: str) -> Iterator[tuple[str, str, Any]]:
    tree = read_pickled(path, field)
    if not (isinstance(tree, dict) and tree and all(isinstance(actions, dict) and actions for actions in tree.values())):
        raise _odd(path, f"has {field} that are not by subject and action", "{subject: {action: ...}}")
    if unknown := set(tree) - set(SPLIT_OF):
        raise _odd(path, "has unknown subjects " + ", ".join(sorted(unknown)), ", ".join(SPLIT_OF))
    for subject, actions in tree.items():
        for action, value in actions.items():
            yield subject, action, value


def _sample(
    world: dict[str, dict[str, Floats]], seen: dict[str, dict[str, list[Floats]]], subject: str, camera: int
) -> tuple[Floats, Floats]:
    """Points (N, 3) and pixels (N, 2) of one camera, frames spread over all actions."""
    actions = [action for action in world[subject] if action in seen.get(subject, {})]
    each = max(SAMPLE_FRAMES // max(len(actions), 1), 1)
    points, pixels = [np.empty((0, 3), np.float32)], [np.empty((0, 2), np.float32)]
    for action in actions:
        joints_m, view = world[subject][action], seen[subject][action][camera]
        frames = np.linspace(0, min(len(joints_m), len(view)) - 1, each).astype(int)
        points.append(joints_m[frames].reshape(-1, 3))
        pixels.append(view[frames].reshape(-1, 2))
    return np.concatenate(points), np.concatenate(pixels)


def _error_px(view: Resection, points: Floats, pixels: Floats) -> float:
    return float(np.median(np.linalg.norm(view.project(points) - pixels, axis=-1))) if len(points) else float("nan")


def _recorded(
    world: dict[str, dict[str, Floats]], seen: dict[str, dict[str, list[Floats]]], cameras: Cameras
) -> Iterator[RecordedSequence]:
    for subject, actions in world.items():
        for action, joints_m in actions.items():
            views = seen.get(subject, {}).get(action)
            if views is None:
                raise ArtefactError(f"2D file has no {subject} {action}", expected="every action of the 3D file")
            for n, (view, resection) in enumerate(zip(views, cameras[subject], strict=True)):
                clip_id = f"{subject}/{action}/cam{n}"
                if len(view) < len(joints_m):
                    found = f"{clip_id} has {len(view)} frames of keypoints and {len(joints_m)} of positions"
                    raise ArtefactError(f"2D file is too short: {found}", expected="at least as many; what is more is cut off")
                camera = resection.camera
                points = camera.to_camera(joints_m)
                pixels = np.concatenate([view[: len(joints_m)], np.ones((*joints_m.shape[:2], 1), np.float32)], axis=-1)
                take = PoseSequence(
                    keypoints=normalise_screen(pixels, width_px=camera.width_px, height_px=camera.height_px),
                    pose_m=points - points[:, :1],
                    dt_s=np.full(len(joints_m), 1 / FPS, np.float32),
                    clip_id=clip_id,
                    action=action.partition(" ")[0],
                )
                yield RecordedSequence(take, subject, SPLIT_OF[subject])


def _odd(path: Path, what: str, expected: str) -> ArtefactError:
    return ArtefactError(f"Human3.6M file {path} {what}", expected=expected)
