"""On real people before calibrated cameras, a known camera makes poses better, and puts them where they are.

Pose2Sim's single person before four cameras; the truth, triangulated from all of them, is projected into each in a detector's
place. The bounds leave room to what was measured, which docs/how-to/camera.md tells.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from posemoe_edge.runtime import Camera, ImageSize, Intrinsics, Keypoints, Model, Pipeline, Pose, PoseFrame, load
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.pose.metrics import mpjpe, p_mpjpe
from posemoe_edge.runtime.sources import BaseSource, People, SourceInfo

CLIPS = Path(__file__).resolve().parents[2].parent / "shared" / "assets" / "real"
FPS = 60.0
STRIDE = 2  # every second frame, at 30 frames a second
IN_COCO = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]  # shoulders, elbows, wrists, hips, knees, ankles
IN_H36M = [11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3]
HIPS = [6, 7]  # of the limbs above

if not (CLIPS / "pose2sim_calib.qca.txt").is_file():
    pytest.skip("the real clips are not here", allow_module_level=True)


class PerfectPeople(BaseSource):
    """The true joints, in pixels, as a perfect detector would give them."""

    def __init__(self, truth_px: F64, size: ImageSize) -> None:
        self.truth_px, self.size = truth_px, size

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("perfect people", fps=FPS / STRIDE, frames=len(self.truth_px))

    def __iter__(self) -> Iterator[People]:
        for i, xy in enumerate(self.truth_px):
            yield People(i * STRIDE / FPS, {0: Keypoints.from_arrays(xy, np.ones(17), size=self.size)})


def calibrated_cameras() -> Iterator[tuple[Camera, F64]]:
    """Each camera, and the true joints (T, 17, 3) in its axes."""
    truth_m = np.load(CLIPS / "pose2sim_single_truth.npz")["coco17_m"][::STRIDE]
    for element in ElementTree.parse(CLIPS / "pose2sim_calib.qca.txt").iter("camera"):
        place, lens, picture = (
            {key: float(value) for key, value in found.attrib.items()}
            for found in (element.find(name) for name in ("transform", "intrinsic", "fov_video"))
            if found is not None
        )
        turn = np.array([[place[f"r{row}{column}"] for column in (1, 2, 3)] for row in (1, 2, 3)])
        turn = np.diag([1.0, -1.0, -1.0]) @ turn  # Qualisys' cameras look along -z, with y up
        eye_m = np.array([place[axis] for axis in "xyz"]) / 1000
        intrinsics = Intrinsics(*(lens[key] / 64 for key in ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV")))
        size = ImageSize(picture["right"] + 1, picture["bottom"] + 1)
        yield Camera(intrinsics, size, gravity=-turn[:, 2], height_m=eye_m[2]), (truth_m - eye_m) @ turn.T


OF_PICTURES, WITH_A_VIEW = "posemoe-retention-s", "frame-retention-s"


@pytest.fixture(scope="module")
def open_model() -> Callable[[str], Model]:
    pytest.importorskip("onnxruntime")
    return functools.cache(load)


def lifted(model: Model, camera: Camera, truth_m: F64, *, known: Camera | None) -> list[Pose]:
    events = Pipeline(PerfectPeople(camera.project(truth_m), camera.size), model, camera=known)
    return [event.poses[0] for event in events if isinstance(event, PoseFrame)]


def errors_mm(poses: list[Pose], truth_m: F64) -> tuple[float, float]:
    """MPJPE and P-MPJPE of the limbs, with the middles of the hips in one place."""
    xyz_m, limbs_m = np.stack([pose.xyz_m for pose in poses])[:, IN_H36M], truth_m[:, IN_COCO]
    xyz_m, limbs_m = (joints - joints[:, HIPS].mean(axis=1, keepdims=True) for joints in (xyz_m, limbs_m))
    return 1000 * mpjpe(xyz_m, limbs_m), 1000 * p_mpjpe(xyz_m, limbs_m)


def mean_errors_mm(model: Model, *, known: bool) -> tuple[float, float]:
    """MPJPE and P-MPJPE, the mean over the cameras."""
    of_cameras = [errors_mm(lifted(model, c, truth, known=c if known else None), truth) for c, truth in calibrated_cameras()]
    mean: tuple[float, float] = tuple(np.mean(of_cameras, axis=0))
    return mean


def test_a_known_camera_makes_poses_of_a_lifter_of_pictures_better(open_model: Callable[[str], Model]) -> None:
    unknown, known = (mean_errors_mm(open_model(OF_PICTURES), known=told) for told in (False, True))
    assert known[0] < unknown[0] - 15 and known[1] < unknown[1] - 4
    assert known[0] < 100 and known[1] < 70


def test_a_lifter_with_a_view_of_the_person_needs_no_camera(open_model: Callable[[str], Model]) -> None:
    unknown, known = (mean_errors_mm(open_model(WITH_A_VIEW), known=told) for told in (False, True))
    for errors in (unknown, known):
        assert errors[0] < 80 and errors[1] < 55


@pytest.mark.parametrize(("name", "farthest_mm"), [(OF_PICTURES, 150), (WITH_A_VIEW, 180)])
def test_people_are_where_they_are(name: str, farthest_mm: float, open_model: Callable[[str], Model]) -> None:
    model = open_model(name)
    off_mm, within, absolute_mm = [], [], []
    for camera, truth_m in calibrated_cameras():
        poses = lifted(model, camera, truth_m, known=camera)
        hip_m = truth_m[:, IN_COCO][:, HIPS].mean(axis=1)
        roots = [pose.root for pose in poses if pose.root is not None]
        assert len(roots) == len(poses) and {root.scale_from for root in roots} == {"floor"}
        error_m = np.stack([root.xyz_m for root in roots]) - hip_m
        off_mm.append(1000 * np.linalg.norm(error_m, axis=1).mean())
        within.append((np.abs(error_m) < 2 * np.stack([root.sigma_m for root in roots])).mean())
        joints_m = np.stack([pose.xyz_in_camera_m for pose in poses if pose.xyz_in_camera_m is not None])
        absolute_mm.append(1000 * mpjpe(joints_m[:, IN_H36M], truth_m[:, IN_COCO]))
    assert np.mean(off_mm) < 110 and max(off_mm) < farthest_mm  # at 3.4 m
    assert np.mean(within) > 0.9
    assert np.mean(absolute_mm) < 145
