"""Recordings in MCAP: read back by mcap and by rosbags, kept in an abort and a crash, and never written over another file."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import FrameError, MissingError, SourceError, UsageError
from posemoe_edge.runtime.events import Event, FrameRefused, PoseFrame, TrackStarted
from posemoe_edge.runtime.pose.camera import Intrinsics
from posemoe_edge.runtime.pose.camera_model import Camera
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.ros.recording import Recording
from posemoe_edge.runtime.ros.types import from_cdr
from posemoe_edge.runtime.sinks import BaseSink, RunInfo, open_sink
from posemoe_edge.runtime.sources import SyntheticSource
from posemoe_edge.runtime.sources.mcap import McapSource

pytest.importorskip("mcap")
pytest.importorskip("rosbags")
SOURCE = SyntheticSource(people=2, frames=30)
CAMERA = Camera(Intrinsics(900, 900, 500, 501), ImageSize(1000, 1002))
RUN = RunInfo(SOURCE.info, "a model", "fp32", mode="step", engine="onnxruntime", latency_frames=0, camera=CAMERA)


def run_events() -> list[Event]:
    """A run of two walkers, whose poses are the truth."""
    events: list[Event] = [TrackStarted(0, 0.0), TrackStarted(1, 0.0)]
    ones = np.ones(17, np.float32)
    for people in SOURCE:
        assert people.truth_m is not None
        poses = {p: Pose(xyz, ones, people.t_s, 0.02, 0, "none", person=p) for p, xyz in people.truth_m.items()}
        events.append(PoseFrame(people.t_s, poses, keypoints=people.keypoints, truth_m=people.truth_m))
    return events


EVENTS = run_events()
FRAMES = [event for event in EVENTS if isinstance(event, PoseFrame)]


def record(location: Path | str, events: list[Event] = EVENTS) -> BaseSink:
    with open_sink(f"mcap:{location}") as sink:
        sink.open(RUN)
        for event in events:
            sink.write(event)
    assert isinstance(sink, BaseSink)
    return sink


def xyz_of(pose_array: Any) -> Any:
    return np.array([[p.position.x, p.position.y, p.position.z] for p in pose_array.poses])


def streamed(path: Path) -> list[Any]:
    """The records of a file up to its break."""
    from mcap.exceptions import McapError
    from mcap.stream_reader import StreamReader

    records = []
    with path.open("rb") as file:
        try:
            for record in StreamReader(file).records:
                records.append(record)
        except McapError:
            pass
    return records


def test_the_recorded_messages_are_the_poses(tmp_path: Path) -> None:
    from mcap.reader import make_reader

    assert record(tmp_path / "run.mcap").written == tmp_path / "run.mcap"
    with (tmp_path / "run.mcap").open("rb") as file:
        reader = make_reader(file)
        assert reader.get_header().profile == "ros2"
        rows = [(s.name, s.encoding, c.topic, c.message_encoding, m) for s, c, m in reader.iter_messages() if s]
        metadata = {m.name: m.metadata for m in reader.iter_metadata()}
    assert {(encoding, kind) for _, encoding, _, kind, _ in rows} == {("ros2msg", "cdr")}
    messages: dict[str, list[Any]] = {}
    for kind, _, topic, _, message in rows:
        messages.setdefault(topic, []).append((message.log_time, from_cdr(message.data, kind)))
    assert {topic: len(of) for topic, of in messages.items()} == {
        "/posemoe/markers": 30, "/posemoe/poses": 30, "/tf": 30, "/posemoe/camera_info": 30, "/posemoe/keypoints": 30,
        "/posemoe/events": 32,
    }  # fmt: skip
    for (t_ns, poses), frame in zip(messages["/posemoe/poses"], FRAMES, strict=True):
        assert t_ns == round(frame.t_s * 1e9) == poses.header.stamp.sec * 10**9 + poses.header.stamp.nanosec
        np.testing.assert_array_equal(xyz_of(poses), np.concatenate([frame.poses[0].xyz_m, frame.poses[1].xyz_m]))
    assert [json.loads(m.data) for _, m in messages["/posemoe/events"]] == [event.to_json() for event in EVENTS]
    about = metadata["posemoe.run"]
    assert (about["preset"], about["precision"], about["engine"], about["mode"]) == ("a model", "fp32", "onnxruntime", "step")
    assert json.loads(about["camera"])["fx_px"] == 900


def test_a_folder_is_a_bag_of_rosbag2(tmp_path: Path) -> None:
    from rosbags.highlevel import AnyReader

    record(tmp_path / "bag")
    assert sorted(path.name for path in (tmp_path / "bag").iterdir()) == ["bag_0.mcap", "metadata.yaml"]
    with AnyReader([tmp_path / "bag"]) as reader:
        assert reader.message_count == 5 * 30 + 32 and reader.duration == round(FRAMES[-1].t_s * 1e9) + 1  # rosbags adds one
        poses = [c for c in reader.connections if c.topic == "/posemoe/poses"]
        read = [(t_ns, reader.deserialize(raw, c.msgtype)) for c, t_ns, raw in reader.messages(poses)]
    assert len(read) == 30
    for (t_ns, message), frame in zip(read, FRAMES, strict=True):
        assert t_ns == round(frame.t_s * 1e9)
        np.testing.assert_array_equal(xyz_of(message), np.concatenate([frame.poses[0].xyz_m, frame.poses[1].xyz_m]))


def test_a_bag_of_several_files_is_one_recording(tmp_path: Path) -> None:
    from posemoe_edge.runtime.sources import open_source
    from rosbags.highlevel import AnyReader

    record(f"{tmp_path / 'bag'}?rotate_mb=0.000001")  # every event begins a file
    names = [f"bag_{number}.mcap" for number in range(len(EVENTS))]
    assert {path.name for path in (tmp_path / "bag").iterdir()} == {*names, "metadata.yaml"}
    information = json.loads((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["relative_file_paths"] == names == [file["path"] for file in information["files"]]
    assert information["message_count"] == 5 * 30 + 32 == sum(file["message_count"] for file in information["files"])
    assert information["files"][5]["starting_time"]["nanoseconds_since_epoch"] == round(FRAMES[3].t_s * 1e9)
    with AnyReader([tmp_path / "bag"]) as reader:
        assert reader.message_count == 5 * 30 + 32
        times = [t_ns for c, t_ns, _ in reader.messages() if c.topic == "/posemoe/poses"]
    assert times == [round(frame.t_s * 1e9) for frame in FRAMES]
    with open_source(f"mcap:{tmp_path / 'bag'}") as source:
        assert source.info.frames == 30 and source.info.camera is not None
        assert [people.t_s for people in source] == [frame.t_s for frame in FRAMES]  # bag_10 comes after bag_9


def test_the_ids_of_ros4hri_are_recorded_with_their_type(tmp_path: Path) -> None:
    from rosbags.highlevel import AnyReader

    record(f"{tmp_path / 'bag'}?ros4hri=on", EVENTS[:4])
    with AnyReader([tmp_path / "bag"]) as reader:
        read: list[Any] = [
            reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages() if c.topic == "/humans/bodies/tracked"
        ]
    assert [message.ids for message in read] == [["p0", "p1"]] * 2


def test_a_folder_is_a_bag_from_the_first_event_on(tmp_path: Path) -> None:
    sink = open_sink(f"mcap:{tmp_path / 'bag'}")
    sink.open(RUN)
    assert not (tmp_path / "bag").exists()
    sink.write(EVENTS[0])
    information = json.loads((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["relative_file_paths"] == ["bag_0.mcap"] and information["message_count"] == 0
    sink.close()


def test_the_frame_of_the_camera_has_the_users_name(tmp_path: Path) -> None:
    record(f"{tmp_path / 'run.mcap'}?frame_id=head_optical", EVENTS[:3])
    [markers] = [r for r in streamed(tmp_path / "run.mcap") if getattr(r, "channel_id", 0) == 1 and hasattr(r, "log_time")]
    markers = from_cdr(markers.data, "visualization_msgs/msg/MarkerArray").markers
    assert {marker.header.frame_id for marker in markers} == {"head_optical"}


def test_an_abort_keeps_what_was_seen_and_a_run_without_events_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    with pytest.raises(RuntimeError), open_sink(f"mcap:{path}") as sink:
        for event in EVENTS[:12]:
            sink.write(event)
        raise RuntimeError
    assert sum(r.channel_id == 2 for r in streamed(path) if hasattr(r, "log_time")) == 10
    before = path.read_bytes()
    sink = open_sink(f"mcap:{path}")
    sink.open(RUN)
    sink.abort()
    sink.close()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="closed"):
        sink.write(EVENTS[0])
    record(path, EVENTS[:3])  # a recording is replaced
    assert sum(r.channel_id == 2 for r in streamed(path) if hasattr(r, "log_time")) == 1


def test_on_a_full_disk_a_close_is_an_error_and_an_abort_keeps_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    for name, ends_with in (("close", pytest.raises(OSError, match="No space")), ("abort", nullcontext())):
        sink = open_sink(f"mcap:{tmp_path / name}.mcap")
        for event in EVENTS[:5]:
            sink.write(event)
        with monkeypatch.context() as patched, ends_with:
            patched.setattr(os, "fsync", full)
            getattr(sink, name)()
        sink.abort()
        assert sum(r.channel_id == 2 for r in streamed(tmp_path / f"{name}.mcap") if hasattr(r, "log_time")) == 3


def test_a_recording_is_replaced_when_its_successor_can_be_read_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.mcap"
    record(path)
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(Recording, "_flush", lambda self: (_ for _ in ()).throw(OSError(errno.ENOSPC, "no space")))
        with pytest.raises(MissingError, match="cannot be written to"):
            record(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with open_sink(f"mcap:{path}") as sink:
        sink.open(RUN)
        sink.write(EVENTS[0])
        with pytest.raises(SourceError, match="holds no messages: its run was cut off at once"):
            McapSource(path)
        sink.write(EVENTS[1])


def test_a_folder_with_the_draft_of_a_killed_run_is_as_good_as_empty(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / ".bag_0.mcap.x.part").write_bytes(b"half a header")
    record(tmp_path / "bag")
    assert sorted(file.name for file in (tmp_path / "bag").iterdir()) == ["bag_0.mcap", "metadata.yaml"]


def test_what_is_no_recording_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.mcap").write_text("my notes")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    (tmp_path / "folder.mcap").mkdir()
    for name, message in (
        ("notes.mcap", "no recording"),
        ("full", "not empty"),
        ("folder.mcap", "no plain file"),
        ("full/a", "is no folder"),
        ("x.mcap?frame=1", "did you mean frame_id"),
        ("?frame_id=a", "names nothing"),
        ("x.mcap?frame_id=", "no value"),
        ("x.mcap?rotate_mb=1", "one file"),
        ("x?rotate_s=0", "more than 0"),
        ("x?rotate_mb=much", "rotate_mb=much"),
        ("x?ros4hri=1", "ros4hri=on or"),
    ):
        with pytest.raises(UsageError, match=message):
            open_sink(f"mcap:{tmp_path / name}" if not name.startswith("?") else f"mcap:{name}")
    with pytest.raises(MissingError, match="mkdir -p"):
        open_sink(f"mcap:{tmp_path / 'none' / 'run.mcap'}")
    with pytest.raises(UsageError, match=r"did you mean mcap:run\.mcap"):
        open_sink("run.mcap")
    assert (tmp_path / "notes.mcap").read_text() == "my notes"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.mcap", "full", "notes.mcap"]


def test_an_event_at_no_time_is_recorded_at_the_time_before(tmp_path: Path) -> None:
    refused = FrameRefused(0, float("nan"), FrameError("a frame at no time"))
    record(tmp_path / "run.mcap", [FRAMES[3], refused, replace(FRAMES[4], t_s=-1.0)])
    times = [r.log_time for r in streamed(tmp_path / "run.mcap") if hasattr(r, "log_time")]
    assert times == 7 * [60_000_000] + 6 * [0]  # a time before 1970 is none of ROS


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcap", None)
    with pytest.raises(MissingError, match=r"posemoe-edge\[ros\]"):
        open_sink(f"mcap:{tmp_path / 'run.mcap'}")
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys, time
from posemoe_edge.runtime.events import TrackStarted
from posemoe_edge.runtime.sinks import open_sink
sink = open_sink(sys.argv[1])
while True:
    sink.write(TrackStarted(0, time.time()))
    print(time.time(), flush=True)
    time.sleep(0.01)
"""


@pytest.mark.parametrize("name", ["run.mcap", "bag?rotate_s=0.7"])
def test_a_recording_that_is_killed_has_lost_one_second_at_most(name: str, tmp_path: Path) -> None:
    code = [sys.executable, "-c", KILLED, f"mcap:{tmp_path / name}"]
    process = subprocess.Popen(code, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        first_s = last_s = float(process.stdout.readline())
        while last_s - first_s < 2.5:
            last_s = float(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=10)
    last_s = max([last_s, *(float(line) for line in rest.splitlines())])
    files = sorted(tmp_path.rglob("*.mcap"))  # fewer than ten, so in order
    kept = [r.log_time / 1e9 for file in files for r in streamed(file) if hasattr(r, "log_time")]
    assert len(files) == 1 if name == "run.mcap" else len(files) > 2
    slack_s = 0.5  # of a busy machine
    assert kept and last_s - kept[-1] < 1 + slack_s and kept[0] < first_s + slack_s
    assert last_s <= time.time()
