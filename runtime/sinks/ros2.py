"""``ros2://NAMESPACE``: people on the topics of a robot, while they are seen."""

from __future__ import annotations

import re

from ..errors import UsageError
from ..events import Event, PoseFrame
from ..location import split_location, switched_on
from ..ros.encoder import FRAME_ID, TOPICS, TRACKED, RosEncoder
from ..ros.node import RosNode, open_node
from .base import BaseSink, RunInfo

_OPTIONS = ("frame_id", "domain", "transport", "connect", "ros4hri")
_FORM = "ros2://NAMESPACE?frame_id=NAME&domain=0&transport=rclpy|zenoh&connect=tcp/HOST:7447&ros4hri=on"
_PUBLISHED = ("markers", "poses", "/tf", "camera_info", "events")
_MOST_DOMAIN = 232


class Ros2Sink(BaseSink):
    """Publishes markers, poses, the joints' frames, the camera's calibration, and every event as JSON.

    The publishers are there from the sink's opening on, so that subscribers find them before the first frame.

    Args:
        location: the namespace, and options behind a ``?``: ``frame_id``, ``domain``, ``transport`` (``rclpy`` or
            ``zenoh``), ``connect``, zenoh's router, and ``ros4hri=on`` for the ids and frames of REP 155.

    Raises:
        UsageError: a namespace that ROS does not allow, or an unknown option.
        MissingError: no ROS 2, zenoh or rosbags is installed.
    """

    def __init__(self, location: str) -> None:
        namespace, options = split_location(location.removeprefix("//"), _OPTIONS, form=_FORM)
        namespace = namespace.strip("/")
        if not re.fullmatch(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", namespace, re.ASCII):
            raise UsageError(f"the namespace {namespace!r}", expected="letters, digits and _, such as ros2://posemoe")
        self._frame_id = options.get("frame_id", FRAME_ID)
        self._ros4hri = switched_on(options, "ros4hri", default=False)
        self._encoder = RosEncoder(frame_id=self._frame_id, ros4hri=self._ros4hri)
        self._encoder.frame(PoseFrame(0.0, {}))  # what is missing is missing now, not in the first frame
        self._node: RosNode | None = open_node(
            [*(TOPICS[name] for name in _PUBLISHED), *([TRACKED] if self._ros4hri else [])],
            namespace=namespace,
            domain=_domain(options.get("domain")),
            transport=options.get("transport"),
            connect=options.get("connect"),
        )

    def open(self, run: RunInfo) -> None:
        self._encoder = RosEncoder(frame_id=self._frame_id, camera=run.camera, ros4hri=self._ros4hri)

    def write(self, event: Event) -> None:
        """Publish a frame's messages, and any event."""
        if self._node is None:
            raise ValueError("the sink is closed")
        messages = self._encoder.frame(event) if isinstance(event, PoseFrame) else []
        for message in (*messages, self._encoder.event(event)):
            self._node.publish(message.topic, message.cdr)

    def close(self) -> None:
        node, self._node = self._node, None
        if node is not None:
            node.close()

    def abort(self) -> None:
        """The same as ``close``: what was published was published."""
        self.close()


def _domain(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) > _MOST_DOMAIN:
        raise UsageError(f"domain={text}", expected=f"a whole number from 0 to {_MOST_DOMAIN}")
    return int(text)
