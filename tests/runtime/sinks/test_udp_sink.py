"""The sink of datagrams: what a socket receives of each pose, in both formats, and a network that takes nothing."""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
from posemoe_edge.runtime.errors import FrameError, MissingError, UsageError
from posemoe_edge.runtime.events import FrameRefused, PoseFrame, TrackLost
from posemoe_edge.runtime.pose.types import Doubt, GapAction, Pose, Root
from posemoe_edge.runtime.sinks import open_sink
from posemoe_edge.runtime.sinks.udp import DOUBTS, GAPS, UdpSink

LARGEST = 1400  # bytes that pass through Ethernet, Wi-Fi and a tunnel in one piece
RNG = np.random.default_rng(0)
XYZ_M = RNG.normal(size=(17, 3)).astype(np.float32)
SIGMA_M = RNG.uniform(0.01, 0.2, 17).astype(np.float32)
SCORE = RNG.uniform(0.31, 1, 17).astype(np.float32)
SCORE[[0, 5, 16]] = 0.1  # guessed


def pose_of(person: int, t_s: float = 12.5, **more: Any) -> Pose:
    return Pose(XYZ_M + person, SCORE, t_s, 0.02, latency_frames=3, gap="hold", person=person, **more)


def root_of(world_from_camera: Any = None) -> Root:
    xyz_m, sigma_m = np.array([0.5, -0.25, 4.0], np.float32), np.array([0.1, 0.2, 0.3], np.float32)
    return Root(xyz_m, sigma_m, 2.5, 1.05, "stature+floor", held_s=0.5, world_from_camera=world_from_camera)


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        yield receiver


def sink_to(receiver: socket.socket, options: str = "") -> UdpSink:
    sink = open_sink(f"udp://127.0.0.1:{receiver.getsockname()[1]}{options}")
    assert isinstance(sink, UdpSink)
    return sink


def test_each_pose_is_a_datagram_of_json_with_a_sequence_number(receiver: socket.socket) -> None:
    poses = {7: pose_of(7, sigma_m=SIGMA_M, root=root_of()), 2: pose_of(2)}
    with sink_to(receiver) as sink:
        sink.write(PoseFrame(12.5, poses))
        sink.write(TrackLost(2, 13.0))
        sink.write(FrameRefused(7, math.nan, FrameError("no time")))
        assert isinstance(sink, UdpSink) and (sink.sent, sink.dropped) == (4, 0)
    records = [json.loads(receiver.recv(65_536)) for _ in range(4)]
    assert [record.pop("sequence") for record in records] == [0, 1, 2, 3]
    assert records[:2] == [{"event": "pose", "version": 1, **poses[person].to_json()} for person in (2, 7)]
    np.testing.assert_allclose(records[1]["xyz_m"], XYZ_M + 7, atol=1e-4)
    assert records[2] == {"event": "track_lost", "version": 1, "t_s": 13.0, "person": 2}
    assert records[3]["t_s"] is None and records[3]["error"] == "no time"


def test_a_datagram_of_json_passes_any_network_in_one_piece(receiver: socket.socket) -> None:
    turn = np.eye(4)
    turn[:3, 3] = [-123.4567, 234.5678, -1.2345]
    longest = pose_of(0, t_s=1_700_000_000.123456, sigma_m=SIGMA_M, root=root_of(turn), doubts=("bones", "fit"))
    longest = Pose(**{**vars(longest), "xyz_m": np.full((17, 3), -1.2345, np.float32), "person": 1_000_000})
    with sink_to(receiver) as sink:
        sink.write(PoseFrame(12.5, {1_000_000: longest}))
    assert len(receiver.recv(65_536)) < LARGEST


def test_a_binary_datagram_is_read_as_it_is_documented(receiver: socket.socket) -> None:
    """By offsets, as a program in another language would."""
    with sink_to(receiver, "?format=binary") as sink:
        sink.write(TrackLost(2, 13.0))  # no pose
        sink.write(PoseFrame(12.5, {7: pose_of(7, sigma_m=SIGMA_M, root=root_of(), doubts=("fit",)), 9: pose_of(9)}))
    first, second = receiver.recv(65_536), receiver.recv(65_536)
    assert len(first) == len(second) == 408
    assert first[:4] == b"PMOE" and first[4] == 1 and first[5] == 1  # version, gap: hold
    assert struct.unpack_from("<H", first, 6) == (2,)  # doubts: fit
    assert struct.unpack_from("<Ii", first, 8) == (0, 7) and struct.unpack_from("<Ii", second, 8) == (1, 9)
    assert struct.unpack_from("<d", first, 16) == (12.5,)
    assert struct.unpack_from("<II", first, 24) == (3, 1 << 0 | 1 << 5 | 1 << 16)  # latency, guessed
    np.testing.assert_array_equal(np.frombuffer(first, "<f4", 51, 32).reshape(17, 3), XYZ_M + 7)
    np.testing.assert_array_equal(np.frombuffer(first, "<f4", 17, 236), SCORE)
    np.testing.assert_array_equal(np.frombuffer(first, "<f4", 17, 304), SIGMA_M)
    np.testing.assert_allclose(np.frombuffer(first, "<f4", 9, 372), [0.5, -0.25, 4, 0.1, 0.2, 0.3, 1.05, 0.5, 2.5])
    assert np.isnan(np.frombuffer(second, "<f4", 26, 304)).all()  # neither sigma nor root


def test_an_id_past_32_bits_as_other_programs_give_them_does_not_end_the_run(receiver: socket.socket) -> None:
    person = 5 * 2**31 + 7
    with sink_to(receiver, "?format=binary") as sink:
        sink.write(PoseFrame(12.5, {person: Pose(XYZ_M, SCORE, 12.5, 0.02, latency_frames=0, gap="none", person=person)}))
    assert struct.unpack_from("<i", receiver.recv(65_536), 12) == (7,)


def test_bytes_and_bits_stand_for_every_gap_and_doubt() -> None:
    assert set(GAPS) == set(get_args(GapAction)) and set(DOUBTS) == set(get_args(Doubt))


def test_nobody_who_listens_and_a_network_without_a_way_cost_nothing_but_a_count(receiver: socket.socket) -> None:
    frame = PoseFrame(12.5, {0: pose_of(0)})
    sink = sink_to(receiver)
    receiver.close()
    begin_s = time.monotonic()
    for _ in range(100):
        sink.write(frame)
    assert sink.sent == 100 and sink.dropped == 0  # refused on arrival, which a sender of datagrams is not told
    sink._target = ("127.0.0.1", 0)  # what the network refuses at once
    for _ in range(100):
        sink.write(frame)
    assert sink.sent == 100 and sink.dropped == 100
    assert time.monotonic() - begin_s < 5
    sink.close()
    sink.close()
    with pytest.raises(ValueError, match="closed"):
        sink.write(frame)


def test_a_receiver_that_begins_later_gets_the_next_datagram_and_sees_what_it_missed(receiver: socket.socket) -> None:
    port = receiver.getsockname()[1]
    sink = sink_to(receiver)
    receiver.close()
    for _ in range(3):
        sink.write(PoseFrame(12.5, {0: pose_of(0)}))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
        late.bind(("127.0.0.1", port))
        late.settimeout(5)
        sink.write(PoseFrame(12.5, {0: pose_of(0)}))
        assert json.loads(late.recv(65_536))["sequence"] == 3
    sink.abort()


def test_the_hosts_name_is_resolved_once(receiver: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up, resolve = list[Any](), socket.getaddrinfo

    def counting(host: Any, *arguments: Any, **options: Any) -> Any:
        looked_up.append(host)
        return [entry for entry in resolve(host, *arguments, **options) if entry[0] == socket.AF_INET]

    monkeypatch.setattr(socket, "getaddrinfo", counting)
    with open_sink(f"udp://localhost:{receiver.getsockname()[1]}") as sink:
        for _ in range(5):
            sink.write(PoseFrame(12.5, {0: pose_of(0)}))
        assert len([receiver.recv(65_536) for _ in range(5)]) == 5
    assert looked_up == ["localhost"]


def test_ipv6_is_an_address_too() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver:
        try:
            receiver.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 here ({error})")
        receiver.settimeout(5)
        with open_sink(f"udp://[::1]:{receiver.getsockname()[1]}") as sink:
            sink.write(PoseFrame(12.5, {0: pose_of(0)}))
            assert json.loads(receiver.recv(65_536))["person"] == 0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("udp", "needs a //host:port"),
        ("udp://127.0.0.1", "no port"),
        ("udp://:9870", "no host"),
        ("udp://127.0.0.1:0", "port 0"),
        ("udp://127.0.0.1:70000", "cannot be read"),
        ("udp://127.0.0.1:9870?format=xml", "format=json or format=binary"),
        ("udp://127.0.0.1:9870?fromat=json", "did you mean format"),
        ("udp://127.0.0.1:9870/poses", "udp://HOST:PORT"),
    ],
)
def test_what_cannot_be_is_said_before_the_run(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_sink(spec)


def test_a_host_that_is_not_known_and_a_password_are_errors() -> None:
    with pytest.raises(MissingError, match=r"the host nowhere\.invalid is not known"):
        open_sink("udp://nowhere.invalid:9870")
    with pytest.raises(UsageError) as caught:
        open_sink("udp://me:secret@127.0.0.1:9870")
    assert "secret" not in str(caught.value)
