"""Sinks whose path is no ordinary file, leads to one, or is the source's own."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime.artefact.atomic import AtomicFile
from posemoe_edge.runtime.destination import check_apart, check_destination, check_space, is_special
from posemoe_edge.runtime.errors import MissingError, PoseEdgeError, UsageError
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.sinks import check_sinks, jsonl, open_sink
from posemoe_edge.runtime.sources import open_source
from posemoe_edge.runtime.sources.image_files import ImageFilesSource
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints


@pytest.fixture
def frame() -> PoseFrame:
    xyz_m = np.random.default_rng(0).random((17, 3), np.float32)  # (17, 3)
    return PoseFrame(0.0, {0: Pose(xyz_m, np.ones(17, np.float32), t_s=0.0, dt_s=0.02, latency_frames=0, gap="none")})


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A copy of the node of /dev/null."""
    try:
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        (tmp_path / "null").write_bytes(b"x")
    except PermissionError:
        pytest.skip("only root may make device nodes")
    return tmp_path / "null"


@pytest.mark.parametrize("kind", ["jsonl", "png"])
def test_a_device_stays_one(device: Path, frame: PoseFrame, kind: str) -> None:
    with open_sink(f"{kind}:{device}") as sink:
        sink.write(frame)
    assert stat.S_ISCHR(device.stat().st_mode) and not list(device.parent.glob(".*"))


@pytest.mark.parametrize("spec", ["mcap:{}", "rerun:{}.rrd"])
def test_recordings_refuse_a_device(device: Path, spec: str) -> None:
    pytest.importorskip(spec.partition(":")[0])
    device.rename(device.with_suffix(".rrd")) if spec.endswith(".rrd") else None
    with pytest.raises(UsageError, match="no plain file"):
        open_sink(spec.format(device))


def test_a_named_pipe_is_waited_for_and_gets_every_line(
    tmp_path: Path, frame: PoseFrame, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    sink, waits = open_sink(f"jsonl:{tmp_path / 'pipe'}"), threading.Event()

    def read_late() -> None:
        waits.wait(5)
        read.append((tmp_path / "pipe").read_text())

    reader = threading.Thread(target=read_late)
    reader.start()
    threading.Timer(0.3, waits.set).start()
    with sink:
        for _ in range(3):
            sink.write(frame)
    reader.join(5)
    assert read[0].count("\n") == 3 and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert "waiting for a reader of the pipe" in caplog.text


def test_a_named_pipe_that_nobody_reads_is_an_error(tmp_path: Path, frame: PoseFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "READER_WITHIN_S", 0.1)
    os.mkfifo(tmp_path / "pipe")
    sink = open_sink(f"jsonl:{tmp_path / 'pipe'}")
    with pytest.raises(MissingError, match="nobody reads the pipe"):
        sink.write(frame)
    sink.abort()


def test_the_reader_of_a_pipe_that_goes_is_named(tmp_path: Path, frame: PoseFrame) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    sink = open_sink(f"jsonl:{tmp_path / 'pipe'}")
    sink.write(frame)
    os.close(reader)
    with pytest.raises(MissingError, match=r"the reader of .*pipe is gone"):
        sink.write(frame)
    sink.abort()


def test_a_descriptor_is_written_through(tmp_path: Path, frame: PoseFrame) -> None:
    reader, writer = os.pipe()
    with open_sink(f"jsonl:/dev/fd/{writer}") as sink:
        sink.write(frame)
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert len(lines.readlines()) == 1
    with pytest.raises(MissingError, match="is not open"):
        open_sink(f"jsonl:/dev/fd/{writer}")


@pytest.mark.parametrize("kind", ["jsonl", "png"])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed_and_stays(tmp_path: Path, frame: PoseFrame, kind: str, there: bool) -> None:
    (tmp_path / "data").mkdir()
    if there:
        (tmp_path / "data/real").write_text("old")
    (tmp_path / "latest").symlink_to("data/real")
    with open_sink(f"{kind}:{tmp_path / 'latest'}") as sink:
        sink.write(frame)
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "data/real").read_bytes() not in (b"old", b"")


def test_a_link_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to("no/folder")
    with pytest.raises(UsageError, match="leads nowhere"):
        check_destination(tmp_path / "loop")
    with pytest.raises(MissingError, match=r"no folder .*/no"):
        check_destination(tmp_path / "lost")


def test_a_draft_is_copied_into_what_cannot_be_replaced(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    draft = AtomicFile(Path(f"/dev/fd/{writer}"))
    draft.partial.write_bytes(b"content")
    draft.commit()
    os.close(writer)
    with os.fdopen(reader, "rb") as lines:
        assert lines.read() == b"content"
    assert not draft.partial.exists()


@pytest.mark.parametrize("name", ["in.npz", "./in.npz", "hard.npz", "soft.npz"])
def test_a_sink_over_its_source_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_keypoints("in.npz", keypoints=np.zeros((2, 17, 3)))
    Path("hard.npz").hardlink_to("in.npz")
    Path("soft.npz").symlink_to("in.npz")
    with open_source("kpts:in.npz") as source, open_sink(f"jsonl:{name}") as sink:
        with pytest.raises(UsageError, match=r"is the source in\.npz itself"):
            check_sinks([sink], source)
        sink.abort()
    assert Path("in.npz").read_bytes().startswith(b"PK")


def test_a_picture_of_the_source_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"picture")
    sink = open_sink(f"png:{tmp_path / '1.png'}")
    with pytest.raises(UsageError, match="the source"):
        check_sinks([sink], ImageFilesSource(tmp_path))
    sink.abort()


def test_one_path_given_twice_is_refused_but_a_device_takes_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b").symlink_to("a")
    for again in (Path("a"), Path("./a"), tmp_path / "a", Path("b")):
        with pytest.raises(UsageError, match="written twice"):
            check_apart([Path("a"), again], [])
    check_apart([Path("a"), Path("c")], [])
    assert is_special(Path(os.devnull))
    check_apart([Path(os.devnull)] * 2, [])


def test_a_disk_that_is_too_small_is_said_with_its_place_and_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=rf"{tmp_path} has .* MB left, and a\.jsonl needs about 1000000000000\.0 MB"):
        check_space(tmp_path / "a.jsonl", 10**18)
    check_space(tmp_path / "a.jsonl", 10)


def test_of_a_disk_that_runs_full_the_complete_lines_are_kept(tmp_path: Path, frame: PoseFrame) -> None:
    sink = open_sink(f"jsonl:{tmp_path / 'a.jsonl'}")
    sink.write(frame)
    sink._flush(sink._stream)  # type: ignore[attr-defined]
    whole = (tmp_path / "a.jsonl").read_bytes()
    with (tmp_path / "a.jsonl").open("ab") as half:
        half.write(b'{"half')

    def full(text: str) -> int:
        raise OSError(28, "No space left on device")

    sink._stream.write = full  # type: ignore[attr-defined]
    with pytest.raises(PoseEdgeError, match=r"a\.jsonl cannot be written to \(No space left on device\)"):
        sink.write(frame)
    sink.abort()
    assert (tmp_path / "a.jsonl").read_bytes() == whole
