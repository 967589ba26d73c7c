"""Videos: files are written and read back, and errors say what to do."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime.errors import MissingError, SourceError
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.sources import CameraFrame, SourceInfo, open_source

WIDTH, HEIGHT, FPS, COUNT = 160, 120, 20.0, 24


def read(path: Path, *, frames: int | None = None) -> list[CameraFrame]:
    """The frames of a video."""
    with open_source(str(path), frames=frames) as source:
        assert source.pictures
        return [item for item in source if isinstance(item, CameraFrame)]


def dot_px(i: int) -> tuple[int, int]:
    return 20 + 5 * i, 40 + 2 * i


def write_video(path: Path, fourcc: str, *, blank: int = -1) -> None:
    """A bright dot that moves to the lower right; picture ``blank`` is empty."""
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV cannot write {fourcc}")
    for i in range(COUNT):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        if i != blank:
            cv2.circle(image, dot_px(i), 6, (255, 255, 255), -1)
        writer.write(image)
    writer.release()


@pytest.mark.parametrize(("name", "fourcc"), [("walk.mp4", "mp4v"), ("walk.avi", "MJPG")])
def test_a_video_comes_back_with_its_times_and_pictures(tmp_path: Path, name: str, fourcc: str) -> None:
    path = tmp_path / name
    write_video(path, fourcc, blank=3)
    with open_source(str(path)) as source:
        info = source.info
        assert info.fps == pytest.approx(FPS)
        assert info == SourceInfo(str(path), fps=info.fps, frames=COUNT)
        assert len(list(source)) == len(list(source)) == COUNT  # each iteration starts at the first frame
    frames = read(path)
    np.testing.assert_allclose([frame.t_s for frame in frames], np.arange(COUNT) / FPS, atol=2e-3)
    for i, frame in enumerate(frames):
        assert frame.image_bgr.shape == (HEIGHT, WIDTH, 3) and frame.size == ImageSize(WIDTH, HEIGHT)
        bright = np.argwhere(frame.image_bgr.sum(-1) > 600)
        assert (len(bright) == 0) == (i == 3)
        if len(bright):
            np.testing.assert_allclose(bright.mean(0)[::-1], dot_px(i), atol=1.6)


def test_at_most_so_many_frames_are_read(tmp_path: Path) -> None:
    write_video(tmp_path / "walk.avi", "MJPG")
    assert open_source(str(tmp_path / "walk.avi"), frames=6).info.frames == 6
    assert len(read(tmp_path / "walk.avi", frames=6)) == 6


def in_boxes(data: bytes, names: list[bytes], *, longer: int) -> bytearray:
    """An MP4 whose boxes of these names say that they are longer."""
    changed = bytearray(data)
    for name in names:
        at = data.index(name) - 4
        changed[at : at + 4] = struct.pack(">I", struct.unpack(">I", data[at : at + 4])[0] + longer)
    return changed


def test_frames_of_a_variable_rate_keep_their_times(tmp_path: Path) -> None:
    """Five frames at the file's rate, then one that stays for 0.75 s, then the others at the rate again."""
    path = tmp_path / "phone.mp4"
    write_video(path, "mp4v")
    data = path.read_bytes()
    at = data.index(b"stts")  # version, number of entries, then (frames, ticks) each; there is one entry
    count, ticks = struct.unpack(">II", data[at + 12 : at + 20])
    entries = ((5, ticks), (1, 15 * ticks), (count - 6, ticks))
    table = struct.pack(">II", 0, len(entries)) + b"".join(struct.pack(">II", *entry) for entry in entries)
    changed = in_boxes(data, [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"], longer=16)
    assert data.index(b"mdat") < data.index(b"moov")  # so that the pictures stay where the file says that they are
    longer = changed[: at + 4] + table + changed[at + 20 :]
    path.write_bytes(longer.replace(b"edts", b"free"))  # the edit list ends the clip where it ended before
    times_s = np.cumsum([0.0] + [0.05] * 5 + [0.75] + [0.05] * (COUNT - 7))
    np.testing.assert_allclose([frame.t_s for frame in read(path)], times_s, atol=2e-3)


def test_a_video_of_a_phone_that_was_held_upright_is_upright(tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    write_video(path, "mp4v")
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # the matrix: here a quarter turn clockwise
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, HEIGHT << 16, 0, 1 << 30)
    path.write_bytes(data)
    frame = read(path, frames=1)[0]
    assert frame.size == ImageSize(HEIGHT, WIDTH)
    bright, (x, y) = np.argwhere(frame.image_bgr.sum(-1) > 600), dot_px(0)
    np.testing.assert_allclose(bright.mean(0)[::-1], (HEIGHT - 1 - y, x), atol=1.6)


def test_a_gif_comes_back_with_the_durations_of_its_frames(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("cv2")
    pictures = [image.new("RGB", (40, 30), (10 * i, 0, 255 - 10 * i)) for i in range(4)]
    path = tmp_path / "wave.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100, 40, 500, 100])
    frames = read(path)
    np.testing.assert_allclose([frame.t_s for frame in frames], [0, 0.1, 0.14, 0.64], atol=1e-3)
    for i, frame in enumerate(frames):
        np.testing.assert_allclose(frame.image_bgr[15, 20], (255 - 10 * i, 0, 10 * i), atol=3)


def test_a_video_without_times_counts_its_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "walk.avi", "MJPG")
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setattr(cv2, "CAP_PROP_POS_MSEC", -999)  # unknown properties read 0
    frames = read(tmp_path / "walk.avi", frames=5)
    np.testing.assert_allclose([frame.t_s for frame in frames], np.arange(5) / FPS, atol=1e-9)


@pytest.mark.parametrize("content", [b"", b"this is no video at all", b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 400])
def test_a_file_that_is_no_video_is_a_source_error(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("cv2")
    (tmp_path / "walk.mp4").write_bytes(content)
    with pytest.raises(SourceError, match=r"cannot be read as a video|is empty"):
        _ = open_source(str(tmp_path / "walk.mp4")).info


@pytest.mark.parametrize(("name", "fourcc"), [("walk.mp4", "mp4v"), ("walk.avi", "MJPG")])
def test_a_truncated_video_is_read_as_far_as_it_goes(
    tmp_path: Path, name: str, fourcc: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_video(tmp_path / name, fourcc)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    if name.endswith("mp4"):  # what says where its frames are stands at the end
        with pytest.raises(SourceError, match="cannot be read as a video"):
            read(tmp_path / name)
    else:
        assert 0 < len(read(tmp_path / name)) < 24
        assert "its header counts 24" in caplog.text


def test_opencv_and_ffmpeg_write_nothing_beside_the_error(tmp_path: Path) -> None:
    write_video(tmp_path / "cut.avi", "MJPG")
    (tmp_path / "cut.avi").write_bytes((tmp_path / "cut.avi").read_bytes()[:-4000])
    (tmp_path / "none.mp4").write_text("no video")
    script = """
import sys
from posemoe_edge.runtime.errors import SourceError
from posemoe_edge.runtime.sources import open_source

for name in sys.argv[1:]:
    try:
        for frame in open_source(name):
            pass
    except SourceError:
        print("SourceError")
"""
    names = [str(tmp_path / name) for name in ("cut.avi", "none.mp4")]
    # In a separate process: FFmpeg's log level is read once, and the tests above have written videos.
    process = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stdout.split()) == (0, ["SourceError"])
    said = process.stderr.splitlines()
    assert len(said) == 1 and "pictures could be read, its header counts 24" in said[0]


def test_a_missing_video_is_found_out_before_it_is_opened() -> None:
    with pytest.raises(SourceError, match=r"no file nowhere\.mp4"):
        open_source("nowhere.mp4")


def test_without_opencv_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "walk.mp4").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingError, match=r'pip install "posemoe-edge\[camera\]"'):
        _ = open_source(str(tmp_path / "walk.mp4")).info


@pytest.mark.parametrize("name", ["2026-11-26T10:15:00.mp4", "csi:0.mp4", "http:x.mp4", "p%03d.mp4", "q?x.mp4"])
@pytest.mark.parametrize("before", ["", "./"])
def test_a_name_may_have_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, before: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "plain.mp4", "mp4v")
    (tmp_path / "plain.mp4").rename(name)
    with open_source(before + name) as source:
        assert len(list(source)) == 24


def test_a_name_that_is_not_utf8_is_an_error_where_opencv_would_end_the_process(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.mp4"))
    path.write_bytes(b"video")
    with pytest.raises(SourceError, match="is not UTF-8"):
        open_source(str(path))


def test_frames_that_a_camera_left_out_cost_the_others_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The index of an AVI counts an empty chunk for a frame that was dropped."""
    write_video(tmp_path / "drops.avi", "MJPG")
    data = (tmp_path / "drops.avi").read_bytes()
    at, movi, index, empty = data.index(b"movi"), b"movi", b"", struct.pack("<4sI", b"00dc", 0)
    head, pictures = data[: at - 8].replace(struct.pack("<I", 24), struct.pack("<I", 72)), []
    at += 4
    while data[at : at + 4] == b"00dc":
        size = struct.unpack_from("<I", data, at + 4)[0]
        pictures.append(data[at : at + 8 + size + size % 2])
        at += len(pictures[-1])
    for picture in pictures:
        for chunk in (picture, empty, empty):
            index += struct.pack("<4sIII", b"00dc", 16, len(movi), len(chunk) - 8)
            movi += chunk
    body = head + struct.pack("<4sI", b"LIST", len(movi)) + movi + struct.pack("<4sI", b"idx1", len(index)) + index
    (tmp_path / "drops.avi").write_bytes(b"RIFF" + struct.pack("<I", len(body) - 8) + body[8:])
    frames = read(tmp_path / "drops.avi")
    assert len(pictures) == len(frames) == 24 and "24 pictures could be read, its header counts 72" in caplog.text
    np.testing.assert_allclose(np.diff([frame.t_s for frame in frames]), 3 / FPS, atol=2e-3)


def test_a_count_that_the_file_cannot_hold_is_not_believed(tmp_path: Path) -> None:
    write_video(tmp_path / "walk.avi", "MJPG")
    data = (tmp_path / "walk.avi").read_bytes()
    (tmp_path / "walk.avi").write_bytes(data.replace(struct.pack("<I", 24), struct.pack("<I", 2**31 - 1)))
    with open_source(str(tmp_path / "walk.avi")) as source:
        assert source.info.frames is None or source.info.frames <= len(data)
        assert len(list(source)) == 24
