"""Human3.6M's cameras, which VideoPose3D's files leave out: found by resection, or read from a user's JSON.

The calibration belongs to the data set's licence. The exact 2D file is a projection of the 3D file, so each camera follows from
its points.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.arrays import F32
from ...runtime.artefact.atomic import write_atomically
from ...runtime.bounds import check_bytes, parsing
from ...runtime.errors import ArtefactError, MissingError, PoseEdgeError
from ...runtime.file_kind import check_stand_in
from .camera import Camera
from .resection import Resection, resect

Cameras = dict[str, tuple[Resection, ...]]
"""Subject -> its four cameras, in the files' order."""

Positions = dict[str, dict[str, F32]]
"""Subject -> action -> (T, 17, 3) world, metres."""

Views = dict[str, dict[str, list[F32]]]
"""Subject -> action -> for each of the four cameras (T, 17, 2) pixels."""

SIZES_PX = ((1000, 1002), (1000, 1000), (1000, 1000), (1000, 1002))  # width, height of the four cameras
SAMPLE_FRAMES = 300  # of a subject, spread over all actions, to find a camera from
EXACT_PX = 0.5  # median error up to which a 2D file is a projection; the exact file is far below, detectors have 3 to 6 px


def find_cameras(positions: Positions, views: Views, *, source: Path) -> Cameras:
    """Every subject's four cameras, from exact keypoints.

    Args:
        positions: the 3D file.
        views: the exact 2D file.
        source: the 2D file's path, for error messages.

    Raises:
        ArtefactError: the points do not determine a camera, or the pixels are not their projection.
    """
    cameras = {}
    for subject in positions:
        of_subject = []
        for n, (width_px, height_px) in enumerate(SIZES_PX):
            try:
                camera = resect(*sample_points(positions, views, subject, n), width_px=width_px, height_px=height_px)
            except PoseEdgeError as error:
                raise ArtefactError(f"camera {n} of {subject} cannot be found from {source}: {error.what}") from error
            if camera.median_px > EXACT_PX:
                raise ArtefactError(
                    f"{source} is no projection of the 3D file: camera {n} of {subject} is {camera.median_px:.2g} px off",
                    expected="cameras of data_2d_h36m_gt.npz, or in a JSON",
                )
            of_subject.append(camera)
        cameras[subject] = tuple(of_subject)
    return cameras


def sample_points(positions: Positions, views: Views, subject: str, camera: int) -> tuple[F32, F32]:
    """World points (N, 3) in metres and their pixels (N, 2) in one camera, from frames spread over all actions."""
    actions = [action for action in positions[subject] if action in views.get(subject, {})]
    per_action = max(SAMPLE_FRAMES // max(len(actions), 1), 1)
    points, pixels = [np.empty((0, 3), np.float32)], [np.empty((0, 2), np.float32)]
    for action in actions:
        joints_m, view = positions[subject][action], views[subject][action][camera]
        frames = np.linspace(0, min(len(joints_m), len(view)) - 1, per_action).astype(int)
        points.append(joints_m[frames].reshape(-1, 3))
        pixels.append(view[frames].reshape(-1, 2))
    return np.concatenate(points), np.concatenate(pixels)


def median_error_px(camera: Resection, points: F32, pixels: F32) -> float:
    """Median distance in pixels between projected points (N, 3) and pixels (N, 2); NaN without points."""
    return float(np.median(np.linalg.norm(camera.project(points) - pixels, axis=-1))) if len(points) else float("nan")


def write_cameras(path: Path, cameras: Cameras) -> None:
    """Write cameras as the JSON that ``read_cameras`` reads. The data set's licence covers them: they are its calibration."""
    keys = ("rotation", "eye_m", "focal_px", "centre_px")
    record = {
        subject: [
            {key: np.asarray(getattr(camera.camera, key)).tolist() for key in keys} | {"distortion": camera.distortion.tolist()}
            for camera in subject_cameras
        ]
        for subject, subject_cameras in cameras.items()
    }
    write_atomically(path, json.dumps(record, indent=1).encode())


def read_cameras(path: Path) -> Cameras:
    """The cameras of a JSON file.

    Args:
        path: subject -> a list of four, each with rotation (3, 3) camera_from_world, eye_m (3,), focal_px (2,), centre_px (2,)
            and, if known, distortion (5,) k1 k2 k3 p1 p2.

    Raises:
        MissingError: there is no such file.
        ArtefactError: it does not have that form.
    """
    if not path.is_file():
        raise MissingError(f"there is no camera file {path}", expected="a JSON file, or data_2d_h36m_gt.npz in its place")
    check_stand_in(path, expected="a JSON file of cameras", text=True)
    with parsing(f"camera file {path}", expected="subject -> four cameras of rotation, eye_m, focal_px, centre_px"):
        check_bytes(str(path), path.stat().st_size)
        record = json.loads(path.read_bytes())
        return {subject: _parse_cameras(subject, fields) for subject, fields in record.items()}


def _parse_cameras(subject: str, cameras: list[dict[str, Any]]) -> tuple[Resection, ...]:
    if len(cameras) != len(SIZES_PX):
        raise ValueError(f"{len(cameras)} cameras of {subject}")
    return tuple(_parse_camera(fields, n) for n, fields in enumerate(cameras))


def _parse_camera(fields: dict[str, Any], n: int) -> Resection:
    shapes = {"rotation": (3, 3), "eye_m": (3,), "focal_px": (2,), "centre_px": (2,), "distortion": (5,)}
    arrays = {key: np.array({"distortion": [0.0] * 5, **fields}[key], np.float32) for key in shapes}
    for key, shape in shapes.items():
        if arrays[key].shape != shape or not np.isfinite(arrays[key]).all():
            raise ValueError(f"{key} of camera {n} is not a finite {shape}")
    rotation = arrays["rotation"].astype(np.float64)  # whose squares do not overflow
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-4 or np.linalg.det(rotation) < 0:
        raise ValueError(f"rotation of camera {n} is no rotation")
    distortion = arrays.pop("distortion")
    return Resection(Camera(**arrays, width_px=SIZES_PX[n][0], height_px=SIZES_PX[n][1]), distortion, median_px=0.0)
