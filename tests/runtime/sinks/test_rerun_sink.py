"""The sink of Rerun: what its own reader finds in a file, and a server that listens on loopback and ends."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import FrameError, MissingError, UsageError
from posemoe_edge.runtime.events import ClockReset, FrameRefused, PoseFrame, TrackLost, TrackStarted
from posemoe_edge.runtime.pose.camera import Intrinsics
from posemoe_edge.runtime.pose.camera_model import Camera
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.types import Pose, Root
from posemoe_edge.runtime.sinks import RunInfo, open_sink
from posemoe_edge.runtime.sinks.rerun import RerunSink
from posemoe_edge.runtime.sources import SyntheticSource

pytest.importorskip("rerun", reason="rerun-sdk is not installed")
chunk = pytest.importorskip("rerun.chunk", reason="this rerun-sdk reads no recordings")
pytestmark = pytest.mark.filterwarnings("ignore:RRD file has no footer")  # of a recording that has not ended

SOURCE = SyntheticSource(people=2, frames=6)
FRAMES = list(SOURCE)
RUN = RunInfo(SOURCE.info, preset="a model", precision="fp32", mode="step", engine="onnxruntime", latency_frames=0)
BLUE, ORANGE, GREY = 0x50BEF0FF, 0xFA8C28FF, 0x969696FF
NS = 1e9


def pose_of(i: int, person: int, *, root: bool = True, **more: Any) -> Pose:
    people = FRAMES[i]
    assert people.truth_m is not None and people.truth_root_m is not None
    place = Root(people.truth_root_m[person], np.full(3, 0.1, np.float32), 2.0, scale=1.1, scale_from="prior") if root else None
    sigma_m = np.linspace(0.01, 0.17, 17, dtype=np.float32)
    score = np.ones(17, np.float32)
    score[16] = 0.0  # the right wrist is guessed
    return Pose(people.truth_m[person], score, people.t_s, 0.02, 0, "none", person=person, root=place, sigma_m=sigma_m, **more)


def frame_of(i: int, people: tuple[int, ...] = (0, 1), *, root: bool = True, picture: bool = False) -> PoseFrame:
    image = np.full((240, 320, 3), 40 * i, np.uint8) if picture else None
    keypoints = {person: FRAMES[i].keypoints[person] for person in people}
    poses = {person: pose_of(i, person, root=root) for person in people}
    return PoseFrame(FRAMES[i].t_s, poses, keypoints=keypoints, image_bgr=image)


def rows(path: Path, entity: str, component: str, *, timeline: str = "capture") -> dict[float, Any]:
    """Time in seconds -> what was logged then of an entity, by Rerun's own reader."""
    values = dict[float, Any]()
    for part in chunk.RrdReader(path).stream():
        if part.entity_path != entity:
            continue
        batch = part.to_record_batch()
        if component in batch.schema.names:
            times = batch.column(timeline).cast("int64").to_pylist() if timeline in batch.schema.names else [-1]
            pairs = zip(times, batch.column(component).to_pylist(), strict=True)
            values |= {time / NS: value for time, value in pairs if value is not None}
    return values


def test_a_recording_holds_every_joint_where_the_pose_has_it(tmp_path: Path) -> None:
    path = tmp_path / "run.rrd"
    with open_sink(f"rerun:{path}") as sink:
        sink.open(RUN)
        for i in range(len(FRAMES)):
            sink.write(frame_of(i))
    assert isinstance(sink, RerunSink) and sink.written == path and sink.url is None
    subprocess.run([sys.executable, "-m", "rerun_cli", "rrd", "verify", str(path)], check=True, capture_output=True)
    for person in (0, 1):
        joints = rows(path, f"/camera/people/{person}/joints", "Points3D:positions")
        assert len(joints) == len(FRAMES)
        for people, (t_s, xyz_m) in zip(FRAMES, sorted(joints.items()), strict=True):
            assert people.truth_m is not None and people.truth_root_m is not None
            assert t_s == pytest.approx(people.t_s, abs=1e-6)
            np.testing.assert_allclose(xyz_m, people.truth_root_m[person] + 1.1 * people.truth_m[person], atol=1e-5)
    (bones,) = [rows(path, "/camera/people/1/bones", "LineStrips3D:strips")[t_s] for t_s in sorted(joints)[:1]]
    np.testing.assert_allclose(bones[-1], [joints[min(joints)][15], joints[min(joints)][16]])  # right elbow, right wrist
    sizes = rows(path, "/camera/people/0/sigma", "Ellipsoids3D:half_sizes")
    np.testing.assert_allclose(sizes[min(sizes)], np.repeat(np.linspace(0.01, 0.17, 17)[:, None], 3, axis=1), rtol=1e-5)


def test_left_is_blue_right_orange_and_a_guess_grey(tmp_path: Path) -> None:
    with open_sink(f"rerun:{tmp_path / 'run.rrd'}") as sink:
        sink.write(frame_of(0))
        sink.write(PoseFrame(1.0, {5: replace(pose_of(1, 0, doubts=("bones",)), person=5)}))
    colours = next(iter(rows(tmp_path / "run.rrd", "/camera/people/0/joints", "Points3D:colors").values()))
    assert colours[4] == colours[13] == BLUE and colours[1] == colours[15] == ORANGE and colours[16] == GREY
    lines = next(iter(rows(tmp_path / "run.rrd", "/camera/people/0/bones", "LineStrips3D:colors").values()))
    assert lines[3] == BLUE and lines[0] == ORANGE and lines[-1] == GREY
    doubtful = next(iter(rows(tmp_path / "run.rrd", "/camera/people/5/joints", "Points3D:colors").values()))
    assert doubtful[4] >> 8 == BLUE >> 8 and 0 < doubtful[4] & 255 < 255


def test_the_axes_are_the_cameras_and_the_cameras_place_is_told(tmp_path: Path) -> None:
    turn = np.array([[0, 0, 1, 0.5], [-1, 0, 0, 0], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])
    camera = Camera(Intrinsics.nominal(320, 240), ImageSize(320, 240), world_from_camera=turn)
    with open_sink(f"rerun:{tmp_path / 'run.rrd'}") as sink:
        sink.open(RunInfo(SOURCE.info, "a model", "fp32", "step", "onnxruntime", 0, camera=camera))
        sink.write(frame_of(0))
    (axes,) = rows(tmp_path / "run.rrd", "/camera", "ViewCoordinates:xyz").values()
    assert axes == [[3, 2, 5]]  # right, down, forward
    (translation,) = rows(tmp_path / "run.rrd", "/camera", "Transform3D:translation").values()
    np.testing.assert_allclose(translation[0], [0.5, 0, 1.2])
    (columns,) = rows(tmp_path / "run.rrd", "/camera", "Transform3D:mat3x3").values()
    np.testing.assert_allclose(np.reshape(columns[0], (3, 3)).T, turn[:3, :3])


def test_whoever_is_gone_is_cleared_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "run.rrd"
    with open_sink(f"rerun:{path}") as sink:
        sink.write(frame_of(0))
        sink.write(frame_of(1, (1,)))
        sink.write(frame_of(2))
        sink.write(TrackLost(1, FRAMES[3].t_s))
    t_s = [people.t_s for people in FRAMES]
    assert list(rows(path, "/camera/people/0", "Clear:is_recursive")) == pytest.approx([t_s[1]])
    assert list(rows(path, "/picture/people/0", "Clear:is_recursive")) == pytest.approx([t_s[1]])
    assert list(rows(path, "/camera/people/1", "Clear:is_recursive")) == pytest.approx([t_s[3]])
    assert sorted(rows(path, "/camera/people/0/joints", "Points3D:positions")) == pytest.approx([t_s[0], t_s[2]])


def test_people_without_a_place_stand_side_by_side_about_their_own_hips(tmp_path: Path) -> None:
    path = tmp_path / "run.rrd"
    with open_sink(f"rerun:{path}") as sink:
        for i in range(3):
            sink.write(frame_of(i, root=False))
    for person, right_m in ((0, 0.0), (1, 1.3)):
        (moved,) = rows(path, f"/camera/people/{person}", "Transform3D:translation").values()  # once, not in every frame
        np.testing.assert_allclose(moved, [[right_m, 0, 0]])
        joints = rows(path, f"/camera/people/{person}/joints", "Points3D:positions")
        np.testing.assert_allclose(joints[min(joints)], pose_of(0, person).xyz_m)


def test_pictures_are_jpeg_with_the_keypoints_in_their_pixels(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    for name, spec in (("run.rrd", ""), ("less.rrd", "?picture=off")):
        with open_sink(f"rerun:{tmp_path / name}{spec}") as sink:
            for i in range(3):
                sink.write(frame_of(i, picture=True))
    blobs = rows(tmp_path / "run.rrd", "/picture/image", "EncodedImage:blob")
    assert len(blobs) == 3 and not rows(tmp_path / "less.rrd", "/picture/image", "EncodedImage:blob")
    decoded = [cv2.imdecode(np.array(blob[0], np.uint8), cv2.IMREAD_COLOR) for _, blob in sorted(blobs.items())]
    assert decoded[0].shape == (240, 320, 3)
    np.testing.assert_allclose([image.mean() for image in decoded], [0, 40, 80], atol=2)
    dots = rows(tmp_path / "run.rrd", "/picture/people/1/joints", "Points2D:positions")
    keypoints = FRAMES[0].keypoints[1]
    np.testing.assert_allclose(dots[min(dots)], keypoints.xy[keypoints.score > 0], rtol=1e-5)


def test_events_are_text_at_their_times(tmp_path: Path) -> None:
    path = tmp_path / "run.rrd"
    with open_sink(f"rerun:{path}") as sink:
        sink.write(TrackStarted(3, 7.0))
        sink.write(FrameRefused(3, 7.5, FrameError("not finite")))
        sink.write(FrameRefused(3, float("nan"), FrameError("no time")))
    text = rows(path, "/events", "TextLog:text")
    assert text[7.0] == ["track_started person=3"] and text[7.5] == ["frame_refused person=3 error=no time"]
    assert rows(path, "/events", "TextLog:level")[7.0] == ["INFO"]


def test_a_clock_that_begins_anew_goes_on_from_the_last_frame(tmp_path: Path) -> None:
    path = tmp_path / "run.rrd"
    pose = pose_of(0, 0)
    with open_sink(f"rerun:{path}") as sink:
        for t_s in (100.0, 100.5):
            sink.write(PoseFrame(t_s, {0: Pose(pose.xyz_m, pose.score, t_s, 0.1, 0, "none")}))
        sink.write(TrackLost(0, 2.0))
        sink.write(ClockReset(2.0, 100.5))
        sink.write(PoseFrame(2.0, {1: Pose(pose.xyz_m, pose.score, 2.0, 0.1, 0, "none", person=1)}))
    (after_s,) = rows(path, "/camera/people/1/joints", "Points3D:positions")
    assert 100.5 < after_s < 101.5
    (cleared_s,) = rows(path, "/camera/people/0", "Clear:is_recursive")
    assert 100.5 < cleared_s < after_s


KILLED = """
import os, signal, sys, time
import numpy as np
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.sinks import open_sink
sink = open_sink(f"rerun:{sys.argv[1]}")
for i in range(60):
    t_s = i / 50
    sink.write(PoseFrame(t_s, {0: Pose(np.full((17, 3), i, np.float32), np.ones(17, np.float32), t_s, 0.02, 0, "none")}))
    time.sleep(0.02)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_of_a_process_that_is_killed_all_but_the_last_half_second_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.rrd"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == -signal.SIGKILL
    joints = rows(path, "/camera/people/0/joints", "Points3D:positions")
    assert len(joints) >= 60 - 25
    assert all(xyz_m[0][0] == pytest.approx(50 * t_s) for t_s, xyz_m in joints.items())


FULL = """
import resource, signal, sys
import numpy as np
from posemoe_edge.runtime.errors import MissingError
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.sinks import open_sink
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sink = open_sink(f"rerun:{sys.argv[1]}")
for i in range(200):
    xyz_m = np.random.default_rng(i).normal(size=(17, 3)).astype(np.float32)
    sink.write(PoseFrame(i / 50, {0: Pose(xyz_m, np.ones(17, np.float32), i / 50, 0.02, 0, "none")}))
try:
    sink.close()
except MissingError as error:
    print("caught", error, sink.written)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a process here")
def test_a_disk_that_is_full_is_an_error_and_nothing_is_said_to_be_written(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FULL, str(tmp_path / "run.rrd")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert "caught not all of the run reached" in done.stdout and done.stdout.strip().endswith("None")


def test_only_a_recording_is_replaced_and_only_by_an_event(tmp_path: Path) -> None:
    path = tmp_path / "run.rrd"
    path.write_bytes(b"my thesis")
    with pytest.raises(UsageError, match="is no recording of Rerun"):
        open_sink(f"rerun:{path}")
    assert path.read_bytes() == b"my thesis"
    path.write_bytes(b"RRF2 an older one")
    sink = open_sink(f"rerun:{path}")
    sink.open(RUN)
    sink.close()
    sink.close()
    assert path.read_bytes() == b"RRF2 an older one"
    with pytest.raises(ValueError, match="closed"):
        sink.write(frame_of(0))
    with pytest.raises(KeyboardInterrupt), open_sink(f"rerun:{path}") as sink:
        sink.write(frame_of(0))
        raise KeyboardInterrupt
    assert len(rows(path, "/camera/people/0/joints", "Points3D:positions")) == 1  # an abort keeps what was seen
    assert [file.name for file in tmp_path.iterdir()] == ["run.rrd"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rerun:run.mp4", r"rerun:run\.rrd"),
        ("rerun:run.rrd?pictures=off", "did you mean picture"),
        ("rerun:run.rrd?picture=maybe", "picture=on or picture=off"),
        ("rerun:run.rrd?grpc=3", "no option 'grpc'"),
        ("run.rrd", r"did you mean rerun:run\.rrd"),
        ("rerun://127.0.0.1:99999", "the host or the port cannot be read"),
        ("rerun://127.0.0.1:0?grpc=x", "a port"),
        ("rerun://127.0.0.1:0?memory=all", "a size such as 256MB"),
        ("rerun://192.0.2.7:0?grpc=0", "an address of this machine"),
    ],
)
def test_what_cannot_be_is_said_before_the_run(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_sink(spec)


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        open_sink("rerun://me:secret@127.0.0.1:0")
    assert "secret" not in str(caught.value)


def test_a_missing_package_or_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingError, match=r"no folder .*nowhere"):
        open_sink(f"rerun:{tmp_path / 'nowhere' / 'run.rrd'}")
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(MissingError, match=r'needs the package rerun-sdk.*pip install "posemoe-edge\[rerun\]"'):
        open_sink("rerun")


# The server.


@pytest.fixture
def live() -> Iterator[RerunSink]:
    pytest.importorskip("rerun_cli", reason="this rerun-sdk has no program")
    sink = open_sink("rerun://127.0.0.1:0?grpc=0&memory=64MB")
    assert isinstance(sink, RerunSink)
    yield sink
    sink.abort()


def test_a_live_viewer_is_on_loopback_alone_and_ends_with_the_run(live: RerunSink, tmp_path: Path) -> None:
    assert live.url is not None and live.proxy_url is not None
    with urllib.request.urlopen(live.url, timeout=10) as page:
        assert page.status == 200 and b"<canvas" in page.read()
    ports = [int(url.split("127.0.0.1:")[1].split("/")[0]) for url in (live.url, live.proxy_url)]
    for port in ports:
        with socket.socket() as other, pytest.raises(OSError):
            other.settimeout(2)
            other.connect(("127.0.0.2", port))  # also this machine, but not the address that was bound
    with pytest.raises(UsageError, match="nothing can listen at"):
        open_sink(f"rerun://127.0.0.1:{ports[0]}?grpc=0")
    live.open(RUN)
    for i in range(len(FRAMES)):
        live.write(frame_of(i))
    assert live._recording is not None
    live._recording.flush(timeout_sec=10)
    copy = tmp_path / "copy.rrd"
    saver = subprocess.Popen(
        [*_program(), "--port", "auto", "--bind", "127.0.0.1", "--save", str(copy), live.proxy_url],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(copy, saver, joints=len(FRAMES))
    finally:
        saver.kill()
        saver.wait()
    live.close()
    live.close()
    for port in ports:
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=2)
    assert live.written is None


def test_a_server_that_has_gone_holds_nobody_up_and_is_an_error_at_the_end(live: RerunSink) -> None:
    live.write(frame_of(0))
    assert live._server is not None and live._recording is not None
    live._recording.flush(timeout_sec=10)
    live._server.close()
    begin_s = time.monotonic()
    for _ in range(50):
        live.write(frame_of(1))
    with pytest.raises(MissingError, match="the viewer's server"):
        live.close()
    assert time.monotonic() - begin_s < 15


ORPHANED = """
import os, signal
from posemoe_edge.runtime.sinks import open_sink
print(open_sink("rerun://127.0.0.1:0?grpc=0").url, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_the_server_of_a_process_that_is_killed_ends_too() -> None:
    pytest.importorskip("rerun_cli", reason="this rerun-sdk has no program")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", ORPHANED], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    port = int(done.stdout.split("127.0.0.1:")[1].split("/")[0])
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
        except OSError:
            return
        time.sleep(0.05)
    raise AssertionError("the server still listens")


def _program() -> list[str]:
    return [str(Path(importlib.import_module("rerun_cli").__path__[0]) / "rerun")]


def _wait_for(path: Path, process: subprocess.Popen[bytes], *, joints: int) -> None:
    """Wait until a viewer without a window has saved so many frames from the server."""
    for _ in range(100):
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"the viewer ended with {process.wait(0.1)}")
        if path.exists() and len(rows(path, "/camera/people/0/joints", "Points3D:positions")) == joints:
            return
    raise AssertionError("the frames did not reach the viewer")
