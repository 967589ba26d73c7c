"""People on the topics of ROS 2: through zenoh on this machine, with the keys and attachments of rmw_zenoh."""

from __future__ import annotations

import json
import queue
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import MissingError, UsageError
from posemoe_edge.runtime.events import PoseFrame, TrackStarted
from posemoe_edge.runtime.pose.camera import Intrinsics
from posemoe_edge.runtime.pose.camera_model import Camera
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.ros.types import from_cdr, type_hash
from posemoe_edge.runtime.sinks import RunInfo, open_sink
from posemoe_edge.runtime.sources import SourceInfo

pytest.importorskip("rosbags")
CAMERA = Camera(Intrinsics(900, 900, 640, 360), ImageSize(1280, 720))
RUN = RunInfo(SourceInfo("test"), "a model", "fp32", mode="step", engine="onnxruntime", latency_frames=0, camera=CAMERA)
WAIT_S = 20  # of a busy machine


def frame(t_s: float) -> PoseFrame:
    xyz_m = np.random.default_rng(int(t_s)).normal(size=(17, 3)).astype(np.float32)
    return PoseFrame(t_s, {3: Pose(xyz_m, np.ones(17, np.float32), t_s, 0.02, 0, "none", person=3)})


class Listener:
    """A subscriber of everything in a domain, which listens on a port of this machine."""

    def __init__(self, zenoh: Any, domain: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.endpoint = f"tcp/127.0.0.1:{probe.getsockname()[1]}"
        config = zenoh.Config()
        for key, value in (
            ("mode", "peer"),
            ("listen/endpoints", [self.endpoint]),
            ("scouting/multicast/enabled", False),
        ):
            config.insert_json5(key, json.dumps(value))
        self.session = zenoh.open(config)
        self.samples: queue.Queue[tuple[str, bytes, bytes]] = queue.Queue()
        self.tokens: queue.Queue[tuple[str, str]] = queue.Queue()
        self.subscriber = self.session.declare_subscriber(f"{domain}/**", self._sample)
        self.liveliness = self.session.liveliness().declare_subscriber(f"@ros2_lv/{domain}/**", self._token, history=True)

    def _sample(self, sample: Any) -> None:
        attachment = b"" if sample.attachment is None else sample.attachment.to_bytes()
        self.samples.put((str(sample.key_expr), sample.payload.to_bytes(), attachment))

    def _token(self, sample: Any) -> None:
        self.tokens.put((str(sample.key_expr), str(sample.kind)))


@pytest.fixture
def listener() -> Iterator[Listener]:
    zenoh = pytest.importorskip("zenoh")
    listener = Listener(zenoh, domain=7)
    yield listener
    listener.session.close()


def wait_until_subscribed(sink: Any) -> None:
    """Until the publishers know of the subscriber: what they put before that goes nowhere."""
    deadline_s = time.monotonic() + WAIT_S
    while not all(publisher.matching_status.matching for publisher in sink._node._publishers.values()):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_subscriber_of_zenoh_gets_the_messages_under_the_keys_of_ros(listener: Listener) -> None:
    sink = open_sink(f"ros2://robot/head?domain=7&transport=zenoh&connect={listener.endpoint}&frame_id=head_optical")
    with sink:
        sink.open(RUN)
        tokens = [listener.tokens.get(timeout=WAIT_S)[0] for _ in range(6)]  # the node and five publishers
        wait_until_subscribed(sink)
        received = list[tuple[str, bytes, bytes]]()
        before_ns = time.time_ns()
        for t_s in (1.25, 2.25):
            sink.write(frame(t_s))
            received += [listener.samples.get(timeout=WAIT_S) for _ in range(5)]
        sink.write(TrackStarted(9, 3.0))
        received.append(listener.samples.get(timeout=WAIT_S))
    name, hashed = "visualization_msgs::msg::dds_::MarkerArray_", type_hash("visualization_msgs/msg/MarkerArray")
    assert hashed.startswith("RIHS01_") and f"7/robot/head/markers/{name}/{hashed}" == received[0][0]
    topics: dict[str, list[tuple[Any, bytes]]] = {}
    for key, payload, attachment in received:
        *topic, dds, rihs = key.split("/")
        kind = dds.replace("::dds_::", "/").replace("::", "/").removesuffix("_")
        assert rihs == type_hash(kind)
        topics.setdefault("/".join(topic), []).append((from_cdr(payload, kind), attachment))
    assert {topic: len(messages) for topic, messages in topics.items()} == {
        "7/robot/head/markers": 2, "7/robot/head/poses": 2, "7/tf": 2, "7/robot/head/camera_info": 2, "7/robot/head/events": 3,
    }  # fmt: skip
    for t_s, (message, _) in zip((1.25, 2.25), topics["7/robot/head/poses"], strict=True):
        assert (message.header.frame_id, message.header.stamp.sec) == ("head_optical", int(t_s))
        xyz_m = [[p.position.x, p.position.y, p.position.z] for p in message.poses]
        np.testing.assert_array_equal(np.array(xyz_m, np.float32), frame(t_s).poses[3].xyz_m)
    assert json.loads(topics["7/robot/head/events"][2][0].data) == TrackStarted(9, 3.0).to_json()
    gids = set()
    for messages in topics.values():
        for number, (_, attachment) in enumerate(messages, start=1):
            sequence, sent_ns, length = struct.unpack_from("<qqB", attachment)
            assert (sequence, length, len(attachment)) == (number, 16, 33) and before_ns <= sent_ns <= time.time_ns()
            gids.add(attachment[17:])
    assert len(gids) == 5
    zid = tokens[0].split("/")[2]
    assert f"@ros2_lv/7/{zid}/0/0/NN/%/%/posemoe_edge" in tokens
    assert any(
        t.startswith(f"@ros2_lv/7/{zid}/0/")
        and t.endswith(f"/MP/%/%/posemoe_edge/%robot%head%markers/{name}/{hashed}/::,10:,:,:,,")
        for t in tokens
    )


def test_ros4hri_adds_the_ids_of_bodies(listener: Listener) -> None:
    with open_sink(f"ros2://robot?domain=7&transport=zenoh&connect={listener.endpoint}&ros4hri=on") as sink:
        tokens = [listener.tokens.get(timeout=WAIT_S)[0] for _ in range(7)]
        wait_until_subscribed(sink)
        sink.write(frame(1.0))
        received = dict(listener.samples.get(timeout=WAIT_S)[:2] for _ in range(5))
    key = f"7/humans/bodies/tracked/hri_msgs::msg::dds_::IdsList_/{type_hash('hri_msgs/msg/IdsList')}"
    assert from_cdr(received[key], "hri_msgs/msg/IdsList").ids == ["p3"]
    assert any("%humans%bodies%tracked/hri_msgs::msg::dds_::IdsList_/" in token for token in tokens)
    [tf] = [data for name, data in received.items() if name.startswith("7/tf/")]
    assert from_cdr(tf, "tf2_msgs/msg/TFMessage").transforms[0].child_frame_id == "body_p3"


def test_a_closed_sink_takes_its_publishers_back(listener: Listener) -> None:
    sink = open_sink(f"ros2://posemoe?domain=7&transport=zenoh&connect={listener.endpoint}")
    put = [listener.tokens.get(timeout=WAIT_S) for _ in range(6)]
    sink.close()
    sink.abort()
    gone = [listener.tokens.get(timeout=WAIT_S) for _ in range(6)]
    assert sorted(key for key, _ in put) == sorted(key for key, _ in gone)
    assert {kind for _, kind in put} != {kind for _, kind in gone}
    with pytest.raises(ValueError, match="closed"):
        sink.write(frame(1.0))


def test_a_router_that_is_not_there_yet_does_not_hold_up_the_run(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("zenoh")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begin_s = time.monotonic()
    with open_sink(f"ros2://posemoe?transport=zenoh&connect=tcp/127.0.0.1:{port}") as sink:
        sink.open(RUN)
        sink.write(frame(1.0))
    assert time.monotonic() - begin_s < WAIT_S / 2 and f"nobody listens at tcp/127.0.0.1:{port}" in caplog.text


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ros2://my robot", "namespace 'my robot'"),
        ("ros2://9lives", "namespace"),
        ("ros2://", "namespace ''"),
        ("ros2", "needs a"),
        ("ros2://a?domain=x", "domain=x"),
        ("ros2://a?domain=233", "0 to 232"),
        ("ros2://a?transport=dds", "rclpy or zenoh"),
        ("ros2://a?transport=rclpy&connect=tcp/localhost:1", "zenoh alone"),
        ("ros2://a?frameid=b", "did you mean frame_id"),
        ("ros2://a?ros4hri=yes", "ros4hri=on or ros4hri=off"),
    ],
)
def test_what_ros_does_not_allow_is_an_error_before_the_run(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_sink(spec)


def test_an_address_that_is_none_is_an_error() -> None:
    pytest.importorskip("zenoh")
    with pytest.raises(MissingError, match="zenoh cannot connect to nowhere"):
        open_sink("ros2://a?transport=zenoh&connect=nowhere")


def test_the_environments_domain_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "five")
    with pytest.raises(UsageError, match="ROS_DOMAIN_ID=five"):
        open_sink("ros2://a?transport=zenoh")


def test_a_missing_transport_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zenoh", None)
    with pytest.raises(MissingError, match=r"eclipse-zenoh.*posemoe-edge\[zenoh\]"):
        open_sink("ros2://a?transport=zenoh")
    monkeypatch.setitem(sys.modules, "rclpy", None)
    with pytest.raises(MissingError, match="rclpy needs ROS 2"):
        open_sink("ros2://a?transport=rclpy")
