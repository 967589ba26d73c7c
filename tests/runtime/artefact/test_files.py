"""File records: what counts as the same file, and what is said of one that is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from posemoe_edge.runtime import load
from posemoe_edge.runtime.artefact.certificate import read_certificate
from posemoe_edge.runtime.artefact.files import read_checked, record_bytes
from posemoe_edge.runtime.artefact.manifest import check_file, read_manifest
from posemoe_edge.runtime.artefact.room import check_room
from posemoe_edge.runtime.errors import ArtefactError, MissingError, UsageError


@pytest.mark.parametrize("changed", [b"\xef\xbb\xbf{}", b"{}\n", b"{}\n\n", b"\xef\xbb\xbf{}\r\n"])
def test_what_editors_and_hooks_add_to_a_text_does_not_count(tmp_path: Path, changed: bytes) -> None:
    for name in ("a.json", "a.bin"):
        (tmp_path / name).write_bytes(changed)
    assert read_checked(tmp_path / "a.json", record_bytes(b"{}"), source="the manifest", run="x") == b"{}"
    with pytest.raises(ArtefactError):
        read_checked(tmp_path / "a.bin", record_bytes(b"{}"), source="the manifest", run="x")


def test_a_line_end_at_the_end_that_was_taken_away_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    assert read_checked(tmp_path / "a.json", record_bytes(b"{}\n"), source="the manifest", run="x") == b"{}\n"
    (tmp_path / "a.json").write_bytes(b"{ }")
    with pytest.raises(ArtefactError, match="was changed"):
        read_checked(tmp_path / "a.json", record_bytes(b"{}\n"), source="the manifest", run="x")


def test_line_ends_of_a_binary_that_holds_returns_of_its_own_are_named(tmp_path: Path) -> None:
    own = b"a\rb\nc\r"
    (tmp_path / "step.onnx").write_bytes(own.replace(b"\n", b"\r\n"))
    with pytest.raises(ArtefactError, match=r"the line ends of .* were changed, as git does"):
        read_checked(tmp_path / "step.onnx", record_bytes(own), source="the manifest", run="x")


def test_an_artefact_whose_texts_went_through_git_is_the_same(certified_artefact: Path) -> None:
    """``sed -i 's/$/\\r/'`` also ends the last line, which has no line feed."""
    before = load(certified_artefact).certificate
    for path in certified_artefact.glob("*.json"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r")
    manifest = read_manifest(certified_artefact)
    for name in manifest.files:
        check_file(certified_artefact, manifest, name)
    assert before is not None and read_certificate(certified_artefact, manifest) == before
    assert load(certified_artefact).certificate == before


def test_a_binary_file_with_other_line_ends_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"two\r\nlines\r\n")
    with pytest.raises(ArtefactError, match=r"line ends .* git .*\* -text"):
        read_checked(path, record_bytes(b"two\nlines\n"), source="the manifest", run="x")


@pytest.mark.parametrize("change", [lambda text: text.replace(b"2", b"3"), lambda text: text[:-1], lambda text: text + b" "])
def test_another_text_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(change(b'{"a": 2}'))
    with pytest.raises(ArtefactError, match=r"has \d bytes|was changed"):
        read_checked(path, record_bytes(b'{"a": 2}'), source="the manifest", run="x")


def test_a_place_without_room_or_permission_is_refused_with_the_size(tmp_path: Path) -> None:
    check_room(tmp_path / "not" / "there" / "yet", 1000)
    with pytest.raises(MissingError, match=rf"{tmp_path} has .* MB left, and what is .* there needs about 1000000000000\.0 MB"):
        check_room(tmp_path / "new", 10**18)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        check_room(tmp_path / "file" / "below", 1)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="is a link that leads nowhere"):
        check_room(tmp_path / "loop", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "loop"}
    if Path("/proc").is_dir():  # root may write anywhere else
        with pytest.raises(MissingError, match=r"/proc cannot be written to .*0\.1 MB"):
            check_room(Path("/proc"), 1000)
