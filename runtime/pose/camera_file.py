"""``--camera FILE``: calibrations of ROS, OpenCV and Kalibr, and our own TOML.

The form is known by what the file holds. Our own is for what the others have no place for, or for figures from a data sheet:

    width_px = 1280
    height_px = 720
    fx_px = 912.4                      # or horizontal_deg = 69.4
    fy_px = 911.8
    cx_px = 645.1
    cy_px = 358.9
    distortion_model = "plumb_bob"     # or "rational", "equidistant"; may be left out, with the next line
    distortion = [0.11, -0.23, 0.0004, -0.0006, 0.09]
    gravity = [0.0, 0.97, 0.26]        # down, camera axes: this camera is tilted downwards by 15 degrees
    height_m = 1.35                    # of the camera above the floor
    world_from_camera = [[0, 0, 1, 0.1], [-1, 0, 0, 0], [0, -1, 0, 1.35], [0, 0, 0, 1]]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ..arrays import F64
from ..bounds import check_nodes, parsing
from ..errors import MissingError, UsageError, missing_extra
from ..file_kind import check_stand_in
from ..registry import suggest
from ..toml_file import read_toml
from .camera import Intrinsics
from .camera_model import Camera, FieldOfView
from .distortion import COEFFICIENTS, Distortion, DistortionModel
from .keypoints import ImageSize

_EXPECTED = "a calibration of ROS, OpenCV (YAML or XML) or Kalibr, or our own TOML"
_MOST_BYTES = 1_000_000
_OWN_KEYS = {
    "width_px", "height_px", "fx_px", "fy_px", "cx_px", "cy_px", "horizontal_deg", "distortion_model", "distortion", "gravity",
    "height_m", "world_from_camera",
}  # fmt: skip

# Names of distortion models -> ours.
_MODELS: dict[str, DistortionModel] = {
    "plumb_bob": "plumb_bob",
    "radtan": "plumb_bob",
    "rational_polynomial": "rational",
    "rational": "rational",
    "equidistant": "equidistant",
    "fisheye": "equidistant",
}


def read_camera(spec: str | Path) -> Camera:
    """The camera of a calibration file.

    Args:
        spec: the file; ``FILE#NAME`` picks one of several cameras of a Kalibr file.

    Raises:
        MissingError: no such file, or the package that reads it is not installed.
        UsageError: the file holds no calibration, or an impossible one.
    """
    path, name = _file_and_name(str(spec))
    if not path.is_file():
        raise MissingError(f"no camera file {path}", expected=_EXPECTED)
    if path.stat().st_size > _MOST_BYTES:
        raise UsageError(f"{path} has {path.stat().st_size} bytes", expected=_EXPECTED)
    try:
        with parsing(str(path), expected=_EXPECTED, error=UsageError):
            return _read(path, name)
    except UsageError as error:
        if error.what.startswith(str(path)):
            raise
        raise UsageError(f"{path}: {error.what}", expected=error.expected) from None


def _file_and_name(spec: str) -> tuple[Path, str | None]:
    """``FILE`` or ``FILE#NAME``; a file whose own name has a # comes first."""
    file, mark, name = spec.rpartition("#")
    return (Path(file), name) if mark and not Path(spec).is_file() else (Path(spec), None)


def _read(path: Path, name: str | None) -> Camera:
    suffix = path.suffix.lower()
    if suffix == ".toml":
        return _own(read_toml(path))
    entries = _xml(path) if suffix == ".xml" else _yaml(path)
    cameras = {key: value for key, value in entries.items() if isinstance(value, Mapping) and "intrinsics" in value}
    if cameras:
        return _kalibr(cameras, name)
    if name is not None:
        raise UsageError(f"#{name} of a file with one camera", expected="the file without it")
    # camera_calibration's file and OpenCV's have the same main names; the message of a running camera has K, D or k, d.
    lower = {key.lower(): value for key, value in entries.items()}
    if "camera_matrix" in lower:
        return _with_matrix(lower, "camera_matrix", "distortion_coefficients", ("image_width", "image_height"))
    if "k" in lower and "d" in lower:
        return _with_matrix(lower, "k", "d", ("width", "height"))
    raise UsageError("no camera_matrix, K or intrinsics in it", expected=_EXPECTED)


def _with_matrix(entries: Mapping[str, Any], matrix: str, distortion: str, size: tuple[str, str]) -> Camera:
    """ROS's and OpenCV's."""
    k = _numbers(entries[matrix], matrix)
    if k.shape != (9,):
        raise UsageError(f"{matrix} has {k.size} numbers", expected="3 x 3")
    d = _numbers(entries.get(distortion, []), distortion)
    model = entries.get("distortion_model")
    if model is None:  # of OpenCV, which does not name it
        model = "equidistant" if entries.get("fisheye_model") in (1, True, "1") else "rational" if d.size > 5 else "plumb_bob"
    if abs(k[1]) > 1e-3 * abs(k[0]):
        raise UsageError(f"{matrix} has a skew of {k[1]:g}", expected="a camera whose pixels are not skewed")
    intrinsics = Intrinsics(*(float(k[i]) for i in (0, 4, 2, 5)))
    return Camera(intrinsics, _size([entries.get(key) for key in size], " and ".join(size)), _distortion(model, d))


def _kalibr(cameras: Mapping[str, Mapping[str, Any]], name: str | None) -> Camera:
    """A camera of a camchain; the frame of its IMU is the robot's."""
    if name is None and len(cameras) > 1:
        raise UsageError(f"the file has {len(cameras)} cameras", expected=" or ".join(f"FILE#{key}" for key in cameras))
    name = name or next(iter(cameras))
    if name not in cameras:
        raise UsageError(f"no camera {name!r} in it{suggest(name, cameras)}", expected=" or ".join(cameras))
    camera = cameras[name]
    if camera.get("camera_model") != "pinhole":
        raise UsageError(f"the camera model {camera.get('camera_model')}", expected="pinhole")
    focal_and_centre = _numbers(camera["intrinsics"], "intrinsics")
    if focal_and_centre.shape != (4,):
        raise UsageError(f"intrinsics has {focal_and_centre.size} numbers", expected="fx, fy, cx, cy")
    mounted = camera.get("T_cam_imu")
    return Camera(
        Intrinsics(*map(float, focal_and_centre)),
        _size(camera.get("resolution"), "resolution"),
        _distortion(camera.get("distortion_model", "none"), _numbers(camera.get("distortion_coeffs", []), "distortion_coeffs")),
        world_from_camera=None if mounted is None else _inverse(_matrix(mounted, "T_cam_imu")),
    )


def _own(entries: Mapping[str, Any]) -> Camera:
    for key in entries:
        if key not in _OWN_KEYS:
            raise UsageError(f"an unknown key {key!r}{suggest(key, _OWN_KEYS)}", expected=", ".join(sorted(_OWN_KEYS)))
    size = _size([entries.get("width_px"), entries.get("height_px")], "width_px and height_px")
    lens = ("fx_px", "fy_px", "cx_px", "cy_px")
    if "horizontal_deg" in entries:
        if any(key in entries for key in lens):
            raise UsageError("horizontal_deg and fx_px in one file", expected="one of the two")
        intrinsics = FieldOfView(_number(entries, "horizontal_deg")).for_size(size).intrinsics
    else:
        intrinsics = Intrinsics(*(_number(entries, key) for key in lens))
    if ("distortion" in entries) != ("distortion_model" in entries):
        raise UsageError("one of distortion and distortion_model", expected="both, or none of them")
    mounted = entries.get("world_from_camera")
    return Camera(
        intrinsics,
        size,
        _distortion(entries.get("distortion_model", "none"), _numbers(entries.get("distortion", []), "distortion")),
        gravity=_numbers(entries["gravity"], "gravity") if "gravity" in entries else None,
        world_from_camera=None if mounted is None else _matrix(mounted, "world_from_camera"),
        height_m=_number(entries, "height_m") if "height_m" in entries else None,
    )


def _distortion(model: Any, numbers: F64) -> Distortion | None:
    if not numbers.any() and model in ("none", "", *_MODELS) and _MODELS.get(model) != "equidistant":
        return None  # a fisheye bends rays without any number
    if model not in _MODELS:
        raise UsageError(f"the distortion model {model!r}{suggest(str(model), _MODELS)}", expected=" or ".join(_MODELS))
    most = COEFFICIENTS[_MODELS[model]]
    if not numbers[most:].any():  # OpenCV writes up to 14 numbers, the last of them 0
        numbers = numbers[:most]
    return Distortion(_MODELS[model], tuple(numbers.tolist()))


def _numbers(value: Any, name: str) -> F64:
    """(N,) the numbers of a list, of nested lists, or of a mapping with ``data``."""
    if isinstance(value, Mapping):
        value = value.get("data", [])
    try:
        numbers = np.array(value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise UsageError(f"{name} is {value!r:.60}", expected="numbers") from None
    return numbers


def _number(entries: Mapping[str, Any], name: str) -> float:
    if name not in entries:
        raise UsageError(f"no {name}", expected="width_px, height_px, and fx_px, fy_px, cx_px, cy_px or horizontal_deg")
    numbers = _numbers(entries[name], name)
    if numbers.size != 1:
        raise UsageError(f"{name} is {entries[name]!r:.60}", expected="one number")
    return float(numbers[0])


def _size(value: Any, name: str) -> ImageSize:
    size = _numbers([] if value is None or (isinstance(value, list) and None in value) else value, name)
    if size.shape != (2,) or not (np.isfinite(size).all() and (size > 0).all()):
        raise UsageError(f"no size of the picture ({name})", expected="its width and height in pixels, above 0")
    return ImageSize(float(size[0]), float(size[1]))


def _matrix(value: Any, name: str) -> F64:
    numbers = _numbers(value, name)
    if numbers.size != 16 or not np.isfinite(numbers).all():
        raise UsageError(f"{name} has {numbers.size} numbers", expected="4 x 4 finite numbers")
    return numbers.reshape(4, 4)


def _inverse(rigid: F64) -> F64:
    inverse = np.eye(4)
    inverse[:3, :3] = rigid[:3, :3].T
    inverse[:3, 3] = -rigid[:3, :3].T @ rigid[:3, 3]
    return inverse


def _yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise missing_extra("pyyaml", "camera", "camera files in YAML") from None

    # Plain data alone, and OpenCV's matrices, which are mappings.
    loader: Any = type("CameraLoader", (yaml.SafeLoader,), {})
    loader.add_constructor("tag:yaml.org,2002:opencv-matrix", lambda self, node: self.construct_mapping(node, deep=True))
    text = _text(path)
    if text.startswith("%YAML:"):  # OpenCV's directive, which is none of YAML
        text = text.partition("\n")[2]
    try:
        # A SafeLoader. ``ros2 topic echo`` ends a message with ---, behind which there is one more document, or nothing.
        entries = next(yaml.load_all(text, Loader=loader), None)
    except (yaml.YAMLError, RecursionError) as error:
        first = str(error).partition("\n")[0]
        raise UsageError(f"{path} is not YAML ({first})", expected=_EXPECTED) from None
    check_nodes(entries)  # a name in YAML may stand for a list of names
    if not isinstance(entries, dict):
        raise UsageError(f"{path} holds no names and values", expected=_EXPECTED)
    return {str(key): value for key, value in entries.items()}


def _xml(path: Path) -> dict[str, Any]:
    """OpenCV's storage: matrices as mappings, the rest as text."""
    text = _text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # they could grow without bound
        raise UsageError(f"{path} defines entities", expected=_EXPECTED)
    try:
        root = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise UsageError(f"{path} is not XML ({error})", expected=_EXPECTED) from None
    entries: dict[str, Any] = {}
    for child in root:
        data = child.find("data")
        entries[child.tag] = (child.text or "").strip() if data is None else {"data": (data.text or "").split()}
    return entries


def _text(path: Path) -> str:
    check_stand_in(path, expected=_EXPECTED, text=True, error=UsageError)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text", expected=_EXPECTED) from None
