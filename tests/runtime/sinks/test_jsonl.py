"""JSON lines: written as they come, whatever the path leads to."""

from __future__ import annotations

import gzip
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime import MissingError, Pose, PoseFrame, UsageError
from posemoe_edge.runtime.sinks import Sink, open_sink
from posemoe_edge.runtime.sinks import jsonl as jsonl_module

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="named pipes and devices of Linux")


def frame(i: int, *people: int) -> PoseFrame:
    """Poses that tell their frame and person in the hip's x."""

    def pose(person: int) -> Pose:
        xyz_m = np.full((17, 3), i + person / 10, np.float32)
        return Pose(xyz_m, np.ones(17, np.float32), i * 0.02, 0.02, 0, "none", person=person)

    return PoseFrame(i * 0.02, {person: pose(person) for person in people or (0, 1)})


def rows(path: Path) -> list[tuple[float, int, float]]:
    """Time, person and the hip's x of each line."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [(record["t_s"], record["person"], record["xyz_m"][0][0]) for record in records]


EXPECTED = [(0.0, 0, 0.0), (0.0, 1, 0.1), (0.02, 0, 1.0), (0.02, 1, 1.1)]


def test_json_lines_hold_one_person_and_frame_each(tmp_path: Path) -> None:
    path = tmp_path / "poses.jsonl"
    with open_sink(f"jsonl:{path}") as sink:
        assert isinstance(sink, Sink)
        sink.write(frame(0))
        sink.write(frame(1))
    assert rows(path) == EXPECTED and list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) & 0o044 or sys.platform == "win32"


def test_json_lines_go_to_stdout_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    with open_sink("jsonl:-") as sink:
        sink.write(frame(0))
        assert len(capsys.readouterr().out.splitlines()) == 2
    print("still open")
    assert capsys.readouterr().out == "still open\n"


def test_lines_are_in_the_file_within_the_flush_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl_module, "FLUSH_S", 0.0)
    with open_sink(f"jsonl:{tmp_path / 'poses.jsonl'}") as sink:
        sink.write(frame(0))
        assert rows(tmp_path / "poses.jsonl") == EXPECTED[:2]


@LINUX
def test_a_killed_run_keeps_all_but_its_last_second(tmp_path: Path) -> None:
    """The program writes a frame every 20 ms and says which; after a kill -9 a second's worth may be missing, and no more."""
    program = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_jsonl import frame
from posemoe_edge.runtime.sinks import open_sink
sink = open_sink("jsonl:poses.jsonl")
for i in range(10_000):
    sink.write(frame(i))
    print(i, flush=True)
    time.sleep(0.02)
"""
    running = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    for line in running.stdout:
        if int(line) == 120:
            break
    running.send_signal(signal.SIGKILL)
    running.wait()
    complete = (tmp_path / "poses.jsonl").read_text().rpartition("\n")[0]
    kept = [json.loads(line) for line in complete.splitlines()]
    assert len(kept) >= 2 * (120 - 51)  # of two people; 50 frames are a second


def test_an_error_keeps_the_lines_so_far(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_sink(f"jsonl:{tmp_path / 'poses.jsonl'}") as sink:
        sink.write(frame(0))
        raise KeyboardInterrupt
    assert rows(tmp_path / "poses.jsonl") == EXPECTED[:2]


def test_a_run_without_poses_is_an_empty_file_and_an_aborted_one_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "poses.jsonl"
    path.write_text("old\n")
    with pytest.raises(KeyboardInterrupt), open_sink(f"jsonl:{path}") as sink:
        raise KeyboardInterrupt
    assert path.read_text() == "old\n" and getattr(sink, "written", "") is None
    with open_sink(f"jsonl:{path}?append=1") as sink:
        sink.write(PoseFrame(0.0, {}))
    assert path.read_text() == "old\n"
    with open_sink(f"jsonl:{path}") as sink:
        sink.write(PoseFrame(0.0, {}))
    assert path.read_text() == "" and getattr(sink, "written", "") == path


def test_appending_goes_on_after_a_line_that_a_crash_left(tmp_path: Path) -> None:
    path = tmp_path / "poses.jsonl"
    path.write_text('{"complete": 1}\n{"half": ')
    with open_sink(f"jsonl:{path}?append=1") as sink:
        sink.write(frame(0, 1))
    lines = path.read_text().splitlines()
    assert lines[:2] == ['{"complete": 1}', '{"half": '] and json.loads(lines[2])["person"] == 1 and len(lines) == 3


def test_a_file_that_is_large_enough_is_moved_away_whole(tmp_path: Path) -> None:
    path = tmp_path / "poses.jsonl"
    (tmp_path / "poses.jsonl.1").write_text("of an older run")
    with open_sink(f"jsonl:{path}?rotate_mb=0.001") as sink:  # a frame of two people is larger
        for i in range(3):
            sink.write(frame(i))
    assert rows(tmp_path / "poses.jsonl.2") == EXPECTED[:2] and rows(tmp_path / "poses.jsonl.3") == EXPECTED[2:]
    assert (tmp_path / "poses.jsonl.1").read_text() == "of an older run" and len(list(tmp_path.iterdir())) == 4


def test_a_file_that_is_old_enough_is_moved_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    with open_sink(f"jsonl:{tmp_path / 'poses.jsonl'}?rotate_s=60") as sink:
        sink.write(frame(0))
        now_s = 161.0
        sink.write(frame(1))
        sink.write(frame(2))
    assert rows(tmp_path / "poses.jsonl.1") == EXPECTED and len(rows(tmp_path / "poses.jsonl")) == 2


@pytest.mark.parametrize("options", ["rotate=1", "rotate_mb=large", "rotate_s=-1", "append=inf"])
def test_a_wrong_option_says_which_there_are(tmp_path: Path, options: str) -> None:
    with pytest.raises(UsageError, match="append=NUMBER, rotate_mb=NUMBER, rotate_s=NUMBER"):
        open_sink(f"jsonl:{tmp_path / 'poses.jsonl'}?{options}")


def test_where_nothing_can_be_written_is_said_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="mkdir -p"):
        open_sink(f"jsonl:{tmp_path / 'nowhere' / 'poses.jsonl'}")
    with pytest.raises(UsageError, match="is a folder"):
        open_sink(f"jsonl:{tmp_path}")


@LINUX
def test_a_link_leads_to_the_lines(tmp_path: Path) -> None:
    real, link = tmp_path / "real.jsonl", tmp_path / "latest.jsonl"
    link.symlink_to(real.name)
    with open_sink(f"jsonl:{link}") as sink:
        sink.write(frame(0))
    assert link.is_symlink() and rows(real) == EXPECTED[:2]


@LINUX
def test_a_named_pipe_is_written_to(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.extend(pipe.read_text().splitlines()))
    reader.start()
    with open_sink(f"jsonl:{pipe}") as sink:
        sink.write(frame(0))
    reader.join(60)
    assert len(read) == 2 and pipe.is_fifo()


@LINUX
def test_a_device_stays_a_device() -> None:
    with open_sink("jsonl:/dev/null") as sink:
        sink.write(frame(0))
    assert Path("/dev/null").is_char_device()


@LINUX
def test_a_pipe_of_the_shell_is_written_to(tmp_path: Path) -> None:
    """``jsonl:>(gzip > poses.gz)`` is ``/dev/fd/N``."""
    reading, writing = os.pipe()
    with open_sink(f"jsonl:/dev/fd/{writing}") as sink:
        sink.write(frame(0))
    os.close(writing)
    with os.fdopen(reading) as lines:
        (tmp_path / "poses.gz").write_bytes(gzip.compress(lines.read().encode()))
    assert len(gzip.decompress((tmp_path / "poses.gz").read_bytes()).splitlines()) == 2
