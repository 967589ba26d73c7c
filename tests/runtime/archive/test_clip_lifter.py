"""One clip to one file: the poses of a pipeline, and what is said of a clip that cannot be lifted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge import Pipeline, PoseFrame
from posemoe_edge.runtime.archive import clip_lifter
from posemoe_edge.runtime.archive.clip_lifter import ClipLifter, Job, LiftOptions, StoppedError, absolute
from posemoe_edge.runtime.archive.pose_file import read_clip_record
from posemoe_edge.runtime.errors import CheckFailedError, MissingError, UsageError
from posemoe_edge.runtime.pose.camera_model import FieldOfView
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints

JobFor = Callable[[Path, Path], Job]


@pytest.fixture
def lifter(options: LiftOptions) -> Iterator[ClipLifter]:
    opened = ClipLifter(options)
    yield opened
    opened.close()


def test_a_file_has_the_poses_of_a_pipeline_to_the_bit(
    lifter: ClipLifter, write_clip: Callable[..., Path], job_for: JobFor, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.npz", people=3)
    outcome = lifter.lift(job_for(clip, tmp_path / "deep" / "clip.poses.npz"))
    assert outcome.failure is None and (outcome.frames, outcome.people, outcome.poses) == (12, 3, 36)
    frames = [event for event in Pipeline(f"kpts:{clip}", lifter.model) if isinstance(event, PoseFrame)]
    expected = [frame.poses[person] for frame in frames for person in sorted(frame.poses)]
    with np.load(outcome.target) as entries:
        assert (entries["xyz_m"] == np.stack([pose.xyz_m for pose in expected])).all()
        assert entries["person"].tolist() == [0, 1, 2] * 12 and entries["t_s"].tolist() == [pose.t_s for pose in expected]
        assert entries["frame"].tolist() == np.repeat(np.arange(12), 3).tolist()


def test_a_clips_poses_do_not_depend_on_the_clips_before_it(
    lifter: ClipLifter, options: LiftOptions, write_clip: Callable[..., Path], job_for: JobFor, tmp_path: Path
) -> None:
    crowd, pair = write_clip(tmp_path / "crowd.npz", people=5), write_clip(tmp_path / "pair.npz", people=2, frames=30)
    lifter.lift(job_for(crowd, tmp_path / "crowd.poses.npz"))
    lifter.lift(job_for(pair, tmp_path / "after.poses.npz"))
    ClipLifter(options).lift(job_for(pair, tmp_path / "alone.poses.npz"))
    assert (tmp_path / "after.poses.npz").read_bytes() == (tmp_path / "alone.poses.npz").read_bytes()


def test_poses_of_a_window_model_know_their_frame(
    attention_artefact: Path, write_clip: Callable[..., Path], job_for: JobFor, tmp_path: Path
) -> None:
    lifter = ClipLifter(LiftOptions(model=str(attention_artefact)))
    outcome = lifter.lift(job_for(write_clip(tmp_path / "clip.npz"), tmp_path / "clip.poses.npz"))
    with np.load(outcome.target) as entries:
        assert (entries["frame_t_s"][entries["frame"]] == entries["t_s"]).all() and len(entries["t_s"])


def test_positions_are_there_where_the_camera_is_known(
    job_for: JobFor, walker_keypoints: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    """By the shipped model: keypoints fit no body that random weights make of them."""
    pixels = walker_keypoints(10) * [500, 500, 1] + [500, 500, 0]
    save_keypoints(tmp_path / "clip.npz", keypoints=pixels, units="pixels", width_px=1000, height_px=1000)
    job = job_for(tmp_path / "clip.npz", tmp_path / "clip.poses.npz")
    lifter = ClipLifter(LiftOptions(camera=FieldOfView(60)))
    assert lifter.lift(job).located == 10
    with np.load(job.target) as entries:
        assert (entries["root_m"][:, 2] > 0).all() and set(entries["root_scale_from"]) == {"prior"}
    camera = lifter.made_by(pictures=False).camera
    assert camera is not None and camera["kind"] == "FieldOfView" and 60 in camera.values()


def test_frames_and_warnings_of_a_clip_are_in_its_record(
    options: LiftOptions, job_for: JobFor, walker_keypoints: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    keypoints = walker_keypoints(10).copy()
    keypoints[4, 2] = np.nan
    save_keypoints(tmp_path / "clip.npz", keypoints=keypoints)
    job = job_for(tmp_path / "clip.npz", tmp_path / "clip.poses.npz")
    outcome = ClipLifter(replace(options, frames=8)).lift(job)
    record = read_clip_record(job.target, form="npz")
    assert record is not None and (record.frames, record.poses, record.refused) == (8, 7, 1)
    assert record.warnings == outcome.warnings and "joint 2" in record.warnings[-1]
    assert record.made_by.frames == 8 and record.units.startswith("metres") and record.joints[0] == "hip"


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"pose": np.zeros((3, 17, 3))}, "no 'keypoints'"),
        ({"keypoints": np.zeros((0, 17, 3), np.float32)}, r"shape \(0, 17, 3\)"),
        ({"keypoints": np.full((30, 17, 3), np.nan, np.float32)}, "30 of 30 frames of a person were refused"),
    ],
)
def test_a_clip_that_cannot_be_lifted_is_a_failure_without_a_file(
    entries: dict[str, np.ndarray], what: str, lifter: ClipLifter, job_for: JobFor, tmp_path: Path
) -> None:
    np.savez(tmp_path / "clip.npz", **entries)  # type: ignore[arg-type]
    outcome = lifter.lift(job_for(tmp_path / "clip.npz", tmp_path / "out" / "clip.poses.npz"))
    assert outcome.failure is not None and not outcome.target.exists() and outcome.poses == 0
    with pytest.raises(AssertionError, match=what):
        raise AssertionError(outcome.failure["what"])


def test_a_clip_that_is_gone_or_without_permission_is_a_failure(
    lifter: ClipLifter, job_for: JobFor, write_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = lifter.lift(job_for(tmp_path / "gone.npz", tmp_path / "gone.poses.npz"))
    assert gone.failure is not None and "No such file" in str(gone.failure["what"])

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", "clip.npz")

    monkeypatch.setattr(clip_lifter, "open_source", refuse)
    refused = lifter.lift(job_for(write_clip(tmp_path / "clip.npz"), tmp_path / "clip.poses.npz"))
    assert refused.failure is not None and "Permission denied" in str(refused.failure["what"])


def test_a_clip_is_not_lifted_onto_a_full_disk(
    lifter: ClipLifter, job_for: JobFor, write_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "clip.npz")

    def full(folder: Path, need_bytes: int, *, what: str) -> None:
        raise MissingError(f"{folder} has 0.0 MB left")

    monkeypatch.setattr(clip_lifter, "check_free", full)
    monkeypatch.setattr(clip_lifter, "open_source", lambda *arguments, **options: pytest.fail("it was opened"))
    outcome = lifter.lift(job_for(clip, tmp_path / "clip.poses.npz"))
    assert outcome.failure is not None and "0.0 MB left" in str(outcome.failure["what"])


def test_a_clip_is_given_up_at_the_next_frame_without_a_file(
    lifter: ClipLifter, job_for: JobFor, write_clip: Callable[..., Path], tmp_path: Path
) -> None:
    job = job_for(write_clip(tmp_path / "clip.npz"), tmp_path / "clip.poses.npz")
    asked = iter([False, False, False, True])
    with pytest.raises(StoppedError):
        lifter.lift(job, stop=lambda: next(asked))
    assert not job.target.exists() and lifter.lift(job).failure is None


def test_what_the_package_warns_of_is_collected_and_its_log_is_as_before(lifter: ClipLifter) -> None:
    logger = logging.getLogger("posemoe_edge")
    before = logger.propagate, list(logger.handlers)
    with clip_lifter.collected_warnings() as texts:
        logging.getLogger("posemoe_edge.runtime.sources").warning("%d odd", 3)
        logging.getLogger("posemoe_edge.runtime.sources").info("even")
    assert texts == ["3 odd"] and (logger.propagate, logger.handlers) == before


def test_a_model_that_may_not_run_is_an_error_at_once(options: LiftOptions) -> None:
    with pytest.raises(CheckFailedError, match="is not signed"):
        ClipLifter(replace(options, require_signature="nowhere.pem"))


def test_paths_of_options_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "net.onnx").write_bytes(b"x")
    moved = absolute(LiftOptions(model="model", detector="onnx:net.onnx?find=blazepose", require_signature="key.pem"))
    assert moved.model == f"{tmp_path}/model" and moved.detector == f"onnx:{tmp_path}/net.onnx?find=blazepose"
    assert moved.require_signature == f"{tmp_path}/key.pem"
    (tmp_path / "finder.tflite").write_bytes(b"x")
    both = absolute(LiftOptions(detector="onnx:net.onnx?find=movenet:finder.tflite")).detector
    assert both == f"onnx:{tmp_path}/net.onnx?find=movenet:{tmp_path}/finder.tflite"
    unchanged = LiftOptions(model="frame-retention-s", detector="blazepose:heavy")
    assert absolute(unchanged) == unchanged


def test_options_for_other_processes_name_the_engine_and_the_precision(lifter: ClipLifter) -> None:
    pinned = lifter.pinned()
    assert (pinned.engine, pinned.precision) == ("onnxruntime", "fp32")
    again = ClipLifter(pinned)
    assert again.made_by(pictures=False) == lifter.made_by(pictures=False) and again.pinned() == pinned


def test_another_file_of_a_detector_is_another_maker(options: LiftOptions, tmp_path: Path) -> None:
    for name in ("net.onnx", "finder.tflite"):
        (tmp_path / name).write_bytes(b"x")
    lifter = ClipLifter(replace(options, detector=f"onnx:{tmp_path}/net.onnx?find=movenet:{tmp_path}/finder.tflite"))
    for name in ("net.onnx", "finder.tflite"):
        before = lifter.made_by(pictures=True)
        (tmp_path / name).write_bytes(b"xy")
        assert lifter.made_by(pictures=True) != before
    assert lifter.made_by(pictures=False).detector is None


def test_no_detector_that_searches_for_people_is_an_error_at_once(options: LiftOptions) -> None:
    with pytest.raises(UsageError, match="no detector 'blazpose'; did you mean blazepose"):
        ClipLifter(replace(options, detector="onnx:net.onnx?find=blazpose"))
