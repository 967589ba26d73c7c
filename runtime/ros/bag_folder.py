"""``metadata.yaml``: what makes a folder with an MCAP file a bag of rosbag2."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .encoder import Topic
from .recording import RecordedFile
from .types import type_hash

METADATA = "metadata.yaml"
_VERSION = 9  # of the format, that of ROS 2 Jazzy


def bag_metadata(files: Sequence[RecordedFile], *, namespace: str) -> str:
    """The text for the files of a recording as they are now; JSON, since that is YAML too."""
    spans = [(file.first_ns, file.last_ns) for file in files if file.counts]
    counts = sum((file.counts for file in files), Counter[Topic]())
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
        for topic, count in counts.items()
    ]
    information = {
        "version": _VERSION,
        "storage_identifier": "mcap",
        "relative_file_paths": [file.name for file in files],
        **_span(min((first for first, _ in spans), default=0), max((last for _, last in spans), default=0), counts),
        "topics_with_message_count": topics,
        "compression_format": "",  # of whole files or messages; MCAP compresses its own chunks
        "compression_mode": "",
        "files": [{"path": file.name, **_span(file.first_ns, file.last_ns, file.counts)} for file in files],
        "custom_data": None,
        "ros_distro": "jazzy",
    }
    return json.dumps({"rosbag2_bagfile_information": information}, indent=2) + "\n"


def _span(first_ns: int, last_ns: int, counts: Counter[Topic]) -> dict[str, Any]:
    return {
        "starting_time": {"nanoseconds_since_epoch": first_ns},
        "duration": {"nanoseconds": last_ns - first_ns},
        "message_count": counts.total(),
    }
