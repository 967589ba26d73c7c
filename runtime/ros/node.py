"""A publisher of CDR on ROS 2: through rclpy where ROS is installed, otherwise through zenoh."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol

from ..errors import MissingError, UsageError
from .encoder import Topic

NODE = "posemoe_edge"
DEPTH = 10
"""Messages kept for a subscriber that is late. Publishers are reliable and volatile, which every subscription matches."""

TRANSPORTS = ("rclpy", "zenoh")


class RosNode(Protocol):
    """Publishers of some topics."""

    def publish(self, topic: Topic, cdr: bytes) -> None:
        """Send a message; it does not wait for subscribers. A topic whose type this machine does not know is left out."""
        ...

    def close(self) -> None:
        """Take the publishers back; a second call does nothing."""
        ...


def open_node(
    topics: Sequence[Topic], *, namespace: str, domain: int | None, transport: str | None, connect: str | None
) -> RosNode:
    """A node with a publisher for each topic.

    Args:
        topics: what will be published.
        namespace: of the topics that are in none.
        domain: ROS's; None for the environment's ROS_DOMAIN_ID, or 0.
        transport: "rclpy" or "zenoh"; None for the first that is installed.
        connect: zenoh's router, ``tcp/HOST:PORT``; None for that of this machine.

    Raises:
        UsageError: another transport, or a router for rclpy.
        MissingError: the transport, or any of them, is not installed.
    """
    if transport not in (None, *TRANSPORTS):
        raise UsageError(f"no transport {transport!r}", expected=" or ".join(TRANSPORTS))
    domain = _environments_domain() if domain is None else domain
    if transport == "rclpy" or (transport is None and connect is None and find_spec("rclpy") is not None):
        if connect is not None:
            raise UsageError("a router of zenoh for rclpy", expected="connect=... with transport=zenoh alone")
        from .rclpy_node import RclpyNode

        return RclpyNode(topics, namespace=namespace, domain=domain)
    if transport is None and find_spec("zenoh") is None:
        raise MissingError(
            "publishing on ROS 2 needs rclpy or zenoh, and neither is installed",
            expected="a sourced ROS 2, or zenoh",
            run='pip install "posemoe-edge[ros,zenoh]"',
        )
    from .zenoh_node import ROUTER, ZenohNode

    return ZenohNode(topics, namespace=namespace, domain=domain, connect=connect or ROUTER)


def _environments_domain() -> int:
    text = os.environ.get("ROS_DOMAIN_ID") or "0"
    if not text.isdecimal():
        raise UsageError(f"ROS_DOMAIN_ID={text}", expected="a whole number from 0 to 232")
    return int(text)
