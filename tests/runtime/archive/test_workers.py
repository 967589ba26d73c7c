"""Clips in several processes: the same bits, no clip lost to another one's failure, and a quick end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime.archive.clip_lifter import ClipLifter, Job, LiftOptions, Outcome
from posemoe_edge.runtime.archive.workers import lift_here, lift_in_processes
from posemoe_edge.runtime.errors import MissingError
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints

JobFor = Callable[[Path, Path], Job]
LONG = 100_000  # frames: a minute of work


def long_clip(path: Path) -> Path:
    save_keypoints(path, keypoints=np.random.default_rng(0).uniform(-1, 1, (LONG, 17, 3)).clip(0.1, 1).astype(np.float32))
    return path


def test_two_processes_write_the_same_bytes_as_one_and_go_on_after_a_failure(
    options: LiftOptions, write_clip: Callable[..., Path], job_for: JobFor, tmp_path: Path
) -> None:
    clips = [write_clip(tmp_path / "in" / f"{n}.npz", people=1 + n % 3, frames=10 + n) for n in range(6)]
    (tmp_path / "in" / "broken.npz").write_bytes(b"x")
    clips.insert(1, tmp_path / "in" / "broken.npz")
    outcomes: dict[str, list[Outcome]] = {"one": [], "two": []}
    jobs = {name: [job_for(clip, tmp_path / name / clip.name) for clip in clips] for name in outcomes}
    lift_here(jobs["one"], ClipLifter(options), on_outcome=outcomes["one"].append)
    lift_in_processes(jobs["two"], options, workers=2, on_outcome=outcomes["two"].append)
    for name in outcomes:
        outcomes[name].sort(key=lambda outcome: outcome.source)
        assert [Path(outcome.source).stem for outcome in outcomes[name] if outcome.failure] == ["broken"]
    for one, two in zip(*outcomes.values(), strict=True):
        assert (one.frames, one.people, one.poses, one.failure) == (two.frames, two.people, two.poses, two.failure)
        assert one.failure or one.target.read_bytes() == two.target.read_bytes()


def test_a_process_that_dies_costs_its_clip_alone(
    options: LiftOptions, write_clip: Callable[..., Path], job_for: JobFor, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "poison.jsonl")  # whoever reads it is killed
    poison = Job(f"jsonl:{tmp_path}/poison.jsonl", tmp_path / "poison.jsonl", tmp_path / "out" / "poison", False)
    clips = [write_clip(tmp_path / f"{n}.npz") for n in range(5)]
    jobs = [poison, *(job_for(clip, tmp_path / "out" / clip.name) for clip in clips)]

    over = threading.Event()

    def kill_readers() -> None:
        while not over.wait(0.01):
            try:
                os.close(os.open(poison.path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:  # nobody reads it
                continue
            for child in multiprocessing.active_children():
                child.kill()

    killer = threading.Thread(target=kill_readers, daemon=True)
    killer.start()
    outcomes: list[Outcome] = []
    lift_in_processes(jobs, options, workers=2, on_outcome=outcomes.append)
    over.set()
    killer.join()
    failed = [outcome for outcome in outcomes if outcome.failure]
    assert len(outcomes) == 6 and [outcome.source for outcome in failed] == [poison.source]
    assert failed[0].failure is not None and "died" in str(failed[0].failure["what"])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [clip.name for clip in clips]


def test_an_interrupt_ends_the_clips_in_work_and_keeps_what_is_finished(
    options: LiftOptions, write_clip: Callable[..., Path], job_for: JobFor, tmp_path: Path
) -> None:
    clips = [long_clip(tmp_path / "long.npz"), *(write_clip(tmp_path / f"{n}.npz") for n in range(5))]
    jobs = [job_for(clip, tmp_path / "out" / clip.name) for clip in clips]
    outcomes: list[Outcome] = []

    def interrupt(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lift_in_processes(jobs, options, workers=2, on_outcome=interrupt)
    assert not multiprocessing.active_children()
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert written == {outcome.target.name for outcome in outcomes} and "long.npz" not in written


def test_a_model_that_no_process_can_open_ends_the_work(
    options: LiftOptions, write_clip: Callable[..., Path], job_for: JobFor, tmp_path: Path
) -> None:
    jobs = [job_for(write_clip(tmp_path / "a.npz"), tmp_path / "a.poses.npz")]
    with pytest.raises(MissingError, match="no artefact at /nowhere"):
        lift_in_processes(jobs, replace(options, model="/nowhere"), workers=1, on_outcome=lambda outcome: None)


def alive(group: int) -> list[int]:
    """The processes of a group that are not dead."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, _, pgrp = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except (OSError, ValueError):
                continue
            if int(pgrp) == group and state not in "ZX":
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_processes_end_with_a_parent_that_is_killed_and_a_second_call_does_the_rest(
    retention_artefact: Path, write_clip: Callable[..., Path], tmp_path: Path
) -> None:
    write_clip(tmp_path / "in" / "a.npz")
    long = long_clip(tmp_path / "in" / "b.npz")
    command = [sys.executable, "-m", "posemoe_edge", "lift", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    command += ["--model", str(retention_artefact), "--workers", "2"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    finished = tmp_path / "out" / "a.npz.poses.npz"
    try:
        deadline_s = time.monotonic() + 60
        while not finished.exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert finished.exists() and len(alive(process.pid)) >= 3
        before = finished.stat()
        process.kill()
        process.wait()
        deadline_s = time.monotonic() + 20
        while alive(process.pid) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert not alive(process.pid)
    finally:
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    write_clip(long, frames=12)
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert again.returncode == 0 and "2 clips, 1 finished before, 1 to lift" in again.stderr
    assert finished.stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a.npz.poses.npz", "b.npz.poses.npz"]
