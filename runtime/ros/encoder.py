"""The one encoder of ROS messages: recordings, a ROS node and zenoh carry the same bytes."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..events import Event, PoseFrame
from ..pose.camera_model import Camera, FieldOfView
from ..pose.keypoints import ImageSize
from . import messages
from .body import Body
from .figure import Figure, stamp_ns
from .template import NumbersT, Template
from .types import CAMERA_INFO, IDS, MARKERS, POSES, STRING, TRANSFORMS, to_cdr

FRAME_ID = "camera0_optical"
_MOST_TEMPLATES = 64  # one for each set of people who were seen together; older ones are made again


@dataclass(frozen=True)
class Topic:
    """Where messages go. A name without a slash belongs into the user's namespace."""

    name: str
    type: str

    def within(self, namespace: str) -> str:
        """The full name: ``/posemoe/markers``."""
        return self.name if self.name.startswith("/") else f"/{namespace}/{self.name}"


TOPICS = {
    topic.name: topic
    for topic in (
        Topic("markers", MARKERS),
        Topic("poses", POSES),
        Topic("/tf", TRANSFORMS),
        Topic("camera_info", CAMERA_INFO),
        Topic("events", STRING),
        Topic("keypoints", STRING),
    )
}


TRACKED = Topic("/humans/bodies/tracked", IDS)
"""Of REP 155 (ROS4HRI), for those who ask for it."""


@dataclass(frozen=True)
class RosMessage:
    """A message of a topic: its CDR."""

    topic: Topic
    cdr: bytes


class RosEncoder:
    """Turns the frames of a run into messages.

    Args:
        frame_id: of the camera's optical frame, in which all positions are: x right, y down, z forward (REP 103).
        camera: that sees the people, as far as it is known.
        ros4hri: REP 155's ids of bodies too, and its frames in place of our own.
    """

    def __init__(self, *, frame_id: str = FRAME_ID, camera: Camera | FieldOfView | None = None, ros4hri: bool = False) -> None:
        self._frame_id, self._camera, self._ros4hri = frame_id, camera, ros4hri
        self._templates: dict[tuple[Topic, tuple[int, ...]], Template[Any]] = {}
        self._info: tuple[ImageSize | None, Template[Figure]] | None = None

    def frame(self, frame: PoseFrame) -> list[RosMessage]:
        """Markers and poses, also if nobody is there; the joints' frames if somebody is; the camera's calibration if known."""
        figures = [Figure.of(frame.poses[person]) for person in sorted(frame.poses)]
        t_ns = max((figure.t_ns for figure in figures), default=stamp_ns(frame.t_s))  # with a latency, that of the poses
        out = [self._filled(TOPICS["markers"], figures, t_ns, Figure, self._markers)]
        out.append(self._filled(TOPICS["poses"], figures, t_ns, Figure, self._poses))
        if self._ros4hri:
            bodies = [Body.of(figure) for figure in figures]
            out.append(self._ids([figure.person for figure in figures], t_ns))
            if bodies:
                out.append(self._filled(TOPICS["/tf"], bodies, t_ns, Body, self._body_transforms))
        elif figures:
            out.append(self._filled(TOPICS["/tf"], figures, t_ns, Figure, self._transforms))
        info = self._camera_info(frame, t_ns)
        return out if info is None else [*out, info]

    def event(self, event: Event) -> RosMessage:
        """Any event as our JSON."""
        return RosMessage(TOPICS["events"], string_cdr(json_text(event.to_json())))

    def _filled(
        self,
        topic: Topic,
        figures: Sequence[NumbersT],
        t_ns: int,
        kind: type[NumbersT],
        build: Callable[[Sequence[NumbersT], int], bytes],
    ) -> RosMessage:
        people = tuple(figure.person for figure in figures)
        template = self._template(topic, people, lambda: Template(build, people, kind=kind))
        return RosMessage(topic, template.fill(figures, t_ns=t_ns))

    def _template(self, topic: Topic, people: tuple[int, ...], make: Callable[[], Template[Any]]) -> Template[Any]:
        if (topic, people) not in self._templates:
            if len(self._templates) >= _MOST_TEMPLATES:
                del self._templates[next(iter(self._templates))]
            self._templates[topic, people] = make()
        return self._templates[topic, people]

    def _ids(self, people: Sequence[int], t_ns: int) -> RosMessage:
        def build(figures: Sequence[Figure], t_ns: int) -> bytes:
            return to_cdr(messages.body_ids(people, frame_id=self._frame_id, t_ns=t_ns))

        template = self._template(TRACKED, tuple(people), lambda: Template(build, (), kind=Figure))
        return RosMessage(TRACKED, template.fill((), t_ns=t_ns))

    def _markers(self, figures: Sequence[Figure], t_ns: int) -> bytes:
        return to_cdr(messages.marker_array(figures, frame_id=self._frame_id, t_ns=t_ns))

    def _poses(self, figures: Sequence[Figure], t_ns: int) -> bytes:
        return to_cdr(messages.pose_array(figures, frame_id=self._frame_id, t_ns=t_ns))

    def _transforms(self, figures: Sequence[Figure], t_ns: int) -> bytes:
        return to_cdr(messages.transforms(figures, frame_id=self._frame_id))

    def _body_transforms(self, bodies: Sequence[Body], t_ns: int) -> bytes:
        return to_cdr(messages.body_transforms(bodies, frame_id=self._frame_id))

    def _camera_info(self, frame: PoseFrame, t_ns: int) -> RosMessage | None:
        """For pictures of the frame's size; where none has been seen, of the calibration's."""
        size = _size(frame)
        if self._info is None or (size is not None and size != self._info[0]):
            camera = _camera_for(self._camera, size)
            if camera is None:
                return None

            def build(figures: Sequence[Figure], t_ns: int) -> bytes:
                return to_cdr(messages.camera_info(camera, frame_id=self._frame_id, t_ns=t_ns))

            self._info = size, Template(build, (), kind=Figure)
        return RosMessage(TOPICS["camera_info"], self._info[1].fill((), t_ns=t_ns))


def string_cdr(text: str) -> bytes:
    """A ``std_msgs/String``: a little endian header, the length with the closing zero, UTF-8."""
    data = text.encode()
    return b"\x00\x01\x00\x00" + struct.pack("<I", len(data) + 1) + data + b"\x00"


def json_text(value: Any) -> str:
    """JSON in which a number that is not finite, such as the time of a refused frame, is the text that ``float`` reads."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _camera_for(camera: Camera | FieldOfView | None, size: ImageSize | None) -> Camera | None:
    """The camera of pictures of that size; None where that is not known, as of pictures that were cropped."""
    if size is None:
        return camera if isinstance(camera, Camera) else None
    try:
        return None if camera is None else camera.for_size(size)
    except UsageError:
        return None


def _size(frame: PoseFrame) -> ImageSize | None:
    if frame.image_bgr is not None:
        return ImageSize.of(frame.image_bgr)
    return next((k.size for k in frame.keypoints.values() if k.size is not None), None)
