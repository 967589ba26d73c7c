"""A run as entities of Rerun: people in 3D, the picture with their keypoints, and the events as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays import F64
from ..events import ClockReset, Event, FrameRefused, PoseFrame, SourceLost, TrackLost
from ..overlay.brush import GROUND, TORSO
from ..pose.camera_model import Camera
from ..pose.keypoints import Keypoints
from ..pose.skeleton import H36M17
from ..pose.types import Pose
from .base import RunInfo
from .figure import Figure2d, Figure3d, Row
from .jpeg import jpeg

CAPTURE, FRAME = "capture", "frame"
"""Timelines: seconds by the source's clock, and the number of the frame in the run."""

PEOPLE, PICTURE, EVENTS = "camera/people", "picture", "events"

_JOINT_RADIUS_M, _BONE_RADIUS_M = 0.018, 0.009
_JOINT_RADIUS_PX, _BONE_RADIUS_PX = 4.0, 1.5
_SIGMA_RGBA = (150, 150, 150, 90)
_BACKGROUND_RGB = GROUND[::-1]  # dark in every theme: the trunk is white
_NAME_M = 0.25  # from the head up to the person's id
_EYE_M = np.array([1.2, -0.6, -3.2])  # from people to who looks at them, from the camera's side
_HEAD = H36M17.joints.index("head")
_AFTER_RESET_S = 0.1  # between the last frame of a source's clock and the first one after it began anew


class RerunScene:
    """Logs events to a recording.

    Rerun shows the newest value of every entity until it is cleared, so whoever is not in a frame is cleared. A source's
    clock that begins anew goes on from the last frame: a viewer that follows the newest time would stand still otherwise.

    Args:
        recording: a ``RecordingStream`` that has its sink already.
        pictures: whether pictures are logged.
    """

    def __init__(self, recording: Any, run: RunInfo | None, *, pictures: bool) -> None:
        import rerun

        self._rr: Any = rerun
        self._recording, self._pictures = recording, pictures
        self._row = Row()
        self._offset_m: dict[int, float] = {}  # person id -> where the person's axes are, as far as it was logged
        self._shown: set[int] = set()
        self._aimed = False
        self._frames, self._shift_s, self._newest_s = 0, 0.0, -math.inf
        self._begin(None if run is None else run.camera)

    def log(self, event: Event) -> None:
        """Log an event at its capture time."""
        if isinstance(event, PoseFrame):
            self._log_frame(event)
            return
        if isinstance(event, ClockReset):
            self._clear(self._shown, event.t_s)
            self._shift_s = self._newest_s + _AFTER_RESET_S - event.t_s if math.isfinite(self._newest_s) else 0.0
        elif isinstance(event, TrackLost):
            self._clear(self._shown & {event.person}, event.t_s)
        self._set_time(event.t_s)
        level = "WARN" if isinstance(event, FrameRefused | SourceLost | ClockReset) else "INFO"
        self._recording.log(EVENTS, self._rr.TextLog(_text(event), level=level))

    def _begin(self, camera: Any) -> None:
        rr = self._rr
        self._arrange(np.zeros(3))
        self._recording.log("camera", rr.ViewCoordinates.RDF, static=True)  # x right, y down, z forward
        if isinstance(camera, Camera) and camera.world_from_camera is not None:
            matrix = camera.world_from_camera
            place = rr.Transform3D(translation=matrix[:3, 3], mat3x3=matrix[:3, :3])
            self._recording.log("camera", place, static=True)

    def _arrange(self, target_m: F64) -> None:
        """Lay out the viewer: the picture, the room seen from in front of the target and a little above, and the events."""
        import rerun.blueprint as rrb

        eye = rrb.EyeControls3D(position=target_m + _EYE_M, look_target=target_m, eye_up=(0.0, -1.0, 0.0))
        room = rrb.Spatial3DView(origin="camera", background=_BACKGROUND_RGB, eye_controls=eye)
        views = rrb.Horizontal(rrb.Spatial2DView(origin=PICTURE, background=_BACKGROUND_RGB), room)
        parts = rrb.Vertical(views, rrb.TextLogView(origin=EVENTS), row_shares=[5, 1])
        timeline = rrb.TimePanel(state="collapsed", timeline=CAPTURE)
        self._recording.send_blueprint(rrb.Blueprint(parts, timeline, collapse_panels=True))

    def _log_frame(self, frame: PoseFrame) -> None:
        self._frames += 1
        self._clear(self._shown - (set(frame.poses) | set(frame.keypoints)), frame.t_s)
        self._set_time(frame.t_s)
        if self._pictures and frame.image_bgr is not None:
            image = self._rr.EncodedImage(contents=jpeg(frame.image_bgr), media_type="image/jpeg", draw_order=-10.0)
            self._recording.log(f"{PICTURE}/image", image)
        for person, keypoints in frame.keypoints.items():
            self._log_keypoints(person, keypoints, frame)
        offsets_m = self._row.offsets_m(sorted(frame.poses))
        if frame.poses and not self._aimed:  # once: from then on the view is the viewer's
            self._aimed = True
            self._arrange(_middle_m(frame.poses, offsets_m))
        for person, pose in frame.poses.items():
            self._set_time(pose.t_s)  # with a latency, that of an earlier frame
            self._log_pose(person, pose, offset_m=0.0 if pose.root is not None else offsets_m[person])
        for person in self._shown - set(frame.poses):  # seen, but not lifted
            self._log_nothing(f"{PEOPLE}/{person}", frame.t_s)
        self._shown = set(frame.poses) | set(frame.keypoints)

    def _log_pose(self, person: int, pose: Pose, *, offset_m: float) -> None:
        rr, path, figure = self._rr, f"{PEOPLE}/{person}", Figure3d.of(pose)
        if self._offset_m.get(person) != offset_m:
            self._offset_m[person] = offset_m
            self._recording.log(path, rr.Transform3D(translation=[offset_m, 0.0, 0.0]))
        bones = rr.LineStrips3D(figure.bones_m, colors=figure.bone_rgba, radii=_BONE_RADIUS_M, show_labels=False)
        self._recording.log(f"{path}/bones", bones)
        joints = rr.Points3D(figure.xyz_m, colors=figure.joint_rgba, radii=_JOINT_RADIUS_M, show_labels=False)
        self._recording.log(f"{path}/joints", joints)
        above_m = figure.xyz_m[_HEAD] - np.array([0.0, _NAME_M, 0.0], np.float32)
        name = rr.Points3D([above_m], labels=[str(person)], colors=[TORSO[::-1]], radii=0.0, show_labels=True)
        self._recording.log(f"{path}/name", name)
        if pose.sigma_m is not None:
            spheres = rr.Ellipsoids3D(
                centers=figure.xyz_m, radii=pose.sigma_m, colors=[_SIGMA_RGBA], fill_mode="majorwireframe", show_labels=False
            )
            self._recording.log(f"{path}/sigma", spheres)

    def _log_keypoints(self, person: int, keypoints: Keypoints, frame: PoseFrame) -> None:
        rr, path, figure = self._rr, f"{PICTURE}/people/{person}", Figure2d.of(keypoints, frame.image_bgr)
        if figure is not None:
            bones = rr.LineStrips2D(figure.lines_px, colors=figure.line_rgba, radii=_BONE_RADIUS_PX, show_labels=False)
            self._recording.log(f"{path}/bones", bones)
            dots = rr.Points2D(figure.joints_px, colors=figure.joint_rgba, radii=_JOINT_RADIUS_PX, show_labels=False)
            self._recording.log(f"{path}/joints", dots)

    def _clear(self, people: set[int], t_s: float) -> None:
        for person in sorted(people):
            self._log_nothing(f"{PEOPLE}/{person}", t_s)
            self._log_nothing(f"{PICTURE}/people/{person}", t_s)
            self._offset_m.pop(person, None)
        self._shown = self._shown - people

    def _log_nothing(self, path: str, t_s: float) -> None:
        """Clear an entity, and never at a time at which it was logged or earlier: that would show it again later on."""
        self._recording.set_time(CAPTURE, duration=max(self._shifted(t_s), self._newest_s + 1e-6))
        self._recording.log(path, self._rr.Clear(recursive=True))

    def _set_time(self, t_s: float) -> None:
        time_s = self._shifted(t_s)
        self._newest_s = max(self._newest_s, time_s)
        self._recording.set_time(CAPTURE, duration=time_s)
        self._recording.set_time(FRAME, sequence=self._frames)

    def _shifted(self, t_s: float) -> float:
        """The time on the timeline; one that is no number, as of a frame that is refused for it, is the newest one."""
        if not math.isfinite(t_s):
            return self._newest_s if math.isfinite(self._newest_s) else 0.0
        return t_s + self._shift_s


def _middle_m(poses: Mapping[int, Pose], offsets_m: Mapping[int, float]) -> F64:
    """(3,) the middle of everybody's hips, as they are shown."""
    aside_m = {person: np.array([offset_m, 0.0, 0.0]) for person, offset_m in offsets_m.items()}
    hips_m = [aside_m[person] if pose.root is None else pose.root.xyz_m for person, pose in poses.items()]
    middle_m: F64 = np.mean(np.array(hips_m, np.float64), axis=0)
    return middle_m


def _text(event: Event) -> str:
    """``track_started person=3``."""
    record = event.to_json()
    fields = [f"{name}={value}" for name, value in record.items() if name not in ("event", "version", "t_s")]
    return " ".join([str(record["event"]), *fields])
