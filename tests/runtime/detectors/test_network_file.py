"""A network's file is looked at before a library opens it."""

from __future__ import annotations

from pathlib import Path

import pytest
from posemoe_edge.runtime.detectors.network_file import check_network_file
from posemoe_edge.runtime.errors import ArtefactError, MissingError

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:9ba9dd3d\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"net\.tflite is empty; expected a network"),
        (LFS_POINTER, r"net\.tflite is a Git LFS pointer.*run: git lfs pull --include net\.tflite"),
        (b"<!DOCTYPE html>\n<html lang=en>", "is a web page"),
        (b"\xef\xbb\xbf \n<HTML><head>", "is a web page"),
    ],
)
def test_what_was_downloaded_in_place_of_a_network_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "net.tflite").write_bytes(content)
    with pytest.raises(ArtefactError, match=message):
        check_network_file(tmp_path / "net.tflite", expected="a network")


def test_a_missing_file_is_missing_in_the_environment(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no file .*net\.onnx; expected a network"):
        check_network_file(tmp_path / "net.onnx", expected="a network")


def test_any_other_content_is_left_to_the_library(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(600))
    check_network_file(tmp_path / "net.tflite", expected="a network")
