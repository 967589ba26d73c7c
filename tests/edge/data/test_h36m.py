"""A Human3.6M of two walkers: 32 joints, bent cameras of the room's kind, files written as VideoPose3D writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from posemoe_edge.edge.data.camera import Camera, sample_camera
from posemoe_edge.edge.data.h36m import H36M17_IN_FILE, SPLIT_OF, convert
from posemoe_edge.edge.data.h36m_cameras import SIZES_PX, read_cameras, write_cameras
from posemoe_edge.edge.data.recorded import load_recorded
from posemoe_edge.runtime.errors import ArtefactError, MissingError
from posemoe_edge.runtime.sources.walker import walk_world

FOUND_MM = 0.05  # of a camera found from float32 pixels
PIXEL = 1e-6  # normalised: float32
BENT = (-0.2, 0.24, -0.002, -0.001, -0.0014)
ACTIONS = {"S1": ("SittingDown",), "S9": ("Walking 1", "Photo 1")}
FRAMES = 120


def pixels_of(camera: Camera, joints_m: NDArray[Any], bent: tuple[float, ...] = BENT) -> NDArray[np.float32]:
    x, y, z = np.moveaxis((joints_m.astype(np.float64) - camera.eye_m) @ camera.rotation.T.astype(np.float64), -1, 0)
    x, y = x / z, y / z
    k1, k2, k3, p1, p2 = bent
    r2 = x**2 + y**2
    grow = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + p1 * x + p2 * y
    return (np.stack([x * grow + p1 * r2, y * grow + p2 * r2], -1) * camera.focal_px + camera.centre_px).astype(np.float32)


class Room:
    """The truth, and the two files."""

    def __init__(self, folder: Path) -> None:
        self.path_3d, self.path_2d, self.out = folder / "data_3d_h36m.npz", folder / "data_2d_h36m_gt.npz", folder / "h36m.npz"
        self.joints_m: dict[str, dict[str, NDArray[np.float32]]] = {}
        self.cameras: dict[str, list[Camera]] = {}
        self.views: dict[str, dict[str, list[NDArray[np.float32]]]] = {}
        self.world: dict[str, dict[str, NDArray[np.float32]]] = {}
        for n, (subject, actions) in enumerate(ACTIONS.items()):
            t_s = np.arange((FRAMES + 7) * len(actions)) / 5
            walk = walk_world(t_s, seed=n).astype(np.float32)
            self.cameras[subject] = [sample_camera(np.random.default_rng(10 * n + c), walk) for c in range(4)]
            parts = dict(zip(actions, np.split(walk, len(actions)), strict=True))
            self.joints_m[subject] = {name: part[:FRAMES] for name, part in parts.items()}
            self.world[subject] = {}
            for name, part in self.joints_m[subject].items():
                self.world[subject][name] = np.full((FRAMES, 32, 3), 7, np.float32)
                self.world[subject][name][:, list(H36M17_IN_FILE)] = part
            # the views are some frames longer than the positions, as in the published files
            self.views[subject] = {name: [pixels_of(c, part) for c in self.cameras[subject]] for name, part in parts.items()}

    def write(self) -> Room:
        np.savez_compressed(self.path_3d, positions_3d=np.array(self.world, dtype=object))
        meta = {"num_joints": 17, "keypoints_symmetry": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]], "layout_name": "h36m"}
        np.savez_compressed(
            self.path_2d, positions_2d=np.array(self.views, dtype=object), metadata=np.array(meta, dtype=object)
        )
        return self

    def noisy(self, px: float) -> Path:
        """A detector's file beside the exact one."""
        rng = np.random.default_rng(0)
        views = {
            subject: {name: [v + rng.normal(0, px, v.shape).astype(np.float32) for v in vs] for name, vs in actions.items()}
            for subject, actions in self.views.items()
        }
        path = self.path_2d.with_name("data_2d_h36m_cpn_ft_h36m_dbb.npz")
        np.savez_compressed(path, positions_2d=np.array(views, dtype=object))
        return path

    def calibration(self) -> Path:
        """The true pinholes as JSON, without distortion."""
        keys = ("rotation", "eye_m", "focal_px", "centre_px")
        views = {
            subject: [{key: getattr(camera, key).tolist() for key in keys} for camera in cameras]
            for subject, cameras in self.cameras.items()
        }
        path = self.out.with_name("cameras.json")
        path.write_text(json.dumps(views))
        return path


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path).write()


def check_poses(room: Room, path: Path) -> None:
    for one in load_recorded(path):
        subject, action, view = one.sequence.clip_id.split("/")
        camera = room.cameras[subject][int(view.removeprefix("cam"))]
        points = camera.to_camera(room.joints_m[subject][action])
        np.testing.assert_allclose(one.sequence.pose_m, points - points[:, :1], atol=FOUND_MM / 1000)


def test_takes_are_in_the_axes_of_the_cameras_found(room: Room) -> None:
    report = convert(room.path_3d, room.path_2d, room.out)
    assert max(max(errors) for errors in report.error_px.values()) < 1e-2
    recorded = load_recorded(room.out)
    ids = [entry.clip_id for entry in report.saved]
    assert [one.sequence.clip_id for one in recorded] == ids and {entry.frames for entry in report.saved} == {FRAMES}
    assert len(recorded) == 3 * 4 and "S9/Walking 1/cam2" in ids
    check_poses(room, room.out)
    for one in recorded:
        subject, action, view = one.sequence.clip_id.split("/")
        n = int(view.removeprefix("cam"))
        width_px, height_px = SIZES_PX[n]
        pixels = room.views[subject][action][n][:FRAMES]
        np.testing.assert_allclose(one.sequence.keypoints[..., 0], pixels[..., 0] / width_px * 2 - 1, atol=PIXEL)
        np.testing.assert_allclose(
            one.sequence.keypoints[..., 1], pixels[..., 1] / width_px * 2 - height_px / width_px, atol=PIXEL
        )
        assert (
            (one.sequence.keypoints[..., 2] == 1).all()
            and one.sequence.valid is None
            and one.sequence.action == action.split()[0]
        )
        np.testing.assert_allclose(one.sequence.dt_s, 0.02)


def test_subjects_are_split_as_everybody_splits_them(room: Room) -> None:
    convert(room.path_3d, room.path_2d, room.out, cameras=room.calibration())
    assert {one.subject for one in load_recorded(room.out, "train")} == {"S1"}
    assert {one.subject for one in load_recorded(room.out, "test")} == {"S9"}
    assert {subject for subject, split in SPLIT_OF.items() if split == "test"} == {"S9", "S11"} and len(SPLIT_OF) == 7


def test_a_detectors_file_takes_its_cameras_from_the_exact_one(room: Room) -> None:
    found = room.noisy(4.0)
    with pytest.raises(ArtefactError, match=r"cpn_ft_h36m_dbb\.npz is no projection .* expected cameras of data_2d_h36m_gt"):
        convert(room.path_3d, found, room.out)
    assert not room.out.exists()
    report = convert(room.path_3d, found, room.out, cameras=room.path_2d)
    assert 4 < report.error_px["S9"][0] < 5.5
    check_poses(room, room.out)


def test_cameras_may_be_given(room: Room) -> None:
    path = room.calibration()
    convert(room.path_3d, room.path_2d, room.out, cameras=path)  # distortion is left out: the fit is judged mildly
    check_poses(room, room.out)
    views = json.loads(path.read_text())
    for camera in views["S9"]:
        camera["rotation"] = np.array(camera["rotation"]).T.tolist()  # world_from_camera, a likely slip
    path.write_text(json.dumps(views))
    with pytest.raises(ArtefactError, match=r"cameras of .*cameras\.json miss the keypoints of S9"):
        convert(room.path_3d, room.path_2d, room.out, cameras=path)


def test_cameras_found_can_be_kept(room: Room, tmp_path: Path) -> None:
    report = convert(room.path_3d, room.path_2d, room.out)
    path = tmp_path / "kept.json"
    write_cameras(path, report.cameras)
    again = read_cameras(path)
    np.testing.assert_array_equal(again["S9"][3].camera.rotation, report.cameras["S9"][3].camera.rotation)
    assert convert(room.path_3d, room.path_2d, room.out, cameras=path).error_px["S1"][0] < 1e-2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda views: views.pop("S9"), "no cameras of S9"),
        (lambda views: views["S9"].pop(), "3 cameras of S9"),
        (lambda views: views["S9"][0].pop("eye_m"), "'eye_m'"),
        (
            lambda views: views["S9"][0].update(rotation=[[1, 0, 0], [0, 1, 0], [0, 0, -1]]),
            "rotation of camera 0 is no rotation",
        ),
        (lambda views: views["S9"][0].update(focal_px=[1.0]), "focal_px of camera 0"),
    ],
)
def test_odd_cameras_are_refused(room: Room, tmp_path: Path, change: Any, message: str) -> None:
    path = room.calibration()
    views = json.loads(path.read_text())
    change(views)
    path.write_text(json.dumps(views))
    with pytest.raises(ArtefactError, match=message):
        convert(room.path_3d, room.path_2d, room.out, cameras=path)
    with pytest.raises(MissingError, match=r"nowhere\.json"):
        read_cameras(tmp_path / "nowhere.json")


def replace_world(value: Any) -> Any:
    return lambda room: room.world["S9"].update({"Walking 1": value})


def replace_views(value: Any) -> Any:
    return lambda room: room.views["S9"].update({"Walking 1": value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace_world(np.zeros((5, 17, 3), np.float32)), r"S9 Walking 1 of shape \(5, 17, 3\); expected \(T, 32, 3\)"),
        (replace_world(np.full((5, 32, 3), np.nan, np.float32)), "positions of S9 Walking 1 that are not finite"),
        (replace_world({}), "S9 Walking 1 of shape None"),
        (replace_views([np.zeros((5, 17, 2), np.float32)] * 3), "views .* of S9 Walking 1; expected four"),
        (replace_views([np.zeros((200, 16, 2), np.float32)] * 4), "views .* of S9 Walking 1"),
        (replace_views([np.full((200, 17, 2), np.nan, np.float32)] * 4), "keypoints of S9 Walking 1 that are not finite"),
        (lambda room: room.views["S9"].pop("Photo 1"), "no S9 Photo 1"),
        (lambda room: room.world.update(S2=room.world["S1"]), "unknown subjects S2"),
        (lambda room: room.views.update(S9={}), "not by subject and action"),
        (lambda room: room.views.pop("S9"), "camera 0 of S9 cannot be found .* 0 points"),
    ],
)
def test_odd_files_are_refused(room: Room, change: Any, message: str) -> None:
    change(room)
    room.write()
    with pytest.raises(ArtefactError, match=message):
        convert(room.path_3d, room.path_2d, room.out)
    assert not room.out.exists() and not list(room.out.parent.glob("*.part"))


def test_views_may_not_be_shorter_than_positions(room: Room) -> None:
    room.views["S9"]["Photo 1"][2] = room.views["S9"]["Photo 1"][2][: FRAMES - 1]
    room.write()
    with pytest.raises(ArtefactError, match="S9/Photo 1/cam2 has 119 frames of keypoints and 120 of positions"):
        convert(room.path_3d, room.path_2d, room.out)


def test_the_published_files_themselves_are_not_loaded(room: Room) -> None:
    with pytest.raises(ArtefactError, match="not the data set itself"):
        load_recorded(room.path_3d)
