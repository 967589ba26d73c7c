"""``metadata.yaml``: what makes a folder with an MCAP file a bag of rosbag2."""

from __future__ import annotations

import json
from typing import Any

from .recording import Recording
from .types import type_hash

METADATA = "metadata.yaml"
_VERSION = 9  # of the format, that of ROS 2 Jazzy


def bag_metadata(recording: Recording, *, namespace: str) -> str:
    """The text for a recording as it is now; JSON, since that is YAML too."""
    start_ns = recording.first_ns or 0
    span: dict[str, Any] = {
        "starting_time": {"nanoseconds_since_epoch": start_ns},
        "duration": {"nanoseconds": max(0, recording.last_ns - start_ns)},
        "message_count": recording.counts.total(),
    }
    name = recording.path.name
    topics = [
        {
            "topic_metadata": {
                "name": topic.within(namespace),
                "type": topic.type,
                "serialization_format": "cdr",
                "offered_qos_profiles": [],
                "type_description_hash": type_hash(topic.type),
            },
            "message_count": count,
        }
        for topic, count in recording.counts.items()
    ]
    information = {
        "version": _VERSION,
        "storage_identifier": "mcap",
        "relative_file_paths": [name],
        **span,
        "topics_with_message_count": topics,
        "compression_format": "",  # of whole files or messages; MCAP compresses its own chunks
        "compression_mode": "",
        "files": [{"path": name, **span}],
        "custom_data": None,
        "ros_distro": "jazzy",
    }
    return json.dumps({"rosbag2_bagfile_information": information}, indent=2) + "\n"
