"""An implementation of ROS 2 over zenoh that is not ours receives and decodes what the sink ``ros2://`` publishes.

pyzeros makes keys, hashes and tokens by itself, in a process and a virtual environment of its own:

    python -m venv zeros && zeros/bin/pip install pyzeros
    POSEMOE_EDGE_PYZEROS_PYTHON=zeros/bin/python pytest tests/real
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.sinks import open_sink

pytest.importorskip("rosbags")
pytest.importorskip("zenoh")
PYTHON = os.environ.get("POSEMOE_EDGE_PYZEROS_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="POSEMOE_EDGE_PYZEROS_PYTHON names no Python with pyzeros")
WAIT_S, DOMAIN = 60.0, 17

RECEIVE = """
import asyncio, json, sys
from dataclasses import dataclass, field
import asyncio_for_robotics as afor
import pyzeros, zenoh
from ros2_pyterfaces.cyclone import all_msgs, idl
@dataclass
class IdsList(idl.IdlStruct, typename="hri_msgs/msg/IdsList"):
    header: all_msgs.Header = field(default_factory=all_msgs.Header)
    ids: idl.types.sequence[str] = field(default_factory=list)
endpoint, domain, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = zenoh.Config()
for key, value in (("mode", "peer"), ("listen/endpoints", [endpoint]), ("scouting/multicast/enabled", False)):
    config.insert_json5(key, json.dumps(value))
async def take(sub):
    got = []
    async for message in sub.listen_reliable():
        got.append(message)
        if len(got) == count:
            return got
@afor.scoped
async def main():
    poses, ids = pyzeros.Sub(all_msgs.PoseArray, "/robot/poses"), pyzeros.Sub(IdsList, "/humans/bodies/tracked")
    print("ready", flush=True)
    poses, ids = await asyncio.gather(take(poses), take(ids))
    print(json.dumps({
        "poses": [[m.header.frame_id, m.header.stamp.sec, [[p.position.x, p.position.y, p.position.z] for p in m.poses]]
                  for m in poses],
        "ids": [m.ids for m in ids],
    }), flush=True)
session = zenoh.open(config)
with pyzeros.auto_context(node="listener", zenoh_session=session, domain_id=domain):
    asyncio.run(main())
session.close()
"""


def frame(index: int) -> PoseFrame:
    xyz_m = np.random.default_rng(index).normal(size=(17, 3)).astype(np.float32)
    return PoseFrame(float(index), {3: Pose(xyz_m, np.ones(17, np.float32), float(index), 0.02, 0, "none", person=3)})


@pytest.fixture
def endpoint() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield f"tcp/127.0.0.1:{port}"


def test_pyzeros_receives_poses_and_the_ids_of_bodies(endpoint: str) -> None:
    count = 5
    command = [PYTHON, "-c", RECEIVE, endpoint, str(DOMAIN), str(count)]
    receiver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert receiver.stdout is not None and receiver.stdout.readline() == "ready\n", receiver.communicate(timeout=WAIT_S)[1]
        with open_sink(f"ros2://robot?domain={DOMAIN}&transport=zenoh&connect={endpoint}&ros4hri=on") as sink:
            wait_until_subscribed(sink, "poses", "/humans/bodies/tracked")
            for index in range(count):
                sink.write(frame(index))
            out, err = receiver.communicate(timeout=WAIT_S)
    finally:
        receiver.kill()
    assert receiver.returncode == 0, err
    received = json.loads(out)
    assert received["ids"] == [["p3"]] * count
    for index, (frame_id, stamp_s, points) in enumerate(received["poses"]):
        assert (frame_id, stamp_s) == ("camera0_optical", index)
        np.testing.assert_array_equal(np.array(points, np.float32), frame(index).poses[3].xyz_m)


def wait_until_subscribed(sink: Any, *names: str) -> None:
    """Until the publishers of these topics know of a subscriber."""
    publishers = [publisher for topic, publisher in sink._node._publishers.items() if topic.name in names]
    deadline_s = time.monotonic() + WAIT_S
    assert len(publishers) == len(names)
    while not all(publisher.matching_status.matching for publisher in publishers):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
