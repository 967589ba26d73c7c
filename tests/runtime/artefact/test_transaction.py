"""Transactions: a record and the files that it names by hash, changed as one."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from posemoe_edge.runtime import load
from posemoe_edge.runtime.artefact import transaction
from posemoe_edge.runtime.artefact.atomic import AtomicFile, draft_folder, write_atomically
from posemoe_edge.runtime.artefact.files import FileRecord, read_checked, record_bytes
from posemoe_edge.runtime.artefact.manifest import read_manifest, replace_files
from posemoe_edge.runtime.artefact.transaction import commit, locked, staged_folder
from posemoe_edge.runtime.errors import ArtefactError, MissingError

HELD = """
import sys, time
from pathlib import Path
from posemoe_edge.runtime.artefact.atomic import AtomicFile
AtomicFile(Path(sys.argv[1])).partial.write_text("half")
print("held", flush=True)
sys.stdin.read()
"""


def records(files: dict[str, bytes]) -> dict[str, FileRecord]:
    return {name: record_bytes(data) for name, data in files.items()}


def stage(record: Path, files: dict[str, bytes]) -> None:
    """What a writer leaves that is killed after the record took its place and before the files got their names."""
    staged_folder(record).mkdir()
    for data in files.values():
        (staged_folder(record) / record_bytes(data).sha256).write_bytes(data)


def read(folder: Path, name: str, data: bytes) -> bytes:
    return read_checked(folder / name, record_bytes(data), source="the record", run="again")


def test_files_and_record_are_changed_and_what_is_named_no_more_goes(tmp_path: Path) -> None:
    old, new = {"a": b"1", "b": b"2"}, {"a": b"3", "c": b"4"}
    for before, after in (({}, old), (old, new)):
        with locked(tmp_path):
            commit(tmp_path / "r.json", repr(after).encode(), after, before=records(before), after=records(after))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {**new, "r.json": repr(new).encode()}


def test_two_files_of_one_content_both_get_their_names(tmp_path: Path) -> None:
    with locked(tmp_path):
        commit(tmp_path / "r.json", b"", {"a": b"1", "b": b"1"}, before={}, after=records({"a": b"1", "b": b"1"}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "r.json"]


def test_a_file_without_its_name_yet_is_found_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    stage(tmp_path / "r.json", {"a": b"new", "b": b"first"})
    assert read(tmp_path, "a", b"new") == b"new" and read(tmp_path, "b", b"first") == b"first"
    with pytest.raises(ArtefactError, match="was changed"):
        read(tmp_path, "a", b"wow")


def test_the_next_writer_finishes_what_a_killed_one_left(tmp_path: Path) -> None:
    stage(tmp_path / "r.json", {"a": b"new"})
    (staged_folder(tmp_path / "r.json") / "dropped.z").touch()
    (tmp_path / "z").touch()
    before = records({"a": b"new"})
    with locked(tmp_path):
        commit(tmp_path / "r.json", b"", {"b": b"2"}, before=before, after={**before, **records({"b": b"2"})})
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "r.json"} and (tmp_path / "a").read_bytes() == b"new"


def test_a_failure_before_the_record_is_in_place_leaves_the_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(tmp_path):
        commit(tmp_path / "r.json", b"old", {"a": b"1"}, before={}, after=records({"a": b"1"}))

    def full(path: Path, data: bytes) -> None:
        if path.name == "r.json":
            raise OSError("no space left")
        write_atomically(path, data)

    monkeypatch.setattr(transaction, "write_atomically", full)
    with locked(tmp_path), pytest.raises(OSError, match="no space"):
        commit(tmp_path / "r.json", b"new", {"a": b"2"}, before=records({"a": b"1"}), after=records({"a": b"2"}))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"1", "r.json": b"old"}


def test_writers_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered = threading.Event()
    with locked(tmp_path):

        def second() -> None:
            with locked(tmp_path):
                entered.set()

        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.1)
        monkeypatch.setattr(transaction, "PATIENCE_S", 0.0)
        with pytest.raises(MissingError, match="another process is writing"), locked(tmp_path):
            pass
    assert entered.wait(10)
    thread.join(10)


def test_an_artefact_loads_between_its_new_manifest_and_its_new_names(
    copied_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = copied_artefact / "step.fp32.onnx"
    changed = graph.read_bytes() + b"\x72\x00"  # an empty metadata entry

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(transaction, "_give_names", killed)
        replace_files(copied_artefact, read_manifest(copied_artefact), {graph.name: changed})
    assert graph.read_bytes() != changed
    assert load(copied_artefact).identity == record_bytes(changed).sha256
    replace_files(copied_artefact, read_manifest(copied_artefact), {})
    assert graph.read_bytes() == changed and not staged_folder(copied_artefact / "manifest.json").exists()


def test_drafts_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    process = subprocess.Popen(
        [sys.executable, "-c", HELD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    with process:
        assert process.stdout.readline() == "held\n"
        (draft,) = tmp_path.iterdir()
        write_atomically(path, b"mine")
        assert sorted(tmp_path.iterdir()) == sorted([draft, path])
        process.kill()
    write_atomically(path, b"mine")
    assert list(tmp_path.iterdir()) == [path]


def test_a_draft_folder_of_an_older_version_goes(tmp_path: Path) -> None:
    (tmp_path / ".export.xyz.part.old" / "inner").mkdir(parents=True)
    with draft_folder(tmp_path, "export") as draft:
        (draft / "a").touch()
        handle = os.open(draft.parent, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
        assert list(tmp_path.iterdir()) == [draft.parent]
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_and_what_it_leads_to_is_renewed(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "a").write_bytes(b"old")
    (tmp_path / "current").symlink_to("v1/a")
    write_atomically(tmp_path / "current", b"new")
    assert (tmp_path / "current").is_symlink() and (tmp_path / "v1" / "a").read_bytes() == b"new"


def test_a_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    draft = AtomicFile(tmp_path / "key", mode=0o600)
    draft.commit()
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
