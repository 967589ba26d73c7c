"""ROS 2 without ROS: the keys, attachments and liveliness tokens of rmw_zenoh, through zenoh's own client."""

from __future__ import annotations

import hashlib
import json
import logging
import struct
import time
from collections.abc import Sequence
from typing import Any

from ..errors import MissingError, missing_extra
from .encoder import Topic
from .node import DEPTH, NODE
from .types import type_hash

ROUTER = "tcp/localhost:7447"
"""Where rmw_zenoh's router ``rmw_zenohd`` listens on the same machine."""

_log = logging.getLogger(__name__)


class ZenohNode:
    """A peer with publishers, connected to a router, or to one that starts later. It listens on this machine only.

    Args:
        topics: what will be published.
        namespace: of the topics that are in none.
        domain: ROS's.
        connect: the router, ``tcp/HOST:PORT``.
    """

    def __init__(self, topics: Sequence[Topic], *, namespace: str, domain: int, connect: str) -> None:
        try:
            import zenoh
        except ImportError:
            raise missing_extra("eclipse-zenoh", "zenoh", "publishing through zenoh") from None
        settings: dict[str, Any] = {
            "mode": "peer",
            "connect/endpoints": [connect],
            "connect/timeout_ms": 0,  # a router that is not there yet is tried again in the background
            "connect/exit_on_failure": False,
            "listen/endpoints": ["tcp/127.0.0.1:0"],
            "scouting/multicast/enabled": False,
            # Long enough for a busy machine. The queue before the sink drops whole frames, the oldest first, and counts them.
            "transport/link/tx/queue/congestion_control/drop/wait_before_drop": 50_000,  # microseconds
        }
        try:
            config = zenoh.Config()
            for key, value in settings.items():
                config.insert_json5(key, json.dumps(value))
            self._session: Any = zenoh.open(config)
        except zenoh.ZError as error:
            raise MissingError(
                f"zenoh cannot connect to {connect} ({error!s:.100})", expected=f"an address like {ROUTER}"
            ) from None
        if not self._session.info.routers_zid() and not self._session.info.peers_zid():
            _log.warning(
                "nobody listens at %s yet; messages go out once a router is there (ros2 run rmw_zenoh_cpp rmw_zenohd)", connect
            )
        zid, liveliness = str(self._session.zid()), self._session.liveliness()
        self._tokens = [liveliness.declare_token(f"@ros2_lv/{domain}/{zid}/0/0/NN/%/%/{NODE}")]
        self._publishers = dict[Topic, Any]()
        self._gids = dict[Topic, bytes]()
        self._sequences = dict.fromkeys(topics, 0)
        for number, topic in enumerate(topics, start=1):
            name, kind = topic.within(namespace), f"{dds_type(topic.type)}/{type_hash(topic.type)}"
            token = f"@ros2_lv/{domain}/{zid}/0/{number}/MP/%/%/{NODE}/{name.replace('/', '%')}/{kind}/::,{DEPTH}:,:,:,,"
            self._publishers[topic] = self._session.declare_publisher(
                f"{domain}{name}/{kind}",
                congestion_control=zenoh.CongestionControl.DROP,  # a slow subscriber does not stop the run
                express=True,
            )
            self._tokens.append(liveliness.declare_token(token))
            self._gids[topic] = hashlib.md5(token.encode(), usedforsecurity=False).digest()

    def publish(self, topic: Topic, cdr: bytes) -> None:
        """The attachment is what rmw_zenoh reads: a sequence number, the time of sending, the publisher's id of 16 bytes."""
        self._sequences[topic] += 1
        attachment = struct.pack("<qqB", self._sequences[topic], time.time_ns(), 16) + self._gids[topic]
        self._publishers[topic].put(cdr, attachment=attachment)

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._publishers, self._tokens = {}, []
            session.close()


def dds_type(name: str) -> str:
    """``std_msgs/msg/String`` as DDS and zenoh's keys name it.

    >>> dds_type("std_msgs/msg/String")
    'std_msgs::msg::dds_::String_'
    """
    package, folder, kind = name.split("/")
    return f"{package}::{folder}::dds_::{kind}_"
