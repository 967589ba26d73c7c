"""A run as messages of Foxglove: people in 3D, frames of reference, the picture with keypoints, and events as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..arrays import F64
from ..events import Event, PoseFrame
from ..overlay.scene import level_axes
from ..pose.camera_model import Camera, FieldOfView
from ..pose.quaternion import quaternion_xyzw
from ..pose.skeleton import H36M17
from ..pose.types import Pose
from .figure import Figure2d, Figure3d, Row
from .jpeg import jpeg

WORLD, CAMERA = "world", "camera0_optical"
"""Frames of reference. Foxglove's are z up, and the camera's axes, with y down, would lie on their face without the first."""

TOPICS = {
    "people": "/posemoe/people",
    "sigma": "/posemoe/sigma",
    "keypoints": "/posemoe/keypoints",
    "picture": "/posemoe/picture",
    "events": "/posemoe/events",
    "transforms": "/tf",
}

_JOINT_M, _BONE_M, _TEXT_M = 0.036, 0.018, 0.15  # diameters, height
_LINE_PX, _DOT_PX = 3.0, 6.0
_SIGMA_RGBA = (0.6, 0.6, 0.6, 0.15)
_HEAD = H36M17.joints.index("head")
_LEVEL_FROM_CAMERA = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # x forward, y left, z up


class FoxgloveScene:
    """Logs events to channels of a context; what nobody has subscribed to is not made.

    Args:
        context: of Foxglove, with a server or a file as its sink.
    """

    def __init__(self, context: Any) -> None:
        import foxglove
        from foxglove import channels, messages

        self._m: Any = messages
        self._people = channels.SceneUpdateChannel(TOPICS["people"], context=context)
        self._sigma = channels.SceneUpdateChannel(TOPICS["sigma"], context=context)
        self._keypoints = channels.ImageAnnotationsChannel(TOPICS["keypoints"], context=context)
        self._picture = channels.CompressedImageChannel(TOPICS["picture"], context=context)
        self._transforms = channels.FrameTransformsChannel(TOPICS["transforms"], context=context)
        self._events = foxglove.Channel(TOPICS["events"], message_encoding="json", context=context)
        self._row = Row()
        self._shown_ns: dict[int, int] = {}  # person id -> the stamp under which the person was shown
        self._world_from_camera: F64 = _placed(None)
        self._t_ns = 0

    def begin(self, camera: Camera | FieldOfView | None) -> None:
        """Begin a run that is seen by a camera, as far as it is known."""
        self._world_from_camera = _placed(camera)

    def log(self, event: Event) -> None:
        """Log an event at its capture time; one at no time, as of a frame that is refused for it, at the time before."""
        record = event.to_json()
        if math.isfinite(event.t_s):
            self._t_ns = _ns(event.t_s)
        else:
            record["t_s"] = None  # JSON has no other word for it
        self._events.log(record, log_time=self._t_ns)
        if isinstance(event, PoseFrame):
            self._log_frame(event)

    def _log_frame(self, frame: PoseFrame) -> None:
        m, t_ns = self._m, self._t_ns
        if frame.image_bgr is not None and self._picture.has_sinks():
            image = m.CompressedImage(timestamp=self._stamp(t_ns), frame_id=CAMERA, data=jpeg(frame.image_bgr), format="jpeg")
            self._picture.log(image, log_time=t_ns)
        if self._keypoints.has_sinks():
            figures = [Figure2d.of(keypoints, frame.image_bgr) for keypoints in frame.keypoints.values()]
            points = [part for figure in figures if figure is not None for part in self._annotations(figure, t_ns)]
            self._keypoints.log(m.ImageAnnotations(points=points), log_time=t_ns)
        offsets_m = self._row.offsets_m(sorted(frame.poses))
        self._log_transforms({person: offsets_m[person] for person, pose in frame.poses.items() if pose.root is None})
        gone = self._deletions(set(self._shown_ns) - set(frame.poses))
        people, spheres = [], []
        for person, pose in frame.poses.items():
            self._shown_ns[person] = _ns(pose.t_s)
            people.append(self._entity(person, pose))
            if pose.sigma_m is not None:
                spheres.append(self._sigma_entity(person, pose))
        self._people.log(m.SceneUpdate(entities=people, deletions=gone), log_time=t_ns)
        self._sigma.log(m.SceneUpdate(entities=spheres, deletions=gone), log_time=t_ns)

    def _entity(self, person: int, pose: Pose) -> Any:
        m, figure = self._m, Figure3d.of(pose)
        colours = [self._colour(colour / 255) for colour in figure.joint_rgba]
        line = m.LinePrimitive(
            type=m.LinePrimitiveLineType.LineList,
            thickness=_BONE_M,
            points=[self._point(xyz_m) for xyz_m in figure.bones_m.reshape(-1, 3)],
            colors=[self._colour(colour / 255) for colour in figure.bone_rgba.repeat(2, axis=0)],
        )
        above = figure.xyz_m[_HEAD] - np.array([0, 2 * _TEXT_M, 0], np.float32)
        name = m.TextPrimitive(
            pose=self._pose(above), billboard=True, font_size=_TEXT_M, text=str(person), color=self._colour((1, 1, 1, 1))
        )
        spheres = self._spheres(figure.xyz_m, [_JOINT_M] * len(H36M17), colours)
        return self._scene_entity(person, pose, spheres=spheres, lines=[line], texts=[name])

    def _sigma_entity(self, person: int, pose: Pose) -> Any:
        sizes_m = [] if pose.sigma_m is None else (2 * pose.sigma_m).tolist()
        spheres = self._spheres(Figure3d.of(pose).xyz_m, sizes_m, [self._colour(_SIGMA_RGBA)] * len(sizes_m))
        return self._scene_entity(person, pose, spheres=spheres)

    def _scene_entity(self, person: int, pose: Pose, **shapes: Any) -> Any:
        frame_id = CAMERA if pose.root is not None else _own_frame(person)
        return self._m.SceneEntity(timestamp=self._stamp(_ns(pose.t_s)), frame_id=frame_id, id=str(person), **shapes)

    def _spheres(self, xyz_m: Any, sizes_m: Iterable[float], colours: Iterable[Any]) -> list[Any]:
        return [
            self._m.SpherePrimitive(pose=self._pose(centre_m), size=self._m.Vector3(x=size, y=size, z=size), color=colour)
            for centre_m, size, colour in zip(xyz_m, sizes_m, colours, strict=True)
        ]

    def _deletions(self, people: set[int]) -> list[Any]:
        """Deletions of those who are gone. They delete what is older than they, even if the source's clock began anew."""
        m, deletions = self._m, []
        for person in sorted(people):
            stamp = self._stamp(max(self._t_ns, self._shown_ns.pop(person) + 1))
            kind = m.SceneEntityDeletionType.MatchingId
            deletions.append(m.SceneEntityDeletion(timestamp=stamp, type=kind, id=str(person)))
        return deletions

    def _annotations(self, figure: Figure2d, t_ns: int) -> list[Any]:
        m, shapes = self._m, self._m.PointsAnnotationType
        lines = (shapes.LineList, figure.lines_px.reshape(-1, 2), figure.line_rgba, _LINE_PX)
        dots = (shapes.Points, figure.joints_px, figure.joint_rgba, _DOT_PX)
        return [
            m.PointsAnnotation(
                timestamp=self._stamp(t_ns),
                type=kind,
                points=[m.Point2(x=float(x), y=float(y)) for x, y in points_px],
                outline_colors=[self._colour(colour / 255) for colour in colours],
                thickness=thickness_px,
            )
            for kind, points_px, colours, thickness_px in (lines, dots)
        ]

    def _log_transforms(self, offsets_m: dict[int, float]) -> None:
        """The camera in the world, and those beside each other whose place before the camera is not known."""
        m, place = self._m, self._world_from_camera
        rotation = m.Quaternion(**dict(zip("xyzw", quaternion_xyzw(place[:3, :3]).tolist(), strict=True)))
        transforms = [self._transform(WORLD, CAMERA, place[:3, 3], rotation)]
        for person, right_m in offsets_m.items():
            transforms.append(self._transform(CAMERA, _own_frame(person), (right_m, 0.0, 0.0), m.Quaternion(w=1.0)))
        self._transforms.log(m.FrameTransforms(transforms=transforms), log_time=self._t_ns)

    def _transform(self, parent: str, child: str, at_m: Iterable[float], rotation: Any) -> Any:
        x, y, z = at_m
        translation = self._m.Vector3(x=float(x), y=float(y), z=float(z))
        return self._m.FrameTransform(
            timestamp=self._stamp(self._t_ns),
            parent_frame_id=parent,
            child_frame_id=child,
            translation=translation,
            rotation=rotation,
        )

    def _pose(self, xyz_m: Iterable[float]) -> Any:
        x, y, z = xyz_m
        position = self._m.Vector3(x=float(x), y=float(y), z=float(z))
        return self._m.Pose(position=position, orientation=self._m.Quaternion(w=1.0))

    def _point(self, xyz_m: Iterable[float]) -> Any:
        x, y, z = xyz_m
        return self._m.Point3(x=float(x), y=float(y), z=float(z))

    def _colour(self, colour: Iterable[float]) -> Any:
        r, g, b, a = colour
        return self._m.Color(r=float(r), g=float(g), b=float(b), a=float(a))

    def _stamp(self, t_ns: int) -> Any:
        return self._m.Timestamp(*divmod(t_ns, 10**9))


def _placed(camera: Camera | FieldOfView | None) -> F64:
    """(4, 4) the camera in the world: as it is known, or upright by gravity, or level."""
    if isinstance(camera, Camera) and camera.world_from_camera is not None:
        return camera.world_from_camera
    matrix = np.eye(4)
    level = np.eye(3) if camera is None or camera.gravity is None else level_axes(camera.gravity)
    matrix[:3, :3] = _LEVEL_FROM_CAMERA @ level
    return matrix


def _own_frame(person: int) -> str:
    return f"person_{person}"


def _ns(t_s: float) -> int:
    """A time in nanoseconds, from 0 to what a stamp of 32 bits can hold; 0 for one that is no number."""
    return 0 if math.isnan(t_s) else round(min(max(t_s, 0.0), 2.0**32 - 1) * 1e9)
