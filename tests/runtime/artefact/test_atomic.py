"""Atomic files: complete at their path, or not there."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest
from posemoe_edge.runtime.artefact.atomic import AtomicFile, write_atomically, write_together
from posemoe_edge.runtime.artefact.files import sha256
from posemoe_edge.runtime.errors import MissingError, UsageError


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for data in (b"first", b"", b"second" * 1000):
        write_atomically(path, data)
        assert path.read_bytes() == data and list(tmp_path.iterdir()) == [path]
        assert sha256(path) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, MemoryError])
@pytest.mark.parametrize("when", ["write_bytes", "chmod", "replace"])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_interruption_leaves_the_old_file_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], when: str, old: bytes | None
) -> None:
    path = tmp_path / "a.bin"
    if old is not None:
        path.write_bytes(old)

    def interrupted(self: Path, *args: object) -> None:
        raise error

    monkeypatch.setattr(Path, when, interrupted)
    with pytest.raises(error):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == ([] if old is None else [path])
    assert old is None or path.read_bytes() == old


def test_a_draft_is_not_at_its_path_before_it_is_committed(tmp_path: Path) -> None:
    draft = AtomicFile(tmp_path / "a.txt")
    draft.partial.write_text("half")
    assert not draft.path.exists() and draft.partial.parent == tmp_path
    draft.commit()
    assert draft.path.read_text() == "half" and list(tmp_path.iterdir()) == [draft.path]


def test_a_discarded_draft_leaves_nothing_and_may_be_discarded_again(tmp_path: Path) -> None:
    draft = AtomicFile(tmp_path / "a.txt")
    draft.discard()
    draft.discard()
    assert list(tmp_path.iterdir()) == []


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_atomically(tmp_path / "ours", b"")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_path_that_cannot_be_written_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        AtomicFile(tmp_path)
    with pytest.raises(MissingError, match=r"run: mkdir -p .*nowhere"):
        AtomicFile(tmp_path / "nowhere" / "a.txt")


def test_files_that_belong_together_are_all_complete_before_the_first_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "weights", tmp_path / "record"]
    write_together({path: b"old" for path in paths})
    write = Path.write_bytes

    def full_disk(self: Path, data: bytes) -> int:
        if self.name.startswith(".record"):
            raise OSError("no space left")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_together({path: b"new" for path in paths})
    assert [path.read_bytes() for path in paths] == [b"old", b"old"] and sorted(tmp_path.iterdir()) == sorted(paths)
