"""Our whole road on a clip: a video or perfect keypoints through ``Pipeline``, with what detectors find remembered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from posemoe_edge.runtime.arrays import F32, F64, ImageBgr
from posemoe_edge.runtime.detectors import Detection, Detector, Region, RegionDetector
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.model import Model
from posemoe_edge.runtime.pipeline import Pipeline
from posemoe_edge.runtime.pose.camera_model import Camera
from posemoe_edge.runtime.pose.keypoints import ImageSize, Keypoints
from posemoe_edge.runtime.pose.skeleton import COCO17, Skeleton
from posemoe_edge.runtime.pose.smoothing import Smooth
from posemoe_edge.runtime.sources import BaseSource, CameraFrame, People, SourceInfo
from posemoe_edge.runtime.sources.video import VideoSource

from .clips import FPS
from .scoring import IN_COCO, IN_H36M, Candidate


@dataclass
class RememberingDetector:
    """A detector whose answers are remembered, so that several weights get the same ones for one detector's time.

    A run asks in the order in which the first one asked: what is found does not depend on the weights. Later runs need the
    times and sizes of the pictures alone.
    """

    detector: Detector
    pictures: list[CameraFrame] = field(default_factory=list)  # without what is on them
    detections: list[list[Detection]] = field(default_factory=list)
    asked: int = 0
    skeleton: Skeleton = field(init=False)

    def __post_init__(self) -> None:
        self.skeleton = self.detector.skeleton

    def detect(self, image_bgr: ImageBgr, *, regions: Sequence[Region] | None = None) -> list[Detection]:
        if self.asked == len(self.detections):
            self.detections.append(self.detector.detect(image_bgr, regions=regions))
        self.asked += 1
        return self.detections[self.asked - 1]

    def rewind(self) -> None:
        """The next run begins."""
        self.asked = 0


@dataclass
class RememberingRegionDetector(RememberingDetector):
    """The same for a detector of two stages."""

    regions: list[list[Region]] = field(default_factory=list)
    searched: int = 0

    def find(self, image_bgr: ImageBgr) -> list[Region]:
        if self.searched == len(self.regions):
            assert isinstance(self.detector, RegionDetector)
            self.regions.append(self.detector.find(image_bgr))
        self.searched += 1
        return self.regions[self.searched - 1]

    def rewind(self) -> None:
        super().rewind()
        self.searched = 0


def remembering(detector: Detector) -> RememberingDetector:
    """The detector with a memory."""
    return (RememberingRegionDetector if isinstance(detector, RegionDetector) else RememberingDetector)(detector)


class RememberedPictures(BaseSource):
    """The pictures of a remembering detector: a video's the first time, black ones of their size afterwards."""

    pictures = True

    def __init__(self, video: VideoSource, detector: RememberingDetector) -> None:
        self._video, self._detector = video, detector

    @property
    def info(self) -> SourceInfo:
        return self._video.info

    def __iter__(self) -> Iterator[CameraFrame]:
        if self._detector.pictures:
            yield from self._detector.pictures
            return
        pictures = []
        for frame in self._video:
            if not isinstance(frame, CameraFrame):
                continue
            pictures.append(CameraFrame(frame.t_s, np.broadcast_to(np.uint8(0), frame.image_bgr.shape)))
            yield frame
        self._detector.pictures = pictures


class PerfectKeypoints(BaseSource):
    """The true joints as a perfect detector would give them.

    Args:
        truth_px: (T, 17, 2) COCO-17 in the picture.
        size: of the picture.
    """

    pictures = False

    def __init__(self, truth_px: F64, size: ImageSize) -> None:
        self._points = np.concatenate([truth_px, np.ones_like(truth_px[..., :1])], axis=-1).astype(np.float32)
        self._size = size

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("perfect keypoints", fps=FPS, frames=len(self._points))

    def __iter__(self) -> Iterator[People]:
        for i, points in enumerate(self._points):
            yield People(i / FPS, {0: Keypoints.from_coco(points, size=self._size)})


def run_video(
    model: Model,
    video: Path,
    detector: Detector,
    *,
    tracker: str,
    camera: Camera | None,
    frames: int | None = None,
    smooth: Smooth = "off",
) -> Iterator[PoseFrame]:
    """Every frame of a video on our whole road."""
    file = VideoSource(video, frames=frames)
    source = RememberedPictures(file, detector) if isinstance(detector, RememberingDetector) else file
    try:
        for event in Pipeline(source, model, detector=detector, tracker=tracker, camera=camera, smooth=smooth):
            if isinstance(event, PoseFrame):
                yield event
    finally:
        file.close()


def run_perfect(model: Model, truth_px: F64, size: ImageSize, *, camera: Camera | None) -> Iterator[PoseFrame]:
    """The same behind a perfect detector."""
    for event in Pipeline(PerfectKeypoints(truth_px, size), model, camera=camera):
        if isinstance(event, PoseFrame):
            yield event


def candidates(frame: PoseFrame) -> list[Candidate]:
    """The people of a frame, as they are scored."""
    people = []
    for person, pose in frame.poses.items():
        keypoints = frame.keypoints[person]
        limbs = IN_COCO if keypoints.skeleton == COCO17 else IN_H36M
        limbs_px = np.where(keypoints.score[limbs, None] > 0, keypoints.xy[limbs], np.nan).astype(np.float64)
        placed = pose.xyz_in_camera_m
        in_camera_m = None if placed is None else placed[IN_H36M].astype(np.float64)
        people.append(Candidate(person, limbs_px, pose.xyz_m[IN_H36M].astype(np.float64), in_camera_m))
    return people


def keypoints_of(frames: Sequence[Mapping[int, Keypoints]], near_px: F64) -> F32:
    """(T, 17, 3) the keypoints of the person who is nearest to (T, 2), of each frame; score 0 where nobody is."""
    points = np.zeros((len(frames), len(COCO17), 3), np.float32)
    for i, people in enumerate(frames):
        middles = {person: keypoints.xy[IN_COCO].mean(axis=0) for person, keypoints in people.items()}
        if middles:
            person = min(middles, key=lambda person: float(np.linalg.norm(middles[person] - near_px[i])))
            points[i] = people[person].points
    return points
