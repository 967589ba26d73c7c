"""Pictures and folders of pictures: one frame each, in the order in which people number them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posemoe_edge.runtime.errors import SourceError, UsageError
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.sources import CameraFrame, SourceInfo, open_source
from posemoe_edge.runtime.sources.image_files import natural_order

cv2 = pytest.importorskip("cv2")


def read(uri: str, *, frames: int | None = None) -> list[CameraFrame]:
    with open_source(uri, frames=frames) as source:
        assert source.pictures
        return [item for item in source if isinstance(item, CameraFrame)]


def write(path: Path, shade: int) -> None:
    assert cv2.imwrite(str(path), np.full((30, 40, 3), shade, np.uint8))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".PNG", ".bmp", ".webp"])
def test_a_picture_is_one_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"one{suffix}"
    write(path, 90)
    assert open_source(str(path)).info == SourceInfo(str(path), fps=None, frames=1)
    (frame,) = read(str(path))
    assert frame.t_s == 0 and frame.size == ImageSize(40, 30)
    np.testing.assert_allclose(frame.image_bgr, 90, atol=3)


def test_a_folder_is_a_clip_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 9, 1, 2):
        write(tmp_path / f"frame{number}.png", 20 * number)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._frame1.png").write_bytes(b"what macOS leaves beside a file")
    assert open_source(str(tmp_path)).info == SourceInfo(str(tmp_path), fps=30, frames=4)
    frames = read(f"{tmp_path}?fps=4")
    assert [frame.t_s for frame in frames] == [0, 0.25, 0.5, 0.75]
    assert [frame.image_bgr[0, 0, 0] for frame in frames] == [20, 40, 180, 200]
    assert len(read(str(tmp_path), frames=3)) == open_source(str(tmp_path), frames=3).info.frames == 3


@given(st.lists(st.integers(0, 10**12), unique=True))
def test_numbers_in_names_are_ordered_by_value(numbers: list[int]) -> None:
    names = [Path(f"a{number}b.png") for number in numbers]
    assert sorted(names, key=natural_order) == [Path(f"a{number}b.png") for number in sorted(numbers)]


def test_the_orientation_that_a_phone_wrote_is_applied(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    picture = image.new("RGB", (40, 30))
    picture.paste((255, 255, 255), (0, 0, 10, 30))  # white at the left
    exif = image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: the left becomes the top
    picture.save(tmp_path / "phone.jpg", exif=exif, quality=95)
    (frame,) = read(str(tmp_path / "phone.jpg"))
    assert frame.size == ImageSize(30, 40)
    assert frame.image_bgr[:8].min() > 240 and frame.image_bgr[12:].max() < 15


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 4)], ids=["grey", "with alpha"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_any_kind_of_picture_becomes_three_channels_of_a_byte(tmp_path: Path, shape: tuple[int, ...], kind: Any) -> None:
    half = np.full(shape, np.iinfo(kind).max // 2, kind)
    assert cv2.imwrite(str(tmp_path / "a.png"), half)
    (frame,) = read(str(tmp_path / "a.png"))
    assert frame.image_bgr.shape == (30, 40, 3) and frame.image_bgr.dtype == np.uint8
    np.testing.assert_allclose(frame.image_bgr, 127, atol=1)


def test_a_picture_that_cannot_be_read_costs_one_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.png", 50)
    (tmp_path / "1.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        frames = read(f"{tmp_path}?fps=10")
    assert [frame.t_s for frame in frames] == [0, 0.2]
    assert "1.png cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("content", "alone", "in_a_folder"),
    [
        (b"", "is empty", "is empty"),
        (b"<html>", "is a web page", "is a web page"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "cannot be read as a picture", "none of the 1 pictures in the folder"),
    ],
)
def test_a_file_that_is_no_picture_is_a_source_error(
    tmp_path: Path, content: bytes, alone: str, in_a_folder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.png").write_bytes(content)
    with pytest.raises(SourceError, match=rf"one\.png {alone}"):
        read(str(tmp_path / "one.png"))
    with pytest.raises(SourceError, match=in_a_folder):
        read(str(tmp_path))
    assert capfd.readouterr().err == ""


def test_wrong_names_and_rates_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file nowhere\.jpg"):
        open_source("nowhere.jpg")
    with pytest.raises(SourceError, match=r"no pictures in the folder .*\*\.jpg"):
        open_source(str(tmp_path))
    write(tmp_path / "one.png", 1)
    for query, message in (
        ("fps=0", "fps from 0.001 to 10000"),
        ("fps=nan", "fps from 0.001 to 10000"),
        ("fps=ten", "fps=a number"),
        ("f=1", "no option"),
    ):
        with pytest.raises(UsageError, match=message):
            open_source(f"{tmp_path}?{query}")


def test_the_working_directory_is_a_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one.png", 70)
    monkeypatch.chdir(tmp_path)
    assert len(read(".")) == len(read(".?fps=5")) == 1


def test_a_question_mark_in_a_name_is_part_of_it(tmp_path: Path) -> None:
    write(tmp_path / "who?.png", 70)
    assert len(read(str(tmp_path / "who?.png"))) == 1
