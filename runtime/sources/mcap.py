"""``mcap:bag.mcap#/topic``: pictures of any ROS 2 recording, or the keypoints that posemoe-edge recorded."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..arrays import F32
from ..errors import FrameError, PoseEdgeError, SourceError, missing_extra
from ..registry import suggest
from ..ros.bag import BagContents, BagTopic, bag_contents, bag_messages
from ..ros.image import compressed_image_bgr, image_bgr
from ..ros.recorded_run import RUN, recorded_camera, recorded_fps, recorded_frame
from ..ros.types import COMPRESSED_IMAGE, IMAGE, STRING, from_cdr, ros_types
from .base import BaseSource, CameraFrame, People, SourceInfo
from .image_files import natural_order

KEYPOINTS_TOPIC = "/posemoe/keypoints"
_FORM = "mcap:FILE.mcap#/topic"
_log = logging.getLogger(__name__)


class McapSource(BaseSource):
    """The messages of one topic, in the order of the recording; a file that breaks off is read up to the break.

    Pictures have the time at which they were taken (``header.stamp``), or that of the recording where they do not say. One
    that cannot be decoded is left out with a warning. Keypoints come back to the last bit, with their ids and the camera.

    Args:
        location: ``FILE.mcap``, or the folder of a bag, and behind a ``#`` the topic. Without one it is
            ``/posemoe/keypoints`` where the recording has it, otherwise the only topic of pictures.
        frames: at most so many frames, None for all.

    Raises:
        SourceError: no such file or topic, or a topic of messages that are neither pictures nor keypoints.
        MissingError: mcap, zstandard or rosbags is not installed.
    """

    def __init__(self, location: str | Path, *, frames: int | None = None) -> None:
        self.path, topic = _path_and_topic(str(location))
        ros_types()
        self._files = _files(self.path)
        contents = _merged([bag_contents(file) for file in self._files])
        self.topic = _chosen(contents, topic, self.path)
        self._run = contents.metadata.get(RUN, {}) if not self.pictures else {}
        self._frames = frames

    @property
    def pictures(self) -> bool:
        return self.topic.type in (IMAGE, COMPRESSED_IMAGE)

    @property
    def info(self) -> SourceInfo:
        limits = [count for count in (self.topic.messages, self._frames) if count is not None]
        frames = min(limits) if self.topic.messages is not None else None
        name = f"{self.path}#{self.topic.name}"
        return SourceInfo(name, fps=recorded_fps(self._run), frames=frames, camera=recorded_camera(self._run))

    @property
    def files(self) -> Sequence[Path]:
        return self._files

    def __iter__(self) -> Iterator[CameraFrame | People]:
        frames: Iterator[CameraFrame | People] = self._pictures() if self.pictures else self._people()
        for count, frame in enumerate(frames, start=1):
            yield frame
            if count == self._frames:
                return

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        for file in self._files:
            yield from bag_messages(file, self.topic.name)

    def _pictures(self) -> Iterator[CameraFrame]:
        decoded, unreadable = 0, 0
        for t_ns, data in self._messages():
            try:
                frame = self._picture(t_ns, data)
            except FrameError as error:
                unreadable += 1
                _log.warning("%s at %.3f s is left out: %s", self.topic.name, t_ns / 1e9, error)
                reason = error
                continue
            decoded += 1
            yield frame
        if unreadable and not decoded:
            raise SourceError(
                f"none of the {unreadable} pictures of {self.topic.name} can be read ({reason.what})", expected=reason.expected
            )

    def _picture(self, t_ns: int, data: bytes) -> CameraFrame:
        message = self._decoded(data)
        stamp = message.header.stamp
        taken_ns = stamp.sec * 10**9 + stamp.nanosec
        image = image_bgr(message) if self.topic.type == IMAGE else compressed_image_bgr(message)
        return CameraFrame((taken_ns or t_ns) / 1e9, image)

    @property
    def run(self) -> Mapping[str, str]:
        """What was recorded of the run, ``posemoe.run``; empty for pictures, and where nothing was."""
        return self._run

    def recorded(self) -> Iterator[tuple[People, dict[int, F32]]]:
        """The frames of a topic of keypoints, each with the poses of its run: person -> (17, 3) metres from the hip."""
        for _, data in self._messages():
            try:
                text = data if self.topic.encoding == "json" else self._decoded(data).data
                frame = recorded_frame(text)
            except PoseEdgeError as error:
                raise SourceError(f"{self.path}#{self.topic.name}: {error}") from None
            yield frame

    def _people(self) -> Iterator[People]:
        for people, _ in self.recorded():
            yield people

    def _decoded(self, data: bytes) -> Any:
        try:
            return from_cdr(data, self.topic.type)
        except Exception as error:  # whatever bytes of another type lead to
            raise FrameError(f"a message that is no {self.topic.type} ({error!r:.60})", expected=self.topic.type) from None


def _path_and_topic(location: str) -> tuple[Path, str | None]:
    """``PATH`` or ``PATH#/topic``; a path whose own name has a # comes first."""
    path, mark, topic = location.rpartition("#")
    if not mark or Path(location).exists():
        return Path(location), None
    return Path(path), f"/{topic.strip('/')}" if topic.strip("/") else None


def _files(path: Path) -> list[Path]:
    """The file, or those of a bag's folder in their order."""
    files = sorted(path.glob("*.mcap"), key=natural_order) if path.is_dir() else [path]
    if not files:
        raise SourceError(f"no .mcap file in the folder {path}", expected="the folder of a bag in MCAP")
    if not files[0].is_file():
        neighbours = {file.name: f"mcap:{file}" for file in path.parent.glob("*.mcap")}
        raise SourceError(f"no file {path}{suggest(path.name, neighbours, forms=neighbours)}", expected=_FORM)
    try:
        import mcap  # noqa: F401
    except ImportError:
        raise missing_extra("mcap", "ros", "reading recordings in MCAP") from None
    return files


def _merged(parts: list[BagContents]) -> BagContents:
    """The contents of several files as those of one."""
    topics = dict[str, BagTopic]()
    for part in parts:
        for name, topic in part.topics.items():
            before = topics.get(name)
            known = topic.messages is not None and (before is None or before.messages is not None)
            messages = (topic.messages or 0) + ((before.messages or 0) if before else 0) if known else None
            topics[name] = BagTopic(name, topic.type, topic.encoding, messages)
    return BagContents(topics, {name: record for part in parts for name, record in part.metadata.items()})


def _chosen(contents: BagContents, name: str | None, path: Path) -> BagTopic:
    """The topic of that name, or the one that can only be meant."""
    topics = contents.topics
    readable = [topic for topic in topics.values() if _is_readable(topic)]
    there = ", ".join(f"{topic.name} ({topic.type or topic.encoding})" for topic in topics.values()) or "none"
    if not topics:
        raise SourceError(f"{path} holds no messages: its run was cut off at once, or saw nothing", expected=_FORM)
    if name is None:
        own = [topic for topic in readable if topic.name == KEYPOINTS_TOPIC]
        pictures = [topic for topic in readable if topic.type in (IMAGE, COMPRESSED_IMAGE)]
        if not own and len(pictures) != 1:
            raise SourceError(f"{path} has {len(pictures)} topics of pictures; its topics are {there}", expected=_FORM)
        return (own or pictures)[0]
    if name not in topics:
        forms = {topic: f"mcap:{path}#{topic}" for topic in topics}
        raise SourceError(f"no topic {name} in {path}{suggest(name, topics, forms=forms)}", expected=f"one of {there}")
    if topics[name] not in readable:
        kind = topics[name].type or "an unknown type"
        raise SourceError(
            f"{name} in {path} holds {kind}, encoded as {topics[name].encoding}",
            expected=f"{IMAGE} or {COMPRESSED_IMAGE} in cdr, or keypoints that posemoe-edge recorded",
        )
    return topics[name]


def _is_readable(topic: BagTopic) -> bool:
    return topic.encoding == "json" or (topic.encoding == "cdr" and topic.type in (IMAGE, COMPRESSED_IMAGE, STRING))
