"""A synthetic Human3.6M of two walkers: 32 joints, cameras with distortion, files as VideoPose3D writes them."""

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
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.errors import ArtefactError, MissingError
from posemoe_edge.runtime.sources.walker import walk_world

FOUND_MM = 0.05  # error with a camera found from float32 pixels
PIXEL = 1e-6  # normalised: float32
DISTORTION = (-0.2, 0.24, -0.002, -0.001, -0.0014)
ACTIONS = {"S1": ("SittingDown",), "S9": ("Walking 1", "Photo 1")}
FRAMES = 120


def pixels_of(camera: Camera, joints_m: NDArray[Any], distortion: tuple[float, ...] = DISTORTION) -> F32:
    x, y, z = np.moveaxis((joints_m.astype(np.float64) - camera.eye_m) @ camera.rotation.T.astype(np.float64), -1, 0)
    x, y = x / z, y / z
    k1, k2, k3, p1, p2 = distortion
    r2 = x**2 + y**2
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + p1 * x + p2 * y
    return (np.stack([x * radial + p1 * r2, y * radial + p2 * r2], -1) * camera.focal_px + camera.centre_px).astype(np.float32)


class SyntheticH36M:
    """True positions, cameras and pixels, and the two files."""

    def __init__(self, folder: Path) -> None:
        self.path_3d, self.path_2d, self.out = folder / "data_3d_h36m.npz", folder / "data_2d_h36m_gt.npz", folder / "h36m.npz"
        self.joints_m: dict[str, dict[str, F32]] = {}
        self.cameras: dict[str, list[Camera]] = {}
        self.views: dict[str, dict[str, list[F32]]] = {}
        self.world: dict[str, dict[str, F32]] = {}
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
            # the views have some more frames than the positions, as in the published files
            self.views[subject] = {name: [pixels_of(c, part) for c in self.cameras[subject]] for name, part in parts.items()}

    def write(self) -> SyntheticH36M:
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


def in_coco(view: F32) -> F32:
    """(T, 17, 2) of Human3.6M as COCO-17: eyes and ears beside the nose."""
    coco = np.empty_like(view)
    nose, head = view[:, 9], view[:, 10]
    for joint, (towards_head, aside_px) in enumerate(((0.0, 0), (0.3, 4), (0.3, -4), (0.4, 9), (0.4, -9))):
        coco[:, joint] = nose + towards_head * (head - nose) + [aside_px, 0]
    coco[:, 5:] = view[:, [11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3]]
    return coco


@pytest.fixture
def dataset(tmp_path: Path) -> SyntheticH36M:
    return SyntheticH36M(tmp_path).write()


def check_poses(dataset: SyntheticH36M, path: Path) -> None:
    for recorded_sequence in load_recorded(path):
        subject, action, view = recorded_sequence.sequence.clip_id.split("/")
        camera = dataset.cameras[subject][int(view.removeprefix("cam"))]
        points = camera.to_camera(dataset.joints_m[subject][action])
        np.testing.assert_allclose(recorded_sequence.sequence.pose_m, points - points[:, :1], atol=FOUND_MM / 1000)


def test_sequences_are_in_the_axes_of_the_found_cameras(dataset: SyntheticH36M) -> None:
    report = convert(dataset.path_3d, dataset.path_2d, dataset.out)
    assert max(max(errors) for errors in report.error_px.values()) < 1e-2
    recorded = load_recorded(dataset.out)
    ids = [entry.clip_id for entry in report.saved]
    assert [recorded_sequence.sequence.clip_id for recorded_sequence in recorded] == ids and {
        entry.frames for entry in report.saved
    } == {FRAMES}
    assert len(recorded) == 3 * 4 and "S9/Walking 1/cam2" in ids
    check_poses(dataset, dataset.out)
    for recorded_sequence in recorded:
        subject, action, view = recorded_sequence.sequence.clip_id.split("/")
        n = int(view.removeprefix("cam"))
        width_px, height_px = SIZES_PX[n]
        pixels = dataset.views[subject][action][n][:FRAMES]
        np.testing.assert_allclose(recorded_sequence.sequence.keypoints[..., 0], pixels[..., 0] / width_px * 2 - 1, atol=PIXEL)
        np.testing.assert_allclose(
            recorded_sequence.sequence.keypoints[..., 1], pixels[..., 1] / width_px * 2 - height_px / width_px, atol=PIXEL
        )
        assert (
            (recorded_sequence.sequence.keypoints[..., 2] == 1).all()
            and recorded_sequence.sequence.valid is None
            and recorded_sequence.sequence.action == action.split()[0]
        )
        np.testing.assert_allclose(recorded_sequence.sequence.dt_s, 0.02)


def test_subjects_are_split_by_the_usual_protocol(dataset: SyntheticH36M) -> None:
    convert(dataset.path_3d, dataset.path_2d, dataset.out, cameras=dataset.calibration())
    assert {recorded_sequence.subject for recorded_sequence in load_recorded(dataset.out, "train")} == {"S1"}
    assert {recorded_sequence.subject for recorded_sequence in load_recorded(dataset.out, "test")} == {"S9"}
    assert {subject for subject, split in SPLIT_OF.items() if split == "test"} == {"S9", "S11"} and len(SPLIT_OF) == 7


def test_a_detectors_file_takes_its_cameras_from_the_exact_one(dataset: SyntheticH36M) -> None:
    noisy_path = dataset.noisy(4.0)
    with pytest.raises(ArtefactError, match=r"cpn_ft_h36m_dbb\.npz is no projection .* expected cameras of data_2d_h36m_gt"):
        convert(dataset.path_3d, noisy_path, dataset.out)
    assert not dataset.out.exists()
    report = convert(dataset.path_3d, noisy_path, dataset.out, cameras=dataset.path_2d)
    assert 4 < report.error_px["S9"][0] < 5.5
    check_poses(dataset, dataset.out)


def test_cameras_are_read_from_json(dataset: SyntheticH36M) -> None:
    path = dataset.calibration()
    convert(dataset.path_3d, dataset.path_2d, dataset.out, cameras=path)  # without distortion, for which the limit leaves room
    check_poses(dataset, dataset.out)
    views = json.loads(path.read_text())
    for camera in views["S9"]:
        camera["rotation"] = np.array(camera["rotation"]).T.tolist()  # world_from_camera, a likely mistake
    path.write_text(json.dumps(views))
    with pytest.raises(ArtefactError, match=r"cameras of .*cameras\.json miss the keypoints of S9"):
        convert(dataset.path_3d, dataset.path_2d, dataset.out, cameras=path)


@pytest.mark.parametrize("known", [True, False], ids=["cameras known", "cameras to be found"])
@pytest.mark.parametrize("metadata", [None, "h36m"])
def test_joints_of_coco_in_a_file_that_does_not_say_so_are_asked_about(
    dataset: SyntheticH36M, metadata: str | None, known: bool
) -> None:
    views = {s: {name: [in_coco(v) for v in of] for name, of in actions.items()} for s, actions in dataset.views.items()}
    path = dataset.path_2d.with_name("detected.npz")
    entries: dict[str, Any] = {}
    if metadata is not None:
        entries["metadata"] = np.array({"layout_name": metadata, "num_joints": 17}, dtype=object)
    np.savez(path, positions_2d=np.array(views, dtype=object), **entries)
    with pytest.raises(ArtefactError, match=r"detected\.npz make no body .* in the order of coco17\?") as raised:
        convert(dataset.path_3d, path, dataset.out, cameras=dataset.path_2d if known else None)
    assert raised.value.expected == "metadata with the layout_name 'coco', if they are COCO's"


def test_found_cameras_are_written_and_read_back(dataset: SyntheticH36M, tmp_path: Path) -> None:
    report = convert(dataset.path_3d, dataset.path_2d, dataset.out)
    path = tmp_path / "cameras.json"
    write_cameras(path, report.cameras)
    again = read_cameras(path)
    np.testing.assert_array_equal(again["S9"][3].camera.rotation, report.cameras["S9"][3].camera.rotation)
    assert convert(dataset.path_3d, dataset.path_2d, dataset.out, cameras=path).error_px["S1"][0] < 1e-2


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
        (lambda views: views["S9"][0].update(rotation=[[1e30] * 3] * 3), "rotation of camera 0 is no rotation"),
        (lambda views: views["S9"][0].update(focal_px=[1.0]), "focal_px of camera 0"),
    ],
)
def test_invalid_cameras_are_refused(dataset: SyntheticH36M, tmp_path: Path, change: Any, message: str) -> None:
    path = dataset.calibration()
    views = json.loads(path.read_text())
    change(views)
    path.write_text(json.dumps(views))
    with pytest.raises(ArtefactError, match=message):
        convert(dataset.path_3d, dataset.path_2d, dataset.out, cameras=path)
    with pytest.raises(MissingError, match=r"nowhere\.json"):
        read_cameras(tmp_path / "nowhere.json")


def replace_world(value: Any) -> Any:
    return lambda dataset: dataset.world["S9"].update({"Walking 1": value})


def replace_views(value: Any) -> Any:
    return lambda dataset: dataset.views["S9"].update({"Walking 1": value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace_world(np.zeros((5, 17, 3), np.float32)), r"S9 Walking 1 of shape \(5, 17, 3\); expected \(T, 32, 3\)"),
        (replace_world(np.full((5, 32, 3), np.nan, np.float32)), "positions of S9 Walking 1 that are not finite"),
        (replace_world({}), "S9 Walking 1 of shape None"),
        (replace_views([np.zeros((5, 17, 2), np.float32)] * 3), "views .* of S9 Walking 1; expected four"),
        (replace_views([np.zeros((200, 16, 2), np.float32)] * 4), "views .* of S9 Walking 1"),
        (replace_views([np.full((200, 17, 2), np.nan, np.float32)] * 4), "keypoints of S9 Walking 1 that are not finite"),
        (lambda dataset: dataset.views["S9"].pop("Photo 1"), "no S9 Photo 1"),
        (lambda dataset: dataset.world.update(S2=dataset.world["S1"]), "unknown subjects S2"),
        (lambda dataset: dataset.views.update(S9={}), "not by subject and action"),
        (lambda dataset: dataset.views.pop("S9"), "camera 0 of S9 cannot be found .* 0 points"),
    ],
)
def test_invalid_files_are_refused(dataset: SyntheticH36M, change: Any, message: str) -> None:
    change(dataset)
    dataset.write()
    with pytest.raises(ArtefactError, match=message):
        convert(dataset.path_3d, dataset.path_2d, dataset.out)
    assert not dataset.out.exists() and not list(dataset.out.parent.glob("*.part"))


def test_views_may_not_be_shorter_than_positions(dataset: SyntheticH36M) -> None:
    dataset.views["S9"]["Photo 1"][2] = dataset.views["S9"]["Photo 1"][2][: FRAMES - 1]
    dataset.write()
    with pytest.raises(ArtefactError, match="S9/Photo 1/cam2 has 119 frames of keypoints and 120 of positions"):
        convert(dataset.path_3d, dataset.path_2d, dataset.out)


def test_the_published_files_themselves_are_not_loaded(dataset: SyntheticH36M) -> None:
    with pytest.raises(ArtefactError, match="not the data set itself"):
        load_recorded(dataset.path_3d)
