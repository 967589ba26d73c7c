"""How a camera sees people: what the lifter is given of them, and the poses as they stand before the camera.

The stage around the lifter in a pipeline: distortion is undone, keypoints become rays, and a lifter of view ``image`` gets them
as a level camera that looks at the person would see them. Afterwards the pose is turned back, and its position is found.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from .arrays import F32, F64
from .pose.camera import normalise_by_camera
from .pose.camera_model import Camera, FieldOfView
from .pose.keypoints import ImageSize, Keypoints, View, normalise_screen
from .pose.root import Solution, solve_roots
from .pose.scale import Floor, PersonScale, check_stature
from .pose.types import Pose, Root
from .pose.view import look_at

ViewFrom = Literal["none", "graph", "runtime"]
"""What gives the lifter a view of the person: nothing (it gets the picture as it is), its own graph, or the runtime."""

HOLD_S = 1.0
"""A position that cannot be measured is held so long, and then unknown."""

_WALK_M_S = 1.0  # how fast the standard deviation of a held position grows


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """One person in one frame.

    Args:
        t_s: capture time.
        rays: (17, 3) x and y on the undistorted picture plane at depth 1, score; Human3.6M's joints.
        camera: of this picture's size.
        view_from_camera: (3, 3) the axes in which the lifter saw the person; None for the camera's own.
    """

    t_s: float
    rays: F64
    camera: Camera
    view_from_camera: F64 | None


@dataclass
class _Track:
    """What is remembered of one person."""

    frames: deque[SeenFrame]  # that were fed, as many as the lifter's answer may lie behind
    scale: PersonScale
    posed: SeenFrame | None = None  # that the last pose is of
    root: Root | None = None  # the last that was measured
    root_t_s: float = field(default=0.0)


class Sight:
    """What a camera sees of the people of a run.

    Args:
        camera: None if nothing is known of it; then there are no views and no positions.
        recipe: how COCO-17 becomes Human3.6M-17, as the lifter's manifest says.
        view: of the lifter.
        look: whether a lifter of view ``image`` is given the view of a camera that looks at the person.
        metric: whether the lifter's poses are in metres; others have no position.
        stature_m: of everybody, if it is known.
        latency_frames: how many frames a pose lies behind the newest frame.
    """

    def __init__(
        self,
        camera: Camera | FieldOfView | None,
        *,
        recipe: str,
        view: View,
        look: bool = True,
        metric: bool = True,
        stature_m: float | None = None,
        latency_frames: int = 0,
    ) -> None:
        self.camera, self._recipe, self._view = camera, recipe, view
        self._look, self._metric = look and view == "image", metric
        self._stature_m, self._latency = check_stature(stature_m), latency_frames
        self._cameras: dict[ImageSize, Camera] = {}  # the camera by the size of its picture
        self._seen: dict[int, SeenFrame] = {}  # the newest frame, until its pose comes
        self._tracks: dict[int, _Track] = {}

    @property
    def view_from(self) -> ViewFrom:
        """What looks at the person."""
        if self._view == "person":
            return "graph"
        return "runtime" if self._look and self.camera is not None else "none"

    def see(
        self, t_s: float, people: Mapping[int, Keypoints], *, measured: Mapping[int, Keypoints] | None = None
    ) -> dict[int, F32]:
        """Person -> the (17, 3) keypoints of a frame as the lifter takes them.

        Args:
            people: everybody in the frame; some of their joints may be held from an earlier one.
            measured: the same without those: only what was seen now says where a person is. None if nothing is held.

        Raises:
            UsageError: the picture has another aspect than the camera.
            FrameError: the skeleton cannot be converted.
        """
        self._seen = {}
        measured = measured or people
        return {person: self._see(t_s, person, keypoints, measured[person]) for person, keypoints in people.items()}

    def place(self, poses: Mapping[int, Pose]) -> dict[int, Pose]:
        """The poses in the axes of the camera, with their positions. Poses of people without a camera stay as they are."""
        placed = dict(poses)
        measured: dict[int, SeenFrame] = {}
        for person, pose in poses.items():
            frame = self._frame_of(person, pose)
            if frame is None:
                continue
            if frame.view_from_camera is not None:
                placed[person] = pose = replace(pose, xyz_m=(pose.xyz_m @ frame.view_from_camera).astype(np.float32))
            if pose.gap != "hold" and self._metric:
                measured[person] = frame
        solved = _solve(placed, measured)
        for person, pose in placed.items():
            solution = solved.get(person)
            root = self._root(person, pose, measured.get(person), solution)
            if root is not None:
                pose = replace(pose, root=root)
            if solution is not None and not solution.fits:
                pose = replace(pose, doubts=(*pose.doubts, "fit"))
            placed[person] = pose
        return placed

    def forget(self, person: int) -> None:
        """Forget a person who was lost: another one may get the id."""
        self._tracks.pop(person, None)
        self._seen.pop(person, None)

    def _see(self, t_s: float, person: int, keypoints: Keypoints, measured: Keypoints) -> F32:
        if keypoints.size is None:
            return keypoints.normalised(recipe=self._recipe)
        size = keypoints.size
        if self.camera is None:
            return keypoints.normalised(recipe=self._recipe, view=self._view)
        if size not in self._cameras:
            self._cameras[size] = self.camera.for_size(size)
        camera = self._cameras[size]
        points_px = camera.undistorted(keypoints).in_h36m(self._recipe)
        rays = camera.rays(points_px)
        normalised, axes = look_at(rays, gravity=camera.gravity) if self._look else (None, None)
        if measured is not keypoints:
            rays = np.where((measured.in_h36m(self._recipe)[:, 2] == 0)[:, None], rays * (1, 1, 0), rays)
        self._seen[person] = SeenFrame(t_s, rays, camera, axes)
        if normalised is not None:
            return normalised
        if self._view == "person":
            return normalise_by_camera(points_px, camera.intrinsics)
        return normalise_screen(points_px, width_px=size.width_px, height_px=size.height_px)

    def _frame_of(self, person: int, pose: Pose) -> SeenFrame | None:
        """The frame that a pose is of; None if nothing is known of the camera."""
        seen = self._seen.get(person)
        if person not in self._tracks:
            if seen is None:
                return None
            self._tracks[person] = self._new_track(seen.camera)
        track = self._tracks[person]
        if pose.gap == "hold":  # the last pose is repeated
            return track.posed
        if seen is not None:
            track.frames.append(seen)
        track.posed = next((frame for frame in track.frames if frame.t_s == pose.t_s), track.posed)
        return track.posed

    def _new_track(self, camera: Camera) -> _Track:
        floor = None
        if camera.gravity is not None and camera.height_m is not None:
            floor = Floor(camera.gravity, camera.height_m)
        return _Track(deque(maxlen=self._latency + 1), PersonScale(self._stature_m, floor))

    def _root(self, person: int, pose: Pose, frame: SeenFrame | None, solved: Solution | None) -> Root | None:
        track = self._tracks.get(person)
        if track is None:
            return None
        if frame is None or solved is None or not solved.valid:
            return _held(track, pose.t_s)
        scale = track.scale.observe(pose.xyz_m.astype(np.float64), solved.xyz_m, frame.rays[:, 2])
        xyz_m = scale.factor * solved.xyz_m
        variance = scale.factor**2 * np.diagonal(solved.covariance) + (scale.sigma * solved.xyz_m) ** 2
        track.root_t_s = pose.t_s
        track.root = Root(
            xyz_m=xyz_m.astype(np.float32),
            sigma_m=np.sqrt(variance).astype(np.float32),
            residual_px=solved.residual * frame.camera.intrinsics.fx_px,
            scale=scale.factor,
            scale_from=scale.rests_on,
            world_from_camera=frame.camera.world_from_camera,
        )
        return track.root


def _solve(poses: Mapping[int, Pose], frames: Mapping[int, SeenFrame]) -> dict[int, Solution]:
    """Person -> the solution for that one; all are solved at once."""
    if not frames:
        return {}
    sigmas = [sigma for person in frames if (sigma := poses[person].sigma_m) is not None]
    solved = solve_roots(
        np.stack([poses[person].xyz_m for person in frames]).astype(np.float64),
        np.stack([frame.rays for frame in frames.values()]),
        sigma_m=np.stack(sigmas).astype(np.float64) if len(sigmas) == len(frames) else None,
    )
    return dict(zip(frames, solved, strict=True))


def _held(track: _Track, t_s: float) -> Root | None:
    """The last position, less and less certain."""
    held_s = t_s - track.root_t_s
    if track.root is None or not 0 <= held_s <= HOLD_S:
        return None
    sigma_m = np.hypot(track.root.sigma_m, np.float32(_WALK_M_S * held_s)).astype(np.float32)
    return replace(track.root, sigma_m=sigma_m, held_s=held_s)
