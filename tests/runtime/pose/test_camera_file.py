"""Calibrations of ROS, OpenCV and Kalibr, and our own, are read as their makers mean them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime.errors import MissingError, UsageError
from posemoe_edge.runtime.pose.camera import Intrinsics
from posemoe_edge.runtime.pose.camera_file import read_camera
from posemoe_edge.runtime.pose.camera_model import Camera
from posemoe_edge.runtime.pose.distortion import Distortion
from posemoe_edge.runtime.pose.keypoints import ImageSize

pytest.importorskip("yaml", reason="PyYAML is not installed")

ROS = """\
image_width: 1280
image_height: 720
camera_name: front
camera_matrix:
  rows: 3
  cols: 3
  data: [912.5, 0., 645.25, 0., 911.75, 358.5, 0., 0., 1.]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.28, 0.09, 1e-3, -0.0007, 0.0]
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [900, 0, 640, 0, 0, 900, 360, 0, 0, 0, 1, 0]}
"""
KALIBR = """\
cam0:
  cam_overlaps: [1]
  camera_model: pinhole
  distortion_coeffs: [-0.017, 0.004, -0.002, 0.0003]
  distortion_model: equidistant
  intrinsics: [461.5, 460.25, 376.0, 246.5]
  resolution: [752, 480]
  rostopic: /cam0/image_raw
  T_cam_imu:
  - [0.0, -1.0, 0.0, 0.1]
  - [0.0, 0.0, -1.0, 0.2]
  - [1.0, 0.0, 0.0, 0.3]
  - [0.0, 0.0, 0.0, 1.0]
cam1:
  camera_model: pinhole
  distortion_coeffs: [0.0, 0.0, 0.0, 0.0]
  distortion_model: radtan
  intrinsics: [458.5, 457.25, 366.0, 248.5]
  resolution: [752, 480]
"""
OWN = """\
width_px = 1280
height_px = 720
fx_px = 912.5
fy_px = 911.75
cx_px = 645.25
cy_px = 358.5
distortion_model = "plumb_bob"
distortion = [-0.28, 0.09, 1e-3, -0.0007]
gravity = [0.0, 1.94, 0.52]
height_m = 1.35
world_from_camera = [[0, 0, 1, 0.1], [-1, 0, 0, 0], [0, -1, 0, 1.35], [0, 0, 0, 1]]
"""
FRONT = (Intrinsics(912.5, 911.75, 645.25, 358.5), ImageSize(1280, 720))
BENT = Distortion("plumb_bob", (-0.28, 0.09, 1e-3, -0.0007))


def read(tmp_path: Path, text: str, name: str = "camera.yaml") -> Camera:
    path = tmp_path / name.partition("#")[0]
    path.write_text(text)
    return read_camera(tmp_path / name)


def test_ros_camera_info(tmp_path: Path) -> None:
    camera = read(tmp_path, ROS)
    assert (camera.intrinsics, camera.size, camera.distortion) == (*FRONT, BENT)
    assert camera.gravity is None and camera.world_from_camera is None and camera.height_m is None


@pytest.mark.parametrize("end", ["", "---\n", "---\nheight: 1\n---\n"], ids=["alone", "as ros2 topic echo ends it", "several"])
@pytest.mark.parametrize("keys", ["KD", "kd"])
def test_ros_messages_of_a_running_camera(tmp_path: Path, keys: str, end: str) -> None:
    text = (
        f"height: 720\nwidth: 1280\ndistortion_model: rational_polynomial\n{keys[1]}: [0.4, -0.2, 0, 0, 0, 0.7, -0.1, 0]\n"
        f"{keys[0]}: [912.5, 0.0, 645.25, 0.0, 911.75, 358.5, 0.0, 0.0, 1.0]\nR: [1, 0, 0, 0, 1, 0, 0, 0, 1]\n"
    )
    camera = read(tmp_path, text + end)
    assert (camera.intrinsics, camera.size) == FRONT
    assert camera.distortion == Distortion("rational", (0.4, -0.2, 0, 0, 0, 0.7, -0.1))


@pytest.mark.parametrize("suffix", [".yml", ".yaml", ".xml"])
@pytest.mark.parametrize("numbers", [5, 14])
def test_what_opencv_writes(tmp_path: Path, suffix: str, numbers: int) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    path = tmp_path / f"camera{suffix}"
    coefficients = np.zeros((1, numbers))
    coefficients[0, :4] = BENT.coefficients[:4]
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("calibration_time", "Fri Nov 27 01:00:00 2026")
    storage.write("image_width", 1280)
    storage.write("image_height", 720)
    storage.write("flags", 0)
    storage.write("camera_matrix", np.array([[912.5, 0, 645.25], [0, 911.75, 358.5], [0, 0, 1]]))
    storage.write("distortion_coefficients", coefficients)
    storage.release()
    camera = read_camera(path)
    assert (camera.intrinsics, camera.size) == FRONT and camera.distortion is not None
    point = np.array([0.3, -0.2])
    np.testing.assert_allclose(camera.distortion.distort(point), BENT.distort(point))


def test_a_kalibr_chain_and_the_frame_of_its_imu(tmp_path: Path) -> None:
    camera = read(tmp_path, KALIBR, "chain.yaml#cam0")
    assert camera.intrinsics == Intrinsics(461.5, 460.25, 376.0, 246.5) and camera.size == ImageSize(752, 480)
    assert camera.distortion == Distortion("equidistant", (-0.017, 0.004, -0.002, 0.0003))
    assert camera.world_from_camera is not None
    imu_from_camera = np.linalg.inv(np.array([[0, -1, 0, 0.1], [0, 0, -1, 0.2], [1, 0, 0, 0.3], [0, 0, 0, 1.0]]))
    np.testing.assert_allclose(camera.world_from_camera, imu_from_camera, atol=1e-12)
    other = read_camera(f"{tmp_path}/chain.yaml#cam1")
    assert other.distortion is None and other.intrinsics.fx_px == 458.5


def test_a_chain_of_several_cameras_asks_which(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 cameras; expected FILE#cam0 or FILE#cam1"):
        read(tmp_path, KALIBR)
    with pytest.raises(UsageError, match="no camera 'cam7'"):
        read(tmp_path, KALIBR, "camera.yaml#cam7")
    alone = KALIBR[: KALIBR.index("cam1:")]
    assert read(tmp_path, alone).size == ImageSize(752, 480)


def test_our_own_file(tmp_path: Path) -> None:
    camera = read(tmp_path, OWN, "camera.toml")
    assert (camera.intrinsics, camera.size, camera.distortion, camera.height_m) == (*FRONT, BENT, 1.35)
    assert camera.gravity is not None and camera.world_from_camera is not None
    np.testing.assert_allclose(camera.gravity, np.array([0, 1.94, 0.52]) / np.hypot(1.94, 0.52))
    assert camera.world_from_camera[:3, 3].tolist() == [0.1, 0, 1.35]


def test_our_own_file_by_the_field_of_view(tmp_path: Path) -> None:
    camera = read(tmp_path, "width_px = 640\nheight_px = 480\nhorizontal_deg = 90\n", "camera.toml")
    assert camera.intrinsics.fx_px == pytest.approx(320) and camera.intrinsics.cx_px == 320 and camera.distortion is None


def test_the_same_camera_in_every_form(tmp_path: Path) -> None:
    point = np.array([[0.4, -0.3, 2.0]])
    ros, own = read(tmp_path, ROS), read(tmp_path, OWN, "camera.toml")
    np.testing.assert_allclose(ros.project(point), own.project(point))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (ROS.replace("912.5", "0.0"), "focal lengths above 0"),
        (ROS.replace("912.5", ".nan"), "focal lengths above 0"),
        (ROS.replace("912.5, ", ""), "camera_matrix has 8 numbers"),
        (ROS.replace("912.5", "wide"), "camera_matrix is .*numbers"),
        (ROS.replace("912.5, 0.,", "912.5, 50.,"), "skew of 50"),
        (ROS.replace("image_width: 1280\n", ""), "no size of the picture"),
        (ROS.replace("image_width: 1280", "image_width: 0"), "no size of the picture"),
        (ROS.replace("plumb_bob", "fov"), "distortion model 'fov'"),
        (ROS.replace("-0.28", "-40.0"), "can be undone in"),
        (ROS.replace("0.0]\n", "0.0, 0, 0, 0.3]\n"), "at most 5 finite numbers"),
        (ROS.replace("645.25", "2645.25"), "principal point"),
        (KALIBR.replace("camera_model: pinhole", "camera_model: omni"), "2 cameras"),
        (KALIBR[: KALIBR.index("cam1:")].replace("pinhole", "omni"), "camera model omni"),
        (KALIBR[: KALIBR.index("cam1:")].replace("461.5, ", ""), "intrinsics has 3 numbers"),
        (KALIBR[: KALIBR.index("cam1:")].replace("[1.0, 0.0, 0.0, 0.3]", "[1.0, 0.0]"), "T_cam_imu has 14 numbers|T_cam_imu"),
        ("a: [1", "is not YAML"),
        ("just text", "holds no names"),
        ("", "is empty"),
        ("name: front\n", "no camera_matrix, K or intrinsics"),
        ("a: !!python/object/apply:os.system ['true']\n", "is not YAML"),
    ],
)
def test_what_is_no_calibration_is_refused_by_name(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what) as error:
        read(tmp_path, text)
    assert error.value.what.startswith(str(tmp_path / "camera.yaml"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (OWN.replace("fx_px", "focal"), "unknown key 'focal'"),
        (OWN.replace("fx_px = 912.5\n", ""), "no fx_px"),
        (OWN + "horizontal_deg = 60\n", "one of the two"),
        (OWN.replace('distortion_model = "plumb_bob"\n', ""), "both, or none"),
        (OWN.replace("[0.0, 1.94, 0.52]", "[0.0, 0.0, 0.0]"), "gravity"),
        (OWN.replace("[0, 0, 1, 0.1]", "[0, 0, 2, 0.1]"), "no rotation"),
        (OWN.replace("1.35\nworld", "-1.35\nworld"), "above the floor"),
        (OWN.replace("912.5", '"wide"'), "fx_px is 'wide'"),
        ("fx_px =", "is not TOML"),
    ],
)
def test_mistakes_in_our_own_file_are_named(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        read(tmp_path, text, "camera.toml")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no camera file"):
        read_camera(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="is not XML"):
        read(tmp_path, "<opencv_storage>", "camera.xml")
    with pytest.raises(UsageError, match="defines entities"):
        read(tmp_path, '<!DOCTYPE a [<!ENTITY b "c">]><opencv_storage/>', "camera.xml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(UsageError, match="is a PNG picture"):
        read_camera(tmp_path / "picture.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * 2_000_000)
    with pytest.raises(UsageError, match="2000000 bytes"):
        read_camera(tmp_path / "large.yaml")
