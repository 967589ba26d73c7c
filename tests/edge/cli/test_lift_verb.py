"""``posemoe-edge lift``: what is done, said and returned."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_files import write_video
from posemoe_edge.edge.cli import lift_verb
from posemoe_edge.runtime.archive import clip_lifter, pose_file
from posemoe_edge.runtime.archive.clip_lifter import Outcome
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints

Call = Callable[..., Any]
JSON_LINES_M = 0.51e-4
"""Lines of JSON have 0.1 mm."""


@pytest.fixture
def archive(workdir: Path, walker_keypoints: Callable[..., np.ndarray]) -> Path:
    """A folder ``in`` with three clips of 12 frames in two folders."""
    for name in ("a/walk1.npz", "a/walk2.npz", "b/walk1.npz"):
        path = workdir / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_keypoints(path, keypoints=walker_keypoints(12))
    return workdir / "in"


@pytest.fixture
def lift(run_cli: Call, archive: Path, retention_artefact: Path) -> Call:
    """lift("in", "--json"): into ``out``, by the tiny artefact, in this process."""
    return lambda *words: run_cli("lift", *words, "--out", "out", "--model", retention_artefact, "--workers", 1)


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_archive_is_lifted_and_a_second_call_finds_it_finished(lift: Call, workdir: Path, retention_artefact: Path) -> None:
    result = lift("in", "--json")
    assert result.code == 0
    assert result.json["clips"] == result.json["lifted"] == 3 and result.json["poses"] == result.json["frames"] == 36
    assert (result.json["workers"], result.json["failed"], result.json["interrupted"]) == (1, [], False)
    assert result.json["frames_per_second"] > 0 and "3 clips, 36 frames, 36 poses in" in result.err
    assert written(workdir / "out") == [f"{name}.npz.poses.npz" for name in ("a/walk1", "a/walk2", "b/walk1")]
    assert result.err.splitlines()[-1].startswith("Next: posemoe-edge run kpts:in/a/walk1.npz --model")
    again = lift("in", "--json")
    assert again.code == 0 and (again.json["finished_before"], again.json["lifted"]) == (3, 0)
    other = lift("in", "--json", "--flip")
    assert other.json["outdated"] == other.json["lifted"] == 3 and "3 to lift (3 again" in other.err


def test_two_processes_give_the_same_files(run_cli: Call, archive: Path, workdir: Path, retention_artefact: Path) -> None:
    for workers in (1, 2):
        words = ("--out", f"out{workers}", "--workers", workers, "--model", retention_artefact, "--json")
        assert run_cli("lift", "in", *words).json["workers"] == workers
    assert written(workdir / "out1") == written(workdir / "out2")
    for name in written(workdir / "out1"):
        assert (workdir / "out1" / name).read_bytes() == (workdir / "out2" / name).read_bytes()


def test_a_clip_that_fails_is_listed_and_the_others_are_lifted(lift: Call, archive: Path) -> None:
    (archive / "a" / "broken.npz").write_bytes(b"nonsense")
    result = lift("in", "--json")
    assert result.code == 1 and result.json["lifted"] == 3
    (failed,) = result.json["failed"]
    assert failed["source"] == f"kpts:{archive}/a/broken.npz" and "cannot be read" in failed["what"] and failed["expected"]
    assert "failed: kpts:in/a/broken.npz" in result.err and "1 clip failed" in result.err
    assert result.err.splitlines()[-1].startswith("Next: posemoe-edge run kpts:in/a/broken.npz --model")


def test_many_failures_and_warnings_fill_no_terminal(lift: Call, archive: Path) -> None:
    for n in range(25):
        (archive / f"broken{n}.npz").write_bytes(b"nonsense")
        np.savez(archive / f"nobody{n}.npz", keypoints=np.zeros((60, 17, 3), np.float32))
    result = lift("in", "--json")
    assert len(result.json["failed"]) == 25 and result.err.count("failed: ") == 20 and "25 clips failed" in result.err
    assert result.json["warnings"] >= 25 and "warnings in all" in result.err
    assert sum(line.startswith("Warning: ") for line in result.err.splitlines()) == 21


def test_a_disk_that_is_full_for_one_clip_costs_that_clip(lift: Call, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, *arguments: Any, **options: Any) -> None:
        if "walk2" in path.name:
            raise OSError(28, "No space left on device")
        real(path, *arguments, **options)

    real = pose_file.write_poses
    with monkeypatch.context() as full:
        full.setattr(clip_lifter, "write_poses", write)
        result = lift("in", "--json")
    assert result.code == 1 and result.json["lifted"] == 2 and "No space left" in result.json["failed"][0]["what"]
    assert lift("in", "--json").json["lifted"] == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_keeps_what_is_finished_and_names_the_call_that_goes_on(
    number: signal.Signals, code: int, lift: Call, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = lift_verb._Tally.add

    def add_and_signal(tally: lift_verb._Tally, outcome: Outcome) -> None:
        add(tally, outcome)
        if tally.lifted == 2:
            signal.raise_signal(number)

    monkeypatch.setattr(lift_verb._Tally, "add", add_and_signal)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in the background without it
    try:
        result = lift("in", "--json")
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.code == code and result.json["interrupted"] and result.json["signal"] == number.name
    assert result.json["lifted"] == 2 == len(written(workdir / "out")) and "1 clip left" in result.err
    assert result.err.splitlines()[-1].startswith("Next: posemoe-edge lift in --json --out out --model")


def test_parquet_is_written_where_pyarrow_is_and_else_the_extra_is_named_before_the_work(
    lift: Call, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    result = lift("in", "--format", "parquet", "--json")
    assert result.code == 0 and result.json["format"] == "parquet"
    table = parquet.read_table(workdir / "out" / "a")
    assert table.num_rows == 24 and len(set(table["clip"].to_pylist())) == 2
    assert lift("in", "--format", "parquet", "--json").json["finished_before"] == 3
    shutil.rmtree(workdir / "out")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    without = lift("in", "--format", "parquet", "--json")
    assert without.code == 3 and without.json["run"] == 'pip install "posemoe-edge[parquet]"' and not (workdir / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("in nowhere.npz 'none*.npz'", 3, "no file or folder nowhere.npz"),
        ("in --out in/a/walk1.npz", 2, "is a file"),
        ("in --out in/a/walk1.npz/deep", 2, "is a file"),
        ("empty", 2, "no clips in the folder empty"),
        ("in --stature 1.8", 2, "--stature without a camera"),
        ("in --rotate 90", 2, "keypoints cannot be turned"),
        ("in --workers 0", 2, "workers"),
        ("in --model nowhere", 3, "no artefact at nowhere"),
        ("in --tracker nobody", 2, "no tracker 'nobody'"),
        ("in --detector blazepoes", 2, "no detector 'blazepoes'"),
        ("camera0", 3, "no file or folder camera0"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work(
    words: str, code: int, message: str, run_cli: Call, archive: Path, workdir: Path, retention_artefact: Path
) -> None:
    (workdir / "empty").mkdir()
    given = shlex.split(words)
    for option, value in (("--out", "out"), ("--model", str(retention_artefact))):
        given += [] if option in given else [option, value]
    result = run_cli("lift", *given, "--json")
    assert result.code == code and message in result.json["what"] and not (workdir / "out").exists()


def test_a_video_without_the_networks_of_the_detector_is_one_error_before_the_work(
    lift: Call, archive: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEMOE_EDGE_CACHE", str(workdir / "cache"))
    (archive / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    result = lift("in", "--json")
    assert result.code == 3 and result.json["run"] == "posemoe-edge detectors get blazepose" and not (workdir / "out").exists()


def test_a_folder_without_write_permission_is_said_before_the_work(
    lift: Call, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    result = lift("in", "--json")
    assert result.code == 3 and "cannot be written to (Permission denied)" in result.json["what"]


def test_the_result_says_which_clip_it_is_of(lift: Call, archive: Path, workdir: Path) -> None:
    lift("in/b")
    with np.load(workdir / "out" / "walk1.npz.poses.npz") as entries:
        record = json.loads(str(entries["record"]))
    assert record["source"] == f"kpts:{archive}/b/walk1.npz" and record["frames"] == 12


def test_people_of_a_real_video_have_the_poses_of_a_run(
    run_cli: Call, workdir: Path, retention_artefact: Path, blazepose_networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through PyAV, BlazePose and the tracker, in two processes: what `run` finds in the same video."""
    write_video(workdir / "people" / "video.mp4")
    shutil.copy(workdir / "people" / "video.mp4", workdir / "people" / "again.mp4")
    monkeypatch.setenv("POSEMOE_EDGE_CACHE", str(blazepose_networks.parent))
    model = ("--model", retention_artefact, "--json")
    ran = run_cli("run", "people/video.mp4", "--sink", "jsonl:run.jsonl", *model)
    lifted = run_cli("lift", "people", "--out", "out", "--workers", 2, *model)
    assert ran.code == lifted.code == 0 and lifted.json["lifted"] == 2
    assert lifted.json["poses"] == 2 * ran.json["poses"] > 20
    lines = [json.loads(line) for line in (workdir / "run.jsonl").read_text().splitlines()]
    expected = [line["xyz_m"] for line in lines if "xyz_m" in line]
    for name in ("video", "again"):
        with np.load(workdir / "out" / f"{name}.mp4.poses.npz") as poses:
            np.testing.assert_allclose(poses["xyz_m"], expected, rtol=0, atol=JSON_LINES_M)
