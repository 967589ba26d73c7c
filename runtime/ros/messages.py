"""Messages of figures, object by object through rosbags: what the templates are made of, and too slow for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import F32, F64
from ..pose.camera_model import Camera
from ..pose.skeleton import H36M17
from .body import PARTS, Body, body_name
from .figure import Figure
from .types import CAMERA_INFO, IDS, MARKERS, POSES, TRANSFORMS, ros_types

BONE_ENDS = tuple(joint for bone in H36M17.bones for joint in bone)
"""(32,) the joints at the ends of the 16 bones, as a list of lines names them."""

BONE_M, JOINT_M = 0.025, 0.06  # how thick they are drawn
LIFETIME_S = 1  # a viewer forgets a figure by itself if no more messages come

# ROS's names of the distortion models, where they differ from ours.
_DISTORTION = {"rational": "rational_polynomial"}


def marker_array(figures: Sequence[Figure], *, frame_id: str, t_ns: int) -> Any:
    """Bones and joints of everybody. The first marker deletes those of the last frame: who is gone is not shown."""
    t = ros_types().types
    marker = t["visualization_msgs/msg/Marker"]
    markers = [_marker("", 0, 0, marker.DELETEALL, 0.0, np.zeros((0, 3)), np.zeros((0, 4), np.float32), frame_id, t_ns)]
    ends = list(BONE_ENDS)
    for figure in figures:
        person, xyz_m, rgba = figure.person % 2**31, figure.xyz_m, figure.rgba
        bones = (marker.LINE_LIST, marker.ADD, BONE_M, xyz_m[ends], rgba[ends])
        joints = (marker.SPHERE_LIST, marker.ADD, JOINT_M, xyz_m, rgba)
        markers.append(_marker("bones", person, *bones, frame_id, figure.t_ns))
        markers.append(_marker("joints", person, *joints, frame_id, figure.t_ns))
    return t[MARKERS](markers=markers)


def pose_array(figures: Sequence[Figure], *, frame_id: str, t_ns: int) -> Any:
    """17 poses without a rotation for each person, in the order of the figures."""
    t = ros_types().types
    pose, point = t["geometry_msgs/msg/Pose"], t["geometry_msgs/msg/Point"]
    poses = [pose(position=point(*joint), orientation=_no_turn()) for f in figures for joint in f.xyz_m.tolist()]
    return t[POSES](header=_header(frame_id, t_ns), poses=poses)


def transforms(figures: Sequence[Figure], *, frame_id: str) -> Any:
    """One frame for each joint, such as ``person_3/left_knee``, with the axes of the camera."""
    return ros_types().types[TRANSFORMS](
        transforms=[
            _transform(frame_id, f"person_{figure.person}/{name}", figure.t_ns, joint_m)
            for figure in figures
            for name, joint_m in zip(H36M17.joints, figure.xyz_m, strict=True)
        ]
    )


def body_transforms(bodies: Sequence[Body], *, frame_id: str) -> Any:
    """REP 155's frames: ``body_p3`` in the camera's, and in it those of its parts, such as ``l_wrist_p3``, turned as it is."""
    return ros_types().types[TRANSFORMS](
        transforms=[
            transform
            for body in bodies
            for transform in (
                _transform(frame_id, f"body_{body.name}", body.t_ns, body.hip_m, body.turn_xyzw),
                *(
                    _transform(f"body_{body.name}", f"{part}_{body.name}", body.t_ns, part_m)
                    for part, part_m in zip(PARTS, body.parts_m, strict=True)
                ),
            )
        ]
    )


def body_ids(people: Sequence[int], *, frame_id: str, t_ns: int) -> Any:
    """The bodies that are seen, for REP 155's ``/humans/bodies/tracked``."""
    return ros_types().types[IDS](header=_header(frame_id, t_ns), ids=[body_name(person) for person in people])


def camera_info(camera: Camera, *, frame_id: str, t_ns: int) -> Any:
    """The camera's calibration, of a picture that is not rectified."""
    t, own, lens = ros_types().types, camera.intrinsics, camera.distortion
    k = [own.fx_px, 0, own.cx_px, 0, own.fy_px, own.cy_px, 0, 0, 1]
    return t[CAMERA_INFO](
        header=_header(frame_id, t_ns),
        height=round(camera.size.height_px),
        width=round(camera.size.width_px),
        distortion_model="plumb_bob" if lens is None else _DISTORTION.get(lens.model, lens.model),
        d=np.zeros(5) if lens is None else np.array(lens.coefficients, np.float64),
        k=np.array(k, np.float64),
        r=np.eye(3).ravel(),
        p=np.array([*k[:3], 0, *k[3:6], 0, *k[6:], 0], np.float64),
        binning_x=0,
        binning_y=0,
        roi=t["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def _marker(
    ns: str, ident: int, kind: int, action: int, thick_m: float, xyz_m: F64, rgba: F32, frame_id: str, t_ns: int
) -> Any:
    t = ros_types().types
    vector, colour, point = t["geometry_msgs/msg/Vector3"], t["std_msgs/msg/ColorRGBA"], t["geometry_msgs/msg/Point"]
    none = np.zeros(0, np.uint8)
    return t["visualization_msgs/msg/Marker"](
        header=_header(frame_id, t_ns),
        ns=ns,
        id=ident,
        type=kind,
        action=action,
        pose=t["geometry_msgs/msg/Pose"](position=point(0.0, 0.0, 0.0), orientation=_no_turn()),
        scale=vector(thick_m, thick_m, thick_m),
        color=colour(1.0, 1.0, 1.0, 1.0),
        lifetime=t["builtin_interfaces/msg/Duration"](sec=LIFETIME_S, nanosec=0),
        frame_locked=False,
        points=[point(*p) for p in xyz_m.tolist()],
        colors=[colour(*c) for c in rgba.tolist()],
        texture_resource="",
        texture=t["sensor_msgs/msg/CompressedImage"](header=_header("", 0), format="", data=none),
        uv_coordinates=[],
        text="",
        mesh_resource="",
        mesh_file=t["visualization_msgs/msg/MeshFile"](filename="", data=none),
        mesh_use_embedded_materials=False,
    )


def _transform(frame_id: str, child: str, t_ns: int, xyz_m: F64, turn_xyzw: F64 | None = None) -> Any:
    t = ros_types().types
    rotation = _no_turn() if turn_xyzw is None else t["geometry_msgs/msg/Quaternion"](*turn_xyzw.tolist())
    return t["geometry_msgs/msg/TransformStamped"](
        header=_header(frame_id, t_ns),
        child_frame_id=child,
        transform=t["geometry_msgs/msg/Transform"](
            translation=t["geometry_msgs/msg/Vector3"](*xyz_m.tolist()), rotation=rotation
        ),
    )


def _header(frame_id: str, t_ns: int) -> Any:
    t = ros_types().types
    stamp = t["builtin_interfaces/msg/Time"](sec=t_ns // 10**9, nanosec=t_ns % 10**9)
    return t["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def _no_turn() -> Any:
    return ros_types().types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0)
