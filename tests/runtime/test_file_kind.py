"""What stands in place of a file, under every name that a user's file can have."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime import load
from posemoe_edge.runtime.artefact.files import read_checked, record_bytes
from posemoe_edge.runtime.artefact.signature import sign_manifest
from posemoe_edge.runtime.errors import ArtefactError, PoseEdgeError, SourceError, UsageError
from posemoe_edge.runtime.file_kind import check_stand_in, find_stand_in
from posemoe_edge.runtime.sources.keypoints_file import KeypointsFileSource
from posemoe_edge.runtime.sources.uri import open_source
from posemoe_edge.runtime.toml_file import read_toml

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:9ba9dd3d\nsize 12345\n"
STAND_INS = {
    "pointer": (POINTER, "a Git LFS pointer, not the file itself.*git lfs pull"),
    "pointer of Windows": (POINTER.replace(b"\n", b"\r\n"), "a Git LFS pointer"),
    "annex": (b"../../.git/annex/objects/x1/Z9/SHA256E-s7--ab.npz/SHA256E-s7--ab.npz\n", "a git-annex pointer"),
    "page": (b"<!DOCTYPE html>\n<html lang=en>" + b" " * 900, "a web page, not the file that it links to"),
    "page after a comment": (b"<!-- saved from -->\r\n<HTML><head>", "a web page"),
    "page in UTF-16": ("\ufeff<html>".encode("utf-16-le"), "a web page"),
    "error in XML": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "a server's error message"),
    "error in JSON": (b'{"message": "Not Found", "status": "404"}', "a server's error message"),
    "error in words": (b"404: Not Found", r"a server's error message \(404: Not Found\)"),
    "empty": (b"", "is empty"),
    "zeros": (bytes(400), "blank: it starts with zeros"),
    "gzip": (b"\x1f\x8b\x08" + bytes(40), "a gzip archive"),
}


@pytest.mark.parametrize(("content", "message"), STAND_INS.values(), ids=list(STAND_INS))
@pytest.mark.parametrize("text", [False, True])
def test_a_stand_in_is_named_in_place_of_binaries_and_of_texts(
    tmp_path: Path, content: bytes, message: str, text: bool
) -> None:
    (tmp_path / "my file").write_bytes(content)
    with pytest.raises(ArtefactError, match=message):
        check_stand_in(tmp_path / "my file", expected="a file", text=text)


def test_json_and_xml_stand_in_for_binaries_only(tmp_path: Path) -> None:
    for content in (b'{"subject": [1, 2]}', b"[\n]", b'<?xml version="1.0"?><opencv_storage>'):
        (tmp_path / "x").write_bytes(content)
        assert find_stand_in(tmp_path / "x") is not None and find_stand_in(tmp_path / "x", text=True) is None


def test_files_of_the_formats_themselves_are_not_stopped(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, x=np.zeros(3))
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    contents = (
        stream.getvalue(),
        len(header).to_bytes(8, "little") + header + bytes(4),
        b"\x1c\x00\x00\x00TFL3" + bytes(600),
        b"\x08\x08\x12\x04onnx",
        b"\x89MCAP0\r\n",
        b"\x00\x00\x00\x20ftypisom",
        b"404 405 406\n",
    )
    for content in contents:
        (tmp_path / "x").write_bytes(content)
        assert find_stand_in(tmp_path / "x") is None


def test_the_command_of_a_pointer_can_be_pasted(tmp_path: Path) -> None:
    (tmp_path / "it's a walk.npz").write_bytes(POINTER)
    stand_in = find_stand_in(tmp_path / "it's a walk.npz")
    assert stand_in is not None and stand_in.run == """git lfs pull --include 'it'"'"'s a walk.npz'"""


@pytest.mark.parametrize("content", [POINTER, b"<html>", b""], ids=["pointer", "page", "empty"])
@pytest.mark.parametrize("form", ["kpts:{}.npz", "{}.mp4", "{}.jpg", "mcap:{}.mcap#/camera", "kpts:{}.jsonl"])
def test_sources_name_what_stands_in_their_place(tmp_path: Path, form: str, content: bytes) -> None:
    uri = form.format(tmp_path / "walk")
    (tmp_path / uri.partition("#")[0].rpartition("/")[2]).write_bytes(content)
    with pytest.raises(PoseEdgeError) as raised, open_source(uri) as source:
        list(source)
    assert any(noun in str(raised.value) for noun in ("Git LFS pointer", "a web page", "is empty")), raised.value
    assert "pickle" not in str(raised.value)


@pytest.mark.parametrize("name", ["run.mp4", "run.png"])
def test_what_is_no_video_and_no_picture_is_said_before_a_detector_is_asked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(SourceError, match="a Git LFS pointer"):
        open_source(str(tmp_path / name))
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n")  # a picture is no stand-in: FFmpeg reads it, whatever its name
    open_source(str(tmp_path / name)).close()


def test_a_folder_of_pointers_says_so(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    for number in (1, 2):
        (tmp_path / f"{number}.jpg").write_bytes(POINTER)
    with open_source(str(tmp_path)) as source, pytest.raises(SourceError, match=r"1\.jpg is a Git LFS pointer"):
        list(source)


def test_a_standalone_graph_a_signature_and_a_key_that_are_pointers_say_so(certified_artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "step.onnx").write_bytes(POINTER)
    with pytest.raises(ArtefactError, match=r"step\.onnx is a Git LFS pointer"):
        load(tmp_path / "step.onnx")
    (tmp_path / "key.pem").write_bytes(POINTER)
    with pytest.raises(UsageError, match=r"key\.pem is a Git LFS pointer"):
        sign_manifest(certified_artefact / "manifest.json", b"{}", tmp_path / "key.pem")
    (certified_artefact / "manifest.sig").write_bytes(POINTER)
    with pytest.raises(ArtefactError, match=r"manifest\.sig is a Git LFS pointer"):
        load(certified_artefact)


def test_a_file_of_an_artefact_is_named_before_its_size(tmp_path: Path) -> None:
    (tmp_path / "step.fp32.onnx").write_bytes(POINTER)
    with pytest.raises(ArtefactError, match=r"a Git LFS pointer.*git lfs pull"):
        read_checked(tmp_path / "step.fp32.onnx", record_bytes(b"graph"), source="the manifest", run="posemoe-edge export")


def test_a_byte_order_mark_is_no_part_of_a_toml(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf[train]\r\nseed = 3\r\n")
    assert read_toml(tmp_path / "a.toml") == {"train": {"seed": 3}}
    (tmp_path / "b.toml").write_bytes(POINTER)
    with pytest.raises(UsageError, match="a Git LFS pointer"):
        read_toml(tmp_path / "b.toml")


def test_numpys_advice_to_allow_pickles_is_not_passed_on(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickled.npz", keypoints=np.array([{}], object))
    with pytest.raises(SourceError, match="it holds pickled objects") as raised:
        KeypointsFileSource(tmp_path / "pickled.npz")
    assert "allow_pickle" not in str(raised.value)
