"""Recordings in MCAP as sources: keypoints to the last bit, pictures of ROS, files that break off."""

from __future__ import annotations

import importlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import SourceError
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.pose.camera import Intrinsics
from posemoe_edge.runtime.pose.camera_model import Camera, FieldOfView
from posemoe_edge.runtime.pose.distortion import Distortion
from posemoe_edge.runtime.pose.keypoints import ImageSize, Keypoints
from posemoe_edge.runtime.pose.skeleton import COCO17, H36M17
from posemoe_edge.runtime.ros.types import COMPRESSED_IMAGE, IMAGE, definition, ros_types, to_cdr
from posemoe_edge.runtime.sinks import RunInfo, open_sink
from posemoe_edge.runtime.sources import CameraFrame, People, SyntheticSource, open_source

pytest.importorskip("mcap")
pytest.importorskip("rosbags")
SOURCE = SyntheticSource(people=2, frames=200, noise_px=3.0)
TURN = np.array([[0, 0, 1, 0.1], [-1, 0, 0, 0.2], [0, -1, 0, 1.3], [0, 0, 0, 1]])
LENS = Distortion("equidistant", (0.01, -0.02, 0.003, 0.0004))
CAMERA = Camera(Intrinsics(700.1, 701.3, 501, 499), ImageSize(1000, 1002), LENS, np.array([0, 0.9, 0.1]), TURN, 1.3)
RUN = RunInfo(SOURCE.info, "a model", "fp32", mode="step", engine="onnxruntime", latency_frames=0, camera=CAMERA)


def recorded(path: Path, frames: list[PoseFrame], *, run: RunInfo = RUN) -> Path:
    with open_sink(f"mcap:{path}") as sink:
        sink.open(run)
        for frame in frames:
            sink.write(frame)
    return path


def as_frames(people: list[People]) -> list[PoseFrame]:
    return [PoseFrame(p.t_s, {}, keypoints=p.keypoints, truth_m=p.truth_m, truth_root_m=p.truth_root_m) for p in people]


def assert_same(read: list[Any], written: list[PoseFrame]) -> None:
    assert len(read) == len(written)
    for people, frame in zip(read, written, strict=True):
        assert isinstance(people, People)
        assert people.t_s == frame.t_s and list(people.keypoints) == list(frame.keypoints)
        for person, keypoints in frame.keypoints.items():
            back = people.keypoints[person]
            assert (back.skeleton, back.size, back.points.dtype) == (keypoints.skeleton, keypoints.size, keypoints.points.dtype)
            np.testing.assert_array_equal(back.points, keypoints.points)


@pytest.mark.parametrize("name", ["run.mcap", "bag"])
def test_keypoints_come_back_to_the_last_bit(name: str, tmp_path: Path) -> None:
    frames = as_frames(list(SOURCE))
    path = recorded(tmp_path / name, frames)
    with open_source(f"mcap:{path}#/posemoe/keypoints") as source:
        assert not source.pictures and source.info.frames == 200 and source.info.fps == SOURCE.info.fps
        assert source.info.name == f"{path}#/posemoe/keypoints" and not source.info.live
        read = list(source)
        assert_same(read, frames)
        assert_same(list(source), frames)  # once more
    for people, frame in zip(read, frames, strict=True):
        assert isinstance(people, People) and people.truth_m is not None and frame.truth_m is not None
        np.testing.assert_array_equal(people.truth_m[1], frame.truth_m[1])
    with open_source(f"mcap:{path}", frames=3) as source:
        assert_same(list(source), frames[:3])
        assert source.info.frames == 3


def test_keypoints_of_every_kind_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wild = rng.normal(size=(17, 3))
    wild[3] = np.nan, np.inf, -np.inf
    keypoints = {
        7: Keypoints(wild, COCO17, ImageSize(641, 479)),
        2**33: Keypoints(rng.normal(size=(17, 3)).astype(np.float32), H36M17, None),
    }
    frames = [PoseFrame(1 / 3, {}, keypoints=keypoints), PoseFrame(1e9 / 7, {})]
    assert_same(list(open_source(f"mcap:{recorded(tmp_path / 'run.mcap', frames)}")), frames)


def test_the_camera_comes_back(tmp_path: Path) -> None:
    camera = open_source(f"mcap:{recorded(tmp_path / 'run.mcap', as_frames(list(SOURCE)[:1]))}").info.camera
    assert camera is not None and camera.distortion == LENS and camera.gravity is not None
    assert (camera.intrinsics, camera.size, camera.height_m) == (CAMERA.intrinsics, CAMERA.size, 1.3)
    np.testing.assert_array_equal(camera.world_from_camera, TURN)
    np.testing.assert_allclose(camera.gravity @ np.array([0, 0.9, 0.1]), np.hypot(0.9, 0.1), rtol=1e-12)
    for known in (None, FieldOfView(70)):
        path = recorded(tmp_path / "other.mcap", as_frames(list(SOURCE)[:1]), run=replace(RUN, camera=known))
        assert open_source(f"mcap:{path}").info.camera is None


@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_a_file_that_breaks_off_is_read_up_to_the_break(share: float, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = as_frames(list(SOURCE))
    data = recorded(tmp_path / "run.mcap", frames).read_bytes()
    (tmp_path / "broken.mcap").write_bytes(data[: int(share * len(data))])
    with caplog.at_level(logging.WARNING), open_source(f"mcap:{tmp_path / 'broken.mcap'}#/posemoe/keypoints") as source:
        read = list(source)
    assert source.info.frames is None and source.info.camera is not None and "breaks off" in caplog.text
    assert 0 < len(read) <= len(frames) and (share < 0.9) == (len(read) < len(frames))
    assert_same(read, frames[: len(read)])


def test_a_byte_that_changed_is_a_break_and_no_other_keypoints(tmp_path: Path) -> None:
    frames = as_frames(list(SOURCE))
    data = bytearray(recorded(tmp_path / "run.mcap", frames).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "changed.mcap").write_bytes(data)
    read = list(open_source(f"mcap:{tmp_path / 'changed.mcap'}"))
    assert 0 < len(read) < len(frames)
    assert_same(read, frames[: len(read)])


def test_a_recording_can_be_replaced_by_its_own_replay(tmp_path: Path) -> None:
    frames = as_frames(list(SOURCE))
    path = recorded(tmp_path / "run.mcap", frames)
    (tmp_path / "link.mcap").symlink_to(path)
    with open_source(f"mcap:{path}") as source, open_sink(f"mcap:{tmp_path / 'link.mcap'}") as sink:
        read = list[People]()
        for people in source:
            assert isinstance(people, People)
            read.append(people)
            if len(read) <= 100:
                sink.write(as_frames([people])[0])
        assert_same(read, frames)
    assert (tmp_path / "link.mcap").is_symlink()
    assert_same(list(open_source(f"mcap:{path}")), frames[:100])


def image(encoding: str, pixels: Any, *, stamp: tuple[int, int] = (3, 500_000_000), padding: int = 0) -> bytes:
    """A picture of ROS, each of its rows with some bytes more than it needs."""
    t = ros_types().types
    rows = np.pad(pixels.reshape(pixels.shape[0], -1), ((0, 0), (0, padding)))
    header = t["std_msgs/msg/Header"](stamp=t["builtin_interfaces/msg/Time"](*stamp), frame_id="camera")
    return to_cdr(
        t[IMAGE](
            header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=0,
            step=rows.shape[1], data=rows.ravel(),
        )
    )  # fmt: skip


def compressed(data: bytes) -> bytes:
    t = ros_types().types
    header = t["std_msgs/msg/Header"](stamp=t["builtin_interfaces/msg/Time"](7, 0), frame_id="camera")
    return to_cdr(t[COMPRESSED_IMAGE](header=header, format="png", data=np.frombuffer(data, np.uint8)))


def bag_of(path: Path, topics: dict[str, tuple[str, list[bytes]]], *, encoding: str = "cdr") -> Path:
    writer_module: Any = importlib.import_module("mcap.writer")
    with path.open("wb") as file:
        writer = writer_module.Writer(file)
        writer.start(profile="ros2")
        for name, (kind, messages) in topics.items():
            schema = writer.register_schema(kind, "ros2msg", definition(kind).encode())
            channel = writer.register_channel(name, encoding, schema)
            for i, data in enumerate(messages):
                writer.add_message(channel, 10**9 * (10 + i), data, 0)
        writer.finish()
    return path


BGR = np.random.default_rng(1).integers(0, 256, (6, 8, 3)).astype(np.uint8)
RED = np.array([0, 0, 255], np.uint8)


def pictures_of(path: Path, topic: str = "/camera/image") -> list[CameraFrame]:
    frames = list(open_source(f"mcap:{path}#{topic}"))
    assert all(isinstance(frame, CameraFrame) for frame in frames)
    return [frame for frame in frames if isinstance(frame, CameraFrame)]


@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("bgr8", BGR, BGR),
        ("rgb8", BGR[..., ::-1], BGR),
        ("bgra8", np.dstack([BGR, BGR[..., :1]]), BGR),
        ("rgba8", np.dstack([BGR[..., ::-1], BGR[..., :1]]), BGR),
        ("mono8", BGR[..., 0], np.repeat(BGR[..., :1], 3, axis=2)),
        ("bayer_rggb8", np.tile(np.array([[255, 0], [0, 0]], np.uint8), (3, 4)), np.broadcast_to(RED, (6, 8, 3))),
        ("bayer_grbg8", np.tile(np.array([[0, 255], [0, 0]], np.uint8), (3, 4)), np.broadcast_to(RED, (6, 8, 3))),
        ("yuv422_yuy2", np.full((6, 8, 2), 128, np.uint8), np.full((6, 8, 3), 130, np.uint8)),  # (128 - 16) * 255 / 219
    ],
)
def test_pictures_of_every_encoding_are_read(encoding: str, pixels: Any, expected: Any, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    path = bag_of(tmp_path / "bag.mcap", {"/camera/image": (IMAGE, [image(encoding, pixels, padding=5)])})
    [frame] = pictures_of(path)
    np.testing.assert_allclose(frame.image_bgr.astype(int), expected, atol=1)
    assert frame.t_s == 3.5


def test_compressed_pictures_are_read_and_those_that_are_broken_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cv2 = pytest.importorskip("cv2")
    png = cv2.imencode(".png", BGR)[1].tobytes()
    messages = [compressed(png), compressed(b"no picture"), compressed(b""), b"\x00\x01\x00\x00no message", compressed(png)]
    path = bag_of(tmp_path / "bag.mcap", {"/camera/image": (COMPRESSED_IMAGE, messages)})
    with caplog.at_level(logging.WARNING):
        frames = pictures_of(path)
    assert len(frames) == 2 and caplog.text.count("left out") == 3 and frames[0].t_s == 7
    np.testing.assert_array_equal(frames[1].image_bgr, BGR)
    nothing = bag_of(tmp_path / "nothing.mcap", {"/camera/image": (COMPRESSED_IMAGE, messages[1:2])})
    with pytest.raises(SourceError, match="none of the 1 pictures"):
        pictures_of(nothing)


def test_a_picture_without_a_stamp_has_the_time_of_the_recording(tmp_path: Path) -> None:
    messages = [image("bgr8", BGR, stamp=(0, 0)), image("32FC1", BGR), image("bgr8", BGR, stamp=(0, 0))]
    path = bag_of(tmp_path / "bag.mcap", {"/camera/image": (IMAGE, messages)})
    assert [frame.t_s for frame in pictures_of(path)] == [10.0, 12.0]


def test_the_only_topic_of_pictures_needs_no_name(tmp_path: Path) -> None:
    path = bag_of(tmp_path / "bag.mcap", {"/camera/image": (IMAGE, [image("bgr8", BGR)])})
    with open_source(f"mcap:{path}") as source:
        assert source.pictures and source.info.name == f"{path}#/camera/image" and source.info.frames == 1
    two = bag_of(tmp_path / "two.mcap", {name: (IMAGE, [image("bgr8", BGR)]) for name in ("/left", "/right")})
    with pytest.raises(SourceError, match=r"2 topics of pictures.*/left \(sensor_msgs/msg/Image\), /right"):
        open_source(f"mcap:{two}")


def test_what_cannot_be_read_is_an_error_that_says_what_is_there(tmp_path: Path) -> None:
    path = bag_of(tmp_path / "bag.mcap", {"/camera/image": (IMAGE, []), "/tf": ("tf2_msgs/msg/TFMessage", [])})
    old = bag_of(tmp_path / "old.mcap", {"/camera/image": (IMAGE, [])}, encoding="ros1")
    (tmp_path / "text.mcap").write_text("no recording at all, but text")
    (tmp_path / "empty.mcap").touch()
    (tmp_path / "folder").mkdir()
    for location, message in (
        (f"{path}#/camera/imag", r"did you mean mcap:.*#/camera/image\?.*one of /camera/image \(sensor_msgs/msg/Image\), /tf"),
        (f"{path}#/tf", "holds tf2_msgs/msg/TFMessage"),
        (f"{old}#/camera/image", "encoded as ros1"),
        (f"{tmp_path / 'bug.mcap'}", r"no file .*did you mean mcap:.*bag\.mcap"),
        (f"{tmp_path / 'text.mcap'}", "cannot be read as MCAP"),
        (f"{tmp_path / 'empty.mcap'}", "is empty"),
        (f"{tmp_path / 'folder'}", r"no \.mcap file in the folder"),
    ):
        with pytest.raises(SourceError, match=message):
            open_source(f"mcap:{location}")


def test_texts_that_are_no_keypoints_are_an_error(tmp_path: Path) -> None:
    from posemoe_edge.runtime.ros.encoder import string_cdr

    for text in ("hello", '{"a": 1}', "[]", '{"version": 99}', '{"version": 1, "t_s": 0, "people": {"0": {"dtype": "x"}}}'):
        path = bag_of(tmp_path / "bag.mcap", {"/chatter": ("std_msgs/msg/String", [string_cdr(text)])})
        with pytest.raises(SourceError, match=r"/chatter: "):
            list(open_source(f"mcap:{path}#/chatter"))
