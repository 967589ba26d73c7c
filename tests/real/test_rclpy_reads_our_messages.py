"""ROS 2 itself reads our bytes: rclpy decodes them, and receives them from the sink ``ros2://``.

The interpreter is that of a ROS 2 or of a virtual environment with ROS's wheels, which must be one of their own:

    python -m venv ros && ros/bin/pip install "ros-rclpy[fastrtps]" ros-visualization-msgs ros-geometry-msgs ros-sensor-msgs \
        ros-std-msgs rosbags pydantic numpy
    POSEMOE_EDGE_RCLPY_PYTHON=ros/bin/python pytest tests/real
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import posemoe_edge
import pytest
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.pose.camera import Intrinsics
from posemoe_edge.runtime.pose.camera_model import Camera
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.types import Pose, Root
from posemoe_edge.runtime.ros.encoder import RosEncoder

pytest.importorskip("rosbags")
PYTHON = os.environ.get("POSEMOE_EDGE_RCLPY_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="POSEMOE_EDGE_RCLPY_PYTHON names no Python with rclpy")
CAMERA = Camera(Intrinsics(900.5, 901.5, 640, 360), ImageSize(1280, 720))


def frame(index: int) -> PoseFrame:
    rng = np.random.default_rng(index)
    t_s = 10 + index / 4
    root = Root(np.array([0.5, -0.2, 3], np.float32), np.full(3, 0.1, np.float32), 2.0, 1.1, "prior")
    poses = {
        person: Pose(
            rng.normal(size=(17, 3)).astype(np.float32),
            rng.uniform(0, 1, 17).astype(np.float32),
            t_s, 0.02, 0, "none", person=person, root=root,
        )
        for person in (3, 11)
    }  # fmt: skip
    return PoseFrame(t_s, poses)


def expected_xyz_m(index: int) -> Any:
    poses = frame(index).poses
    return np.concatenate([poses[person].xyz_in_camera_m for person in (3, 11)])


def run_ros(code: str, *arguments: str, logs: Path) -> Any:
    """The JSON that a script in the Python with rclpy prints last."""
    packages = logs / "packages"  # this package is the repository's folder, whatever that is called
    packages.mkdir(exist_ok=True)
    (packages / "posemoe_edge").symlink_to(posemoe_edge.__path__[0])
    environment = os.environ | {
        "PYTHONPATH": str(packages),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(logs),
    }
    process = subprocess.run([PYTHON, "-c", code, *arguments], capture_output=True, text=True, timeout=120, env=environment)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


DECODE = """
import json, sys
from importlib import import_module
from pathlib import Path
from rclpy.serialization import deserialize_message, serialize_message
out = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    name, package, kind, index = path.name.split("-")
    try:
        message_type = getattr(import_module(f"{package}.msg"), kind)
    except ImportError:  # ROS's wheels have no tf2_msgs
        continue
    m = deserialize_message(path.read_bytes(), message_type)
    if name == "poses":
        value = [m.header.stamp.nanosec, m.header.frame_id, [[p.position.x, p.position.y, p.position.z] for p in m.poses]]
    elif name == "markers":
        value = [[k.ns, k.id, k.type, k.action, [[p.x, p.y, p.z] for p in k.points], [[c.r, c.g, c.b, c.a] for c in k.colors]]
                 for k in m.markers]
    elif name == "camera_info":
        value = [m.width, m.height, m.distortion_model, list(m.k), list(m.p)]
    else:
        value = m.data
    out[f"{name} {index}"] = value
print(json.dumps(out))
"""


def test_rclpy_decodes_every_message(tmp_path: Path) -> None:
    messages = tmp_path / "messages"
    messages.mkdir()
    encoder = RosEncoder(camera=CAMERA)
    for index in range(5):
        for message in (*encoder.frame(frame(index)), encoder.event(frame(index))):
            package, _, kind = message.topic.type.split("/")
            name = message.topic.name.strip("/")
            (messages / f"{name}-{package}-{kind}-{index}").write_bytes(message.cdr)
    decoded = run_ros(DECODE, str(messages), logs=tmp_path)
    for index in range(5):
        xyz_m = expected_xyz_m(index)
        nanosec, frame_id, points = decoded[f"poses {index}"]
        assert (nanosec, frame_id) == (round(frame(index).t_s % 1 * 1e9), "camera0_optical")
        np.testing.assert_allclose(points, xyz_m, atol=1e-6)
        markers = decoded[f"markers {index}"]
        assert [marker[:4] for marker in markers] == [
            ["", 0, 0, 3], ["bones", 3, 5, 0], ["joints", 3, 7, 0], ["bones", 11, 5, 0], ["joints", 11, 7, 0]
        ]  # fmt: skip
        np.testing.assert_allclose(np.concatenate([markers[2][4], markers[4][4]]), xyz_m, atol=1e-6)
        assert np.shape(markers[1][4]) == (32, 3) and np.shape(markers[1][5]) == (32, 4) and np.shape(markers[2][5]) == (17, 4)
        assert decoded[f"camera_info {index}"][:4] == [1280, 720, "plumb_bob", [900.5, 0, 640, 0, 901.5, 360, 0, 0, 1]]
        assert json.loads(decoded[f"events {index}"]) == frame(index).to_json()


RECEIVE = """
import json, sys, time
import numpy as np, rclpy
from geometry_msgs.msg import PoseArray
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.sinks import open_sink
domain = int(sys.argv[1])
rclpy.init(domain_id=domain)
node, got = rclpy.create_node("listener"), []
node.create_subscription(PoseArray, "/robot/poses", got.append, 10)
sink = open_sink(f"ros2://robot?domain={domain}")
end_s = time.monotonic() + 60
while node.count_publishers("/robot/poses") == 0 and time.monotonic() < end_s:
    rclpy.spin_once(node, timeout_sec=0.1)
sent = 0
while len(got) < 20 and time.monotonic() < end_s:
    xyz_m = np.full((17, 3), sent, np.float32)
    sink.write(PoseFrame(float(sent), {0: Pose(xyz_m, np.ones(17, np.float32), float(sent), 0.02, 0, "none")}))
    sent += 1
    rclpy.spin_once(node, timeout_sec=0.1)
kind = type(sink._node).__name__
sink.close()
rclpy.try_shutdown()
print(json.dumps([kind, [[m.header.stamp.sec, m.poses[16].position.z] for m in got]]))
"""


def test_rclpy_receives_what_the_sink_publishes(tmp_path: Path) -> None:
    kind, received = run_ros(RECEIVE, str(100 + os.getpid() % 100), logs=tmp_path)
    assert kind == "RclpyNode" and len(received) == 20
    assert all(stamp == z for stamp, z in received) and received == sorted(received)
