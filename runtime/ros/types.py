"""ROS message types without ROS: their definitions, hashes and CDR, through the package rosbags."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..errors import missing_extra

MARKERS = "visualization_msgs/msg/MarkerArray"
POSES = "geometry_msgs/msg/PoseArray"
TRANSFORMS = "tf2_msgs/msg/TFMessage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
STRING = "std_msgs/msg/String"
IDS = "hri_msgs/msg/IdsList"

_FURTHER = {IDS: "std_msgs/Header header\nstring[] ids\n"}
"""Types that rosbags does not bring, with their definitions."""


@cache
def ros_types() -> Any:
    """The message types of ROS 2 Jazzy; those used here are the same in Kilted.

    Raises:
        MissingError: rosbags is not installed.
    """
    try:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    except ImportError:
        raise missing_extra("rosbags", "ros", "messages of ROS") from None
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in _FURTHER.items():
        store.register(get_types_from_msg(text, name))
    return store


def definition(name: str) -> str:
    """The text of a message type and of the types in it, as recordings carry it."""
    return str(ros_types().generate_msgdef(name, ros_version=2)[0])


def type_hash(name: str) -> str:
    """``RIHS01_...``: what ROS 2 knows a version of a message type by."""
    return str(ros_types().hash_rihs01(name))


def to_cdr(message: Any) -> bytes:
    """The bytes of a message."""
    return bytes(ros_types().serialize_cdr(message, message.__msgtype__))


def from_cdr(cdr: bytes, name: str) -> Any:
    """The message of bytes."""
    return ros_types().deserialize_cdr(cdr, name)
