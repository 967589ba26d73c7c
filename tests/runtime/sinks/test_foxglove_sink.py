"""The sink of Foxglove: what a client of its WebSocket gets, and what Foxglove's own recording of the same run holds."""

from __future__ import annotations

import base64
import importlib
import json
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import FrameError, MissingError, UsageError
from posemoe_edge.runtime.events import ClockReset, FrameRefused, PoseFrame, TrackStarted
from posemoe_edge.runtime.pose.camera import Intrinsics
from posemoe_edge.runtime.pose.camera_model import Camera, FieldOfView
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.types import Pose, Root
from posemoe_edge.runtime.sinks import RunInfo, open_sink
from posemoe_edge.runtime.sinks.foxglove import FoxgloveSink
from posemoe_edge.runtime.sources import SyntheticSource
from posemoe_edge.tests.runtime.sinks.websocket import WebSocket

foxglove = pytest.importorskip("foxglove", reason="foxglove-sdk is not installed")
pytest.importorskip("google.protobuf", reason="protobuf, which decodes Foxglove's messages, is not installed")
mcap_reader = pytest.importorskip("mcap.reader", reason="mcap is not installed")

SOURCE = SyntheticSource(people=2, frames=4)
FRAMES = list(SOURCE)
SIGMA_M = np.linspace(0.01, 0.17, 17, dtype=np.float32)
TURN = np.array([[0, 0, 1, 0.5], [-1, 0, 0, 0], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])


def frame_of(i: int, people: tuple[int, ...] = (0, 1), *, root: bool = True, picture: bool = False) -> PoseFrame:
    frame, poses = FRAMES[i], dict[int, Pose]()
    assert frame.truth_m is not None and frame.truth_root_m is not None
    score = np.ones(17, np.float32)
    score[16] = 0.0
    for person in people:
        place = Root(frame.truth_root_m[person], np.full(3, 0.1, np.float32), 2.0, 1.1, "prior") if root else None
        poses[person] = Pose(frame.truth_m[person], score, frame.t_s, 0.02, 0, "none", person, root=place, sigma_m=SIGMA_M)
    image = np.full((240, 320, 3), 120, np.uint8) if picture else None
    return PoseFrame(frame.t_s, poses, {person: frame.keypoints[person] for person in people}, image_bgr=image)


def expected_m(i: int, person: int) -> Any:
    frame = FRAMES[i]
    assert frame.truth_m is not None and frame.truth_root_m is not None
    return frame.truth_root_m[person] + 1.1 * frame.truth_m[person]


def decode(schema: bytes, name: str, payload: bytes) -> Any:
    """A protobuf message by the schema that came with its channel."""
    pb2, pool = (
        importlib.import_module("google.protobuf.descriptor_pb2"),
        importlib.import_module("google.protobuf.descriptor_pool"),
    )
    factory = importlib.import_module("google.protobuf.message_factory")
    descriptors = pool.DescriptorPool()
    for file in pb2.FileDescriptorSet.FromString(schema).file:
        descriptors.Add(file)
    return factory.GetMessageClass(descriptors.FindMessageTypeByName(name)).FromString(payload)


def recorded(path: Path) -> dict[str, list[tuple[int, Any]]]:
    """Topic -> log times and messages of a recording, by the package mcap."""
    messages = dict[str, list[tuple[int, Any]]]()
    with path.open("rb") as file:
        for schema, channel, message in mcap_reader.make_reader(file).iter_messages():
            json_encoded = channel.message_encoding == "json"
            content = json.loads(message.data) if json_encoded else decode(schema.data, schema.name, message.data)
            messages.setdefault(channel.topic, []).append((message.log_time, content))
    return messages


def xyz(points: Any) -> list[list[float]]:
    return [[point.x, point.y, point.z] for point in points]


@pytest.fixture
def sink() -> Iterator[FoxgloveSink]:
    sink = open_sink("foxglove://127.0.0.1:0")
    assert isinstance(sink, FoxgloveSink)
    yield sink
    sink.abort()


def test_a_recording_beside_it_holds_every_joint_where_the_pose_has_it(sink: FoxgloveSink, tmp_path: Path) -> None:
    with foxglove.open_mcap(tmp_path / "run.mcap", context=sink.context):
        for i in range(len(FRAMES)):
            sink.write(frame_of(i))
    messages = recorded(tmp_path / "run.mcap")
    updates = messages["/posemoe/people"]
    assert [time for time, _ in updates] == [round(frame.t_s * 1e9) for frame in FRAMES]
    for i, (_, update) in enumerate(updates):
        assert [entity.id for entity in update.entities] == ["0", "1"]
        for person, entity in enumerate(update.entities):
            wanted_m = expected_m(i, person)
            assert entity.frame_id == "camera0_optical" and not update.deletions
            joints_m = xyz(sphere.pose.position for sphere in entity.spheres)
            np.testing.assert_allclose(joints_m, wanted_m, atol=1e-5)
            ends_m = xyz(entity.lines[0].points)
            assert len(ends_m) == len(entity.lines[0].colors) == 32
            np.testing.assert_allclose(ends_m[-2:], wanted_m[[15, 16]], atol=1e-5)  # right elbow, right wrist
    (spheres, _) = messages["/posemoe/sigma"][0][1].entities
    np.testing.assert_allclose([sphere.size.x for sphere in spheres.spheres], 2 * SIGMA_M, rtol=1e-5)


def test_left_is_blue_right_orange_and_a_guess_grey(sink: FoxgloveSink, tmp_path: Path) -> None:
    with foxglove.open_mcap(tmp_path / "run.mcap", context=sink.context):
        sink.write(frame_of(0))
    entity = recorded(tmp_path / "run.mcap")["/posemoe/people"][0][1].entities[0]
    colours = np.array([[c.r, c.g, c.b, c.a] for c in (sphere.color for sphere in entity.spheres)])
    np.testing.assert_allclose(colours[4], [80 / 255, 190 / 255, 240 / 255, 1], atol=1e-6)
    np.testing.assert_allclose(colours[1], [250 / 255, 140 / 255, 40 / 255, 1], atol=1e-6)
    np.testing.assert_allclose(colours[16], [150 / 255, 150 / 255, 150 / 255, 1], atol=1e-6)


def test_whoever_is_gone_is_deleted_even_if_the_clock_began_anew(sink: FoxgloveSink, tmp_path: Path) -> None:
    late = frame_of(3)
    with foxglove.open_mcap(tmp_path / "run.mcap", context=sink.context):
        sink.write(late)
        sink.write(ClockReset(FRAMES[0].t_s, FRAMES[3].t_s))
        sink.write(frame_of(0, (1,)))
        sink.write(frame_of(1, (1,)))
    updates = [update for _, update in recorded(tmp_path / "run.mcap")["/posemoe/people"]]
    deletions = [[deletion.id for deletion in update.deletions] for update in updates]
    assert sorted(map(len, deletions)) == [0, 0, 1] and ["0"] in deletions
    (deletion,) = next(update.deletions for update in updates if update.deletions)
    assert deletion.timestamp.ToNanoseconds() > round(FRAMES[3].t_s * 1e9)


@pytest.mark.parametrize(
    ("camera", "down"),
    [
        (None, [0, 1, 0]),
        (FieldOfView(60, gravity=np.array([0.0, 0.8, 0.6])), [0, 0.8, 0.6]),
        (Camera(Intrinsics.nominal(320, 240), ImageSize(320, 240), world_from_camera=TURN), [0, 1, 0]),
    ],
)
def test_people_stand_upright_in_the_world(sink: FoxgloveSink, tmp_path: Path, camera: Any, down: list[float]) -> None:
    with foxglove.open_mcap(tmp_path / "run.mcap", context=sink.context):
        sink.open(RunInfo(SOURCE.info, "a model", "fp32", "step", "onnxruntime", 0, camera=camera))
        sink.write(frame_of(0))
    (transform,) = recorded(tmp_path / "run.mcap")["/tf"][0][1].transforms
    assert (transform.parent_frame_id, transform.child_frame_id) == ("world", "camera0_optical")
    q, v = transform.rotation, np.array(down)
    axis = np.array([q.x, q.y, q.z])
    turned = v + 2 * np.cross(axis, np.cross(axis, v) + q.w * v)
    np.testing.assert_allclose(turned, [0, 0, -1], atol=1e-9)
    place_m = [0.5, 0, 1.2] if isinstance(camera, Camera) else [0, 0, 0]
    np.testing.assert_allclose(xyz([transform.translation])[0], place_m)


def test_people_without_a_place_stand_side_by_side_in_frames_of_their_own(sink: FoxgloveSink, tmp_path: Path) -> None:
    with foxglove.open_mcap(tmp_path / "run.mcap", context=sink.context):
        sink.write(frame_of(0, root=False))
    messages = recorded(tmp_path / "run.mcap")
    assert [entity.frame_id for entity in messages["/posemoe/people"][0][1].entities] == ["person_0", "person_1"]
    _, first, second = messages["/tf"][0][1].transforms
    assert [first.child_frame_id, second.child_frame_id] == ["person_0", "person_1"]
    assert [first.translation.x, second.translation.x] == pytest.approx([0, 1.3])


def test_a_picture_is_jpeg_with_annotations_in_its_pixels(sink: FoxgloveSink, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    with foxglove.open_mcap(tmp_path / "run.mcap", context=sink.context):
        sink.write(frame_of(0, picture=True))
    messages = recorded(tmp_path / "run.mcap")
    image = messages["/posemoe/picture"][0][1]
    decoded = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR)
    assert image.format == "jpeg" and decoded.shape == (240, 320, 3) and decoded.mean() == pytest.approx(120, abs=1)
    lines, dots = messages["/posemoe/keypoints"][0][1].points[:2]
    keypoints = FRAMES[0].keypoints[0]
    np.testing.assert_allclose([[p.x, p.y] for p in dots.points], keypoints.xy[keypoints.score > 0], rtol=1e-5)
    assert len(lines.points) == 2 * len(lines.outline_colors) > 0


def test_a_client_of_the_websocket_gets_the_same_positions(sink: FoxgloveSink) -> None:
    client = WebSocket(sink.url, subprotocol="foxglove.sdk.v1")
    try:
        assert "101" in client.status and client.headers["sec-websocket-protocol"] == "foxglove.sdk.v1"
        channels = dict[str, dict[str, Any]]()
        while len(channels) < 6:
            message = client.receive()
            assert isinstance(message, dict)
            channels |= {channel["topic"]: channel for channel in message.get("channels", [])}
        people, events = channels["/posemoe/people"], channels["/posemoe/events"]
        subscriptions = [{"id": 7, "channelId": people["id"]}, {"id": 8, "channelId": events["id"]}]
        client.send({"op": "subscribe", "subscriptions": subscriptions})
        payloads = dict[int, tuple[int, bytes]]()
        for _ in range(200):  # what was logged before the subscription arrived went to nobody
            sink.write(frame_of(0))
            if sink._scene._people.has_sinks():
                break
        sink.write(frame_of(1))
        wanted_ns = round(FRAMES[1].t_s * 1e9)
        while len(payloads) < 2:
            message = client.receive()
            if isinstance(message, bytes):
                opcode, subscription, time_ns = struct.unpack_from("<BIQ", message)
                assert opcode == 1
                if time_ns == wanted_ns:
                    payloads[subscription] = (len(message), message[13:])
    finally:
        client.close()
    schema = base64.b64decode(people["schema"] + "=" * (-len(people["schema"]) % 4))
    size, payload = payloads[7]
    assert size == 13 + len(payload)
    update = decode(schema, people["schemaName"], payload)
    for person, entity in enumerate(update.entities):
        np.testing.assert_allclose(xyz(s.pose.position for s in entity.spheres), expected_m(1, person), atol=1e-5)
    assert json.loads(payloads[8][1]) == frame_of(1).to_json()


def test_events_are_json_and_a_time_that_is_no_number_is_null(sink: FoxgloveSink, tmp_path: Path) -> None:
    with foxglove.open_mcap(tmp_path / "run.mcap", context=sink.context):
        sink.write(TrackStarted(3, 7.0))
        sink.write(FrameRefused(3, float("nan"), FrameError("no time")))
    (started_ns, started), (refused_ns, refused) = recorded(tmp_path / "run.mcap")["/posemoe/events"]
    assert started["event"] == "track_started" and started_ns == refused_ns == 7 * 10**9
    assert refused["error"] == "no time" and refused["t_s"] is None


def test_the_server_is_on_loopback_alone_and_ends_with_the_run(sink: FoxgloveSink) -> None:
    port = int(sink.url.rpartition(":")[2])
    socket.create_connection(("127.0.0.1", port), timeout=2).close()
    with socket.socket() as other, pytest.raises(OSError):
        other.settimeout(2)
        other.connect(("127.0.0.2", port))  # also this machine, but not the address that was bound
    with pytest.raises(UsageError, match=r"nothing can listen at.*foxglove://127\.0\.0\.1:0"):
        open_sink(f"foxglove://127.0.0.1:{port}")
    sink.close()
    sink.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=2)
    with pytest.raises(ValueError, match="closed"):
        sink.write(frame_of(0))


@pytest.mark.parametrize("spec", ["foxglove://127.0.0.1:port", "foxglove:run.mcap", "foxglove://127.0.0.1:0?topic=x"])
def test_what_cannot_be_is_said_before_the_run(spec: str) -> None:
    with pytest.raises(UsageError, match=r"foxglove://127\.0\.0\.1:8765"):
        open_sink(spec)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foxglove", None)
    with pytest.raises(MissingError, match=r'needs the package foxglove-sdk.*pip install "posemoe-edge\[foxglove\]"'):
        open_sink("foxglove")
