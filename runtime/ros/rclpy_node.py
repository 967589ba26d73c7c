"""A node of the ROS 2 that is installed here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ..errors import MissingError
from .encoder import Topic
from .node import DEPTH, NODE

_log = logging.getLogger(__name__)


class RclpyNode:
    """Publishers of bytes in a context of their own; ROS's handling of signals is left out, so that Ctrl-C ends the run.

    Args:
        topics: what will be published; those whose messages are not installed are left out, with a warning.
        namespace: of the topics that are in none.
        domain: ROS's.
    """

    def __init__(self, topics: Sequence[Topic], *, namespace: str, domain: int) -> None:
        try:
            import rclpy
            from rclpy.signals import SignalHandlerOptions
        except ImportError as error:
            raise MissingError(
                f"publishing through rclpy needs ROS 2 ({error})",
                expected="a sourced ROS 2",
                run="source /opt/ros/*/setup.bash",
            ) from None
        self._publishers = dict[Topic, Any]()
        self._context: Any = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        try:
            self._node: Any = rclpy.create_node(
                NODE, context=self._context, enable_rosout=False, start_parameter_services=False, use_global_arguments=False
            )
            for topic in topics:
                kind = _message_class(topic.type)
                if kind is None:
                    _log.warning("%s is not published: %s is not installed", topic.within(namespace), topic.type)
                else:
                    self._publishers[topic] = self._node.create_publisher(kind, topic.within(namespace), DEPTH)
            if not self._publishers:
                raise MissingError("none of the messages is installed", expected="the package common_interfaces of ROS 2")
        except BaseException:
            self._context.try_shutdown()
            raise

    def publish(self, topic: Topic, cdr: bytes) -> None:
        if topic in self._publishers:
            self._publishers[topic].publish(cdr)

    def close(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            self._publishers = {}
            self._node.destroy_node()
            context.try_shutdown()


def _message_class(name: str) -> Any:
    """The class of a message type; None if its package is not installed."""
    package, folder, kind = name.split("/")
    try:
        return getattr(import_module(f"{package}.{folder}"), kind, None)
    except ImportError:
        return None
