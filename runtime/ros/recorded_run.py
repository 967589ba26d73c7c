"""What a recording holds so that the run can be lifted again: keypoints as they were, to the last bit, and about the run."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32
from ..bounds import check_people, parsing
from ..errors import PoseEdgeError, SourceError, UsageError
from ..events import PoseFrame
from ..pose.camera import Intrinsics
from ..pose.camera_model import Camera, FieldOfView
from ..pose.distortion import Distortion
from ..pose.joint_memory import check_hold
from ..pose.keypoints import ImageSize, Keypoints
from ..pose.skeleton import SKELETONS
from ..sources.base import People
from .encoder import json_text

if TYPE_CHECKING:
    from ..sinks.base import RunInfo

RUN = "posemoe.run"
"""Name of the metadata record that says what made a recording."""

VERSION = 1
_OWN = "one that posemoe-edge recorded"


def keypoints_text(frame: PoseFrame) -> str:
    """A frame's keypoints and poses as JSON, so that both are read back as the same numbers."""
    people = {
        str(person): {
            "skeleton": keypoints.skeleton.name,
            "size_px": None if keypoints.size is None else [keypoints.size.width_px, keypoints.size.height_px],
            "dtype": str(keypoints.points.dtype),
            "points": keypoints.points.tolist(),
        }
        for person, keypoints in frame.keypoints.items()
    }
    truths = {
        name: {str(person): xyz.tolist() for person, xyz in truth.items()}
        for name, truth in (("truth_m", frame.truth_m), ("truth_root_m", frame.truth_root_m))
        if truth is not None
    }
    poses = {str(person): _packed(pose.xyz_m) for person, pose in frame.poses.items()}
    return json_text({"version": VERSION, "t_s": float(frame.t_s), "people": people, "poses": poses, **truths})


def recorded_frame(text: str | bytes) -> tuple[People, dict[int, F32]]:
    """The people of ``keypoints_text``, and their poses to the last bit: person -> (17, 3) metres from the hip.

    Raises:
        SourceError: another text.
    """
    with parsing("a message that holds no keypoints", expected=_OWN, error=SourceError):
        record = json.loads(text)
        people = _people(record)
    with parsing("a message that holds no poses", expected=_OWN, error=SourceError):
        return people, {int(person): _unpacked(packed) for person, packed in record.get("poses", {}).items()}


def run_record(run: RunInfo) -> dict[str, str]:
    """What a recording says of its run: texts, as MCAP's metadata are."""
    record: dict[str, Any] = {
        "version": VERSION,
        "source": run.source.name,
        "preset": run.preset,
        "precision": run.precision,
        "mode": run.mode,
        "engine": run.engine,
        "latency_frames": run.latency_frames,
        "view_from": run.view_from,
        "graph": run.graph,
        "smooth": run.smooth,
        "hold_s": run.hold_s,
        "flip": run.flip,
    }
    if run.source.fps is not None:
        record["fps"] = run.source.fps
    if run.camera is not None:
        record["camera"] = json_text(_camera_entries(run.camera))
    return {name: str(value) for name, value in record.items()}


def recorded_fps(record: Mapping[str, str]) -> float | None:
    """The nominal frame rate of the source that was recorded."""
    with parsing("the recorded rate", expected="one of posemoe-edge", error=SourceError):
        return float(record["fps"]) if "fps" in record else None


def recorded_hold_s(record: Mapping[str, str], path: Path) -> float:
    """How long lost joints were held; recordings of before that have no entry.

    Args:
        path: of the recording, for the message.

    Raises:
        SourceError: it is no time that joints can be held.
    """
    text = record.get("hold_s", "0")
    try:
        return check_hold(float(text))
    except (ValueError, UsageError):
        raise SourceError(f"{path}: the recorded hold_s is {text}", expected="0 or more seconds, as of posemoe-edge") from None


def recorded_camera(record: Mapping[str, str]) -> Camera | None:
    """The camera of a recorded run; None if it was not calibrated, see ``recorded_view``.

    Raises:
        SourceError: an entry that is none of ours.
    """
    camera = recorded_view(record)
    return camera if isinstance(camera, Camera) else None


def recorded_view(record: Mapping[str, str]) -> Camera | FieldOfView | None:
    """What was known of the camera of a recorded run.

    Raises:
        SourceError: an entry that is none of ours.
    """
    try:
        entries = json.loads(record.get("camera", "{}"))
        if "horizontal_deg" in entries:
            gravity = _array(entries.get("gravity"))
            return FieldOfView(float(entries["horizontal_deg"]), gravity=gravity, height_m=entries.get("height_m"))
        if "fx_px" not in entries:
            return None
        lens = entries.get("distortion_model")
        return Camera(
            Intrinsics(*(float(entries[name]) for name in ("fx_px", "fy_px", "cx_px", "cy_px"))),
            ImageSize(float(entries["width_px"]), float(entries["height_px"])),
            None if lens is None else Distortion(lens, tuple(entries["distortion"])),
            gravity=_array(entries.get("gravity")),
            world_from_camera=_array(entries.get("world_from_camera")),
            height_m=entries.get("height_m"),
        )
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError, PoseEdgeError) as error:
        raise SourceError(f"the recorded camera cannot be read ({error!s:.80})", expected="one of posemoe-edge") from None


def _camera_entries(camera: Camera | FieldOfView) -> dict[str, Any]:
    """The entries of our own camera file."""
    entries: dict[str, Any] = {"height_m": camera.height_m, "gravity": _list(camera.gravity)}
    if isinstance(camera, FieldOfView):
        entries["horizontal_deg"] = camera.horizontal_deg
    else:
        own, lens = camera.intrinsics, camera.distortion
        entries |= {"fx_px": own.fx_px, "fy_px": own.fy_px, "cx_px": own.cx_px, "cy_px": own.cy_px}
        entries |= {"width_px": camera.size.width_px, "height_px": camera.size.height_px}
        entries["world_from_camera"] = _list(camera.world_from_camera)
        if lens is not None:
            entries |= {"distortion_model": lens.model, "distortion": list(lens.coefficients)}
    return {name: value for name, value in entries.items() if value is not None}


def _people(record: Mapping[str, Any]) -> People:
    if record["version"] > VERSION:
        raise SourceError(f"keypoints of version {record['version']}", expected=f"at most {VERSION}")
    check_people("a message", len(record["people"]), error=SourceError)
    return People(
        float(record["t_s"]),
        {int(person): _keypoints(entry) for person, entry in record["people"].items()},
        truth_m=_truth(record, "truth_m"),
        truth_root_m=_truth(record, "truth_root_m"),
    )


def _keypoints(entry: Mapping[str, Any]) -> Keypoints:
    dtype = np.float64 if entry["dtype"] == "float64" else np.float32
    points: NDArray[np.floating] = np.array([[float(number) for number in joint] for joint in entry["points"]], dtype)
    size = entry["size_px"]
    return Keypoints(points, SKELETONS[entry["skeleton"]], None if size is None else ImageSize(*size))


def _truth(record: Mapping[str, Any], name: str) -> dict[int, NDArray[np.float32]] | None:
    if name not in record:
        return None
    return {int(person): np.array(xyz, np.float32) for person, xyz in record[name].items()}


def _packed(xyz_m: F32) -> str:
    """Base64 of little endian float32."""
    return base64.b64encode(np.ascontiguousarray(xyz_m, "<f4").tobytes()).decode()


def _unpacked(text: str) -> F32:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(-1, 3).astype(np.float32)


def _list(array: NDArray[Any] | None) -> list[Any] | None:
    return None if array is None else array.tolist()


def _array(numbers: list[Any] | None) -> NDArray[np.float64] | None:
    return None if numbers is None else np.array(numbers, np.float64)
