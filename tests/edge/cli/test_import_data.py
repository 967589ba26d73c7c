"""Published data sets and BVH files, from import to training and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bvh_figure import write_bvh
from posemoe_edge.edge.data.camera import sample_camera
from posemoe_edge.edge.data.h36m import H36M17_IN_FILE
from posemoe_edge.edge.data.mocap import load_clips
from posemoe_edge.edge.data.recorded import load_recorded
from posemoe_edge.runtime.pose.skeleton import H36M_ORDERS
from posemoe_edge.runtime.sources.walker import walk_world

Call = Callable[..., Any]
FRAMES = 60
SMALL = ("--rows", 2, "--frames", 4, "--updates", 4, "--no-compile", "--json")
TO_3DHP = list(H36M_ORDERS["3dhp17"])


def walk(seed: int) -> Any:
    return walk_world(np.arange(FRAMES) / 5, seed=seed).astype(np.float32)


@pytest.fixture
def h36m(workdir: Path) -> tuple[Path, Path]:
    """Two subjects, two actions each, four cameras."""
    world: dict[str, Any] = {}
    views: dict[str, Any] = {}
    for n, subject in enumerate(("S1", "S9")):
        world[subject], views[subject] = {}, {}
        cameras = [sample_camera(np.random.default_rng(10 * n + c), walk(n)) for c in range(4)]
        for m, action in enumerate(("Walking 1", "Photo")):
            joints_m = walk(n)[m::2]
            world[subject][action] = np.zeros((len(joints_m), 32, 3), np.float32)
            world[subject][action][:, list(H36M17_IN_FILE)] = joints_m
            views[subject][action] = [camera.project(camera.to_camera(joints_m)) for camera in cameras]
    np.savez("data_3d_h36m.npz", positions_3d=np.array(world, dtype=object))
    np.savez("data_2d_h36m_gt.npz", positions_2d=np.array(views, dtype=object))
    return workdir / "data_3d_h36m.npz", workdir / "data_2d_h36m_gt.npz"


@pytest.fixture
def mpi3dhp(workdir: Path) -> tuple[Path, Path]:
    """A training file of two rates, and a test file of which every third frame does not count."""

    def view(seed: int) -> dict[str, Any]:
        camera = sample_camera(np.random.default_rng(seed), walk(seed))
        points = camera.to_camera(walk(seed))
        return {"data_2d": camera.project(points)[:, TO_3DHP], "data_3d": 1000 * points[:, TO_3DHP]}

    train = {"S1 Seq1": [{"0": view(0), "4": view(1)}, 25], "S2 Seq1": [{"0": view(2)}, 50]}
    held_out = {"TS1": view(3) | {"valid": np.arange(FRAMES) % 3 > 0}, "TS5": view(4) | {"valid": np.ones(FRAMES)}}
    for name, data in (("train", train), ("test", held_out)):
        np.savez(f"data_{name}_3dhp.npz", data=np.array(data, dtype=object))
    return workdir / "data_train_3dhp.npz", workdir / "data_test_3dhp.npz"


@pytest.mark.parametrize("preset", ["tiny-retention", "tiny-attention"])
def test_human36m_from_the_published_files_to_its_figures(
    preset: str, run_cli: Call, h36m: tuple[Path, Path], tiny_presets: None, retention_artefact: Path
) -> None:
    result = run_cli("import", "h36m", h36m[0], "--keypoints", h36m[1], "--json")
    assert result.code == 0 and result.json["data"] == "h36m.npz" and result.json["kind"] == "h36m"
    assert result.json["splits"] == {split: {"sequences": 8, "frames": 8 * FRAMES // 2} for split in ("train", "test")}
    assert max(result.json["error_px"]["S9"]) < 0.1 and result.err.strip().endswith("posemoe-edge train --data h36m.npz")
    trained = run_cli("train", preset, "--data", "h36m.npz", *SMALL)
    assert trained.code == 0 and trained.json["clips"] == 8 and trained.json["val_mpjpe_mm"] is None
    assert "8 recorded sequences" in trained.err
    evaluation = run_cli("eval", retention_artefact, "--data", "h36m.npz", "--json")
    assert evaluation.code == 0 and "as recorded" in evaluation.err and not {"clean", "noisy"} & set(evaluation.json)
    metrics = evaluation.json["recorded"]
    assert list(metrics["mpjpe_mm_by_action"]) == ["Walking", "Photo"] and metrics["frames"] == evaluation.json["frames"]
    assert metrics["mpjpe_mm_of_actions"] == pytest.approx(np.mean(list(metrics["mpjpe_mm_by_action"].values())), abs=0.01)
    assert "S9/Walking 1/cam3" in metrics["mpjpe_mm_by_clip"]


def test_3dhp_from_the_published_files_to_its_figures(
    run_cli: Call, mpi3dhp: tuple[Path, Path], tiny_presets: None, retention_artefact: Path
) -> None:
    result = run_cli("import", "3dhp", *mpi3dhp, "--out", "mpi.npz", "--json")
    assert result.code == 0
    assert result.json["splits"] == {
        "train": {"sequences": 3, "frames": 3 * FRAMES},
        "test": {"sequences": 2, "frames": 2 * FRAMES},
    }
    trained = run_cli("train", "tiny-retention", "--data", "mpi.npz", *SMALL)  # windows at first, then streams
    assert trained.code == 0 and trained.json["clip_frames"] == 3 * FRAMES
    metrics = run_cli("eval", retention_artefact, "--data", "mpi.npz", "--flip", "--json").json
    assert metrics["frames"] == 2 * FRAMES and metrics["recorded"]["frames"] == 2 * FRAMES - FRAMES // 3
    assert set(metrics["recorded"]["mpjpe_mm_by_clip"]) == {"TS1", "TS5"}


def test_test_sequences_get_the_given_rate(run_cli: Call, workdir: Path, mpi3dhp: tuple[Path, Path]) -> None:
    result = run_cli("import", "3dhp", mpi3dhp[1], "--fps", 50)
    assert result.code == 0 and result.err.strip().endswith("posemoe-edge eval --data 3dhp.npz")
    assert load_recorded(workdir / "3dhp.npz")[0].sequence.dt_s[0] == pytest.approx(0.02)


def test_test_sequences_alone_cannot_be_trained_on(run_cli: Call, mpi3dhp: tuple[Path, Path], tiny_presets: None) -> None:
    assert run_cli("import", "3dhp", mpi3dhp[1]).code == 0
    result = run_cli("train", "tiny-retention", "--data", "3dhp.npz", *SMALL)
    assert result.code == 2 and result.json["what"] == "there are no clips to train on"


def test_motion_of_ones_own_from_bvh_to_its_figures(
    run_cli: Call, workdir: Path, tiny_presets: None, retention_artefact: Path
) -> None:
    for n, name in enumerate(("anna/dance", "anna/jump", "val/walk", "test/fall")):
        write_bvh(workdir / "recordings" / f"{name}.bvh", seed=n)
    result = run_cli("import", "bvh", "recordings", "--out", "own.npz", "--json")
    assert result.code == 0 and result.json["kind"] == "bvh"
    assert {split: count["sequences"] for split, count in result.json["splits"].items()} == {"train": 2, "val": 1, "test": 1}
    clips = load_clips(workdir / "own.npz")
    assert {clip.fps for clip in clips} == {50} and [clip.subject for clip in clips][:2] == ["anna", "anna"]
    trained = run_cli("train", "tiny-retention", "--data", "own.npz", *SMALL)
    assert trained.code == 0 and trained.json["val_mpjpe_mm"] > 0
    evaluation = run_cli("eval", retention_artefact, "--data", "own.npz", "--json").json
    assert {"clean", "noisy"} <= set(evaluation) and list(evaluation["noisy"]["mpjpe_mm_by_clip"]) == ["test/fall"]


def test_bvh_files_get_the_given_split_rate_and_size(run_cli: Call, workdir: Path) -> None:
    files = [write_bvh(workdir / name, seed=n) for n, name in enumerate(("a.bvh", "b.bvh"))]
    result = run_cli("import", "bvh", *files, "--split", "test", "--fps", 25, "--stature-m", 1.2, "--json")
    assert result.json["data"] == "bvh.npz" and result.json["splits"]["test"]["sequences"] == 2
    clips = load_clips(workdir / "bvh.npz")
    assert {clip.fps for clip in clips} == {25} and 0.9 < np.ptp(clips[0].joints_m[0, :, 2]) < 1.25


ODD: list[tuple[str, int, str]] = [
    ("h36m data_3d_h36m.npz", 2, "Human3.6M consists of two files"),
    ("h36m data_2d_h36m_gt.npz --keypoints data_2d_h36m_gt.npz", 4, "lacks positions_3d"),
    ("h36m nowhere.npz --keypoints data_2d_h36m_gt.npz", 3, "nowhere.npz"),
    ("h36m data_3d_h36m.npz --keypoints data_2d_h36m_gt.npz --out data_3d_h36m.npz", 2, "would overwrite a file that is read"),
    ("h36m data_3d_h36m.npz --keypoints data_2d_h36m_gt.npz --fps 50", 2, "--fps is no option of import h36m"),
    ("h36m data_3d_h36m.npz --keypoints data_2d_h36m_gt.npz --out nowhere/a.npz", 3, "mkdir -p nowhere"),
    ("3dhp data_3d_h36m.npz", 4, "lacks data"),
    ("3dhp", 2, "FILE"),
    ("bvh nowhere.bvh", 3, "no BVH file nowhere.bvh"),
    ("bvh .", 2, "broken.bvh: an unknown skeleton"),
    ("bvh broken.bvh --unit-m 1 --config x=1", 2, "--config is no option of import bvh"),
    ("bvh broken.bvh --split dev", 2, "train"),
    ("mixste a.bin b.bin", 2, "2 files for import mixste"),
    ("mixste a.bin --out data_3d_h36m.npz", 3, "no checkpoint at a.bin"),
    ("mixste data_3d_h36m.npz --out data_2d_h36m_gt.npz", 2, "is a file"),
]


@pytest.mark.parametrize(("line", "code", "message"), ODD, ids=[row[0] for row in ODD])
def test_a_failed_import_is_explained_and_writes_nothing(
    line: str, code: int, message: str, run_cli: Call, workdir: Path, h36m: tuple[Path, Path]
) -> None:
    path = write_bvh(workdir / "broken.bvh")
    path.write_text(path.read_text().replace("LeftForeArm", "Tentacle"))
    before = {path: path.read_bytes() for path in workdir.iterdir()}
    result = run_cli("import", *line.split(), "--json")
    assert result.code == code and message in result.err, result.err
    assert result.json["exit_code"] == code
    assert {path: path.read_bytes() for path in workdir.iterdir()} == before


@pytest.mark.parametrize("verb", [("train", "tiny-retention"), ("eval",)])
def test_a_published_file_is_refused_with_a_working_import_command(
    verb: tuple[str, ...], run_cli: Call, h36m: tuple[Path, Path], tiny_presets: None, zoo: Path
) -> None:
    result = run_cli(*verb, "--data", h36m[0].name, "--json")
    assert result.code == 4 and result.json["run"].startswith("posemoe-edge import h36m data_3d_h36m.npz")
    assert run_cli(*result.json["run"].split()[1:]).code == 0


def test_the_configuration_may_set_options_of_several_kinds(run_cli: Call, workdir: Path) -> None:
    (workdir / "posemoe-edge.toml").write_text('[import]\nfps = 25\nkeypoints = "k.npz"\n')
    write_bvh(workdir / "a.bvh")
    assert run_cli("import", "bvh", "a.bvh").code == 0
    assert load_clips(workdir / "bvh.npz")[0].fps == 25


def test_recorded_sequences_have_no_validation_split(run_cli: Call, mpi3dhp: tuple[Path, Path], zoo: Path) -> None:
    assert run_cli("import", "3dhp", *mpi3dhp).code == 0
    result = run_cli("eval", "--data", "3dhp.npz", "--split", "val", "--json")
    assert result.code == 2 and result.json["expected"] == "one of train, test"
