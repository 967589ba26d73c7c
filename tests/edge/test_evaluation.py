"""Evaluation: a perfect model has no error, a late one is compared with the frames that its poses belong to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from posemoe_edge.edge.data.augment import mirror
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.edge.evaluation import compute_metrics, evaluate, stream_sequence
from posemoe_edge.runtime import PoseEdgeError, load
from posemoe_edge.runtime.pose.skeleton import H36M17


class Oracle:
    """A model that knows the truth of the takes, and says it ``latency_frames`` late, ``off_m`` beside it."""

    def __init__(self, takes: list[PoseSequence], *, latency_frames: int = 0, off_m: np.ndarray | float = 0.0) -> None:
        self.sequences, self.latency_frames, self.off_m = iter(takes), latency_frames, off_m
        self.times: list[list[float]] = []

    def stream(self) -> Oracle:
        self.sequence, self.i = next(self.sequences), 0
        self.times.append([])
        return self

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, *args: object) -> None: ...

    def step(self, keypoints: np.ndarray, *, t: float) -> Any:
        self.times[-1].append(t)
        np.testing.assert_array_equal(keypoints, self.sequence.keypoints[self.i])
        xyz_m = self.sequence.pose_m[max(0, self.i - self.latency_frames)] + self.off_m
        self.i += 1
        return SimpleNamespace(xyz_m=xyz_m.astype(np.float32))


@pytest.fixture
def takes(make_walker_clip: Callable[..., Any]) -> list[PoseSequence]:
    return evaluation_sequences([make_walker_clip("a", 40, seed=1), make_walker_clip("b", 25, seed=2)], noisy=False)


@pytest.mark.parametrize("latency", [0, 3])
def test_the_truth_has_no_error(takes: list[PoseSequence], latency: int) -> None:
    ticks: list[int] = []
    made = evaluate(Oracle(takes, latency_frames=latency), takes, on_progress=ticks.append)  # type: ignore[arg-type]
    assert made["mpjpe_mm"] == made["mpjve_mm"] == 0 and made["p_mpjpe_mm"] < 1e-2
    assert made["pck150"] == 100 and made["auc"] > 95 and sum(ticks) == 65
    assert made["mpjpe_mm_by_clip"] == {"a": 0, "b": 0}


def test_one_joint_that_is_off_is_found(takes: list[PoseSequence]) -> None:
    off = np.zeros((17, 3), np.float32)
    off[H36M17.joints.index("left_wrist")] = (0.034, 0, 0)
    made = evaluate(Oracle(takes, off_m=off), takes)  # type: ignore[arg-type]
    assert made["mpjpe_mm"] == pytest.approx(2.0, rel=1e-3) and made["mpjve_mm"] == pytest.approx(0, abs=1e-3)
    by_joint = made["mpjpe_mm_by_joint"]
    assert by_joint["left_wrist"] == pytest.approx(34, rel=1e-3) and sum(by_joint.values()) == pytest.approx(34, rel=1e-3)


def test_a_pose_that_is_shifted_as_a_whole_is_right(takes: list[PoseSequence]) -> None:
    assert evaluate(Oracle(takes, off_m=0.7), takes)["mpjpe_mm"] == pytest.approx(0, abs=1e-3)  # type: ignore[arg-type]


def test_every_frame_counts_once_whatever_clip_it_is_in(takes: list[PoseSequence]) -> None:
    class Half(Oracle):
        def stream(self) -> Oracle:
            made = super().stream()
            self.off_m = np.zeros((17, 3)) if len(self.times) == 1 else np.eye(17, 3, k=-5) * 0.1  # the second clip alone
            return made

    made = evaluate(Half(takes), takes)  # type: ignore[arg-type]
    second = 100 * 3 / 17
    assert made["mpjpe_mm_by_clip"] == {"a": 0, "b": pytest.approx(second, abs=0.01)}
    assert made["mpjpe_mm"] == pytest.approx(second * 25 / 65, rel=1e-3)


def test_each_clip_is_streamed_in_its_own_time(takes: list[PoseSequence]) -> None:
    oracle = Oracle(takes)
    evaluate(oracle, takes)  # type: ignore[arg-type]
    for times, take in zip(oracle.times, takes, strict=True):
        np.testing.assert_allclose(times, np.cumsum(take.dt_s, dtype=np.float64), atol=1e-9)


def test_an_artefact_is_evaluated_from_an_empty_memory_each_clip(retention_artefact: Path, takes: list[PoseSequence]) -> None:
    model = load(retention_artefact)
    both = evaluate(model, takes)
    alone = evaluate(model, takes[1:])
    assert both["mpjpe_mm_by_clip"]["b"] == alone["mpjpe_mm_by_clip"]["b"]
    assert all(np.isfinite(value) for value in both.values() if isinstance(value, float))


def test_no_clips_are_a_clear_error(retention_artefact: Path) -> None:
    with pytest.raises(PoseEdgeError):
        evaluate(load(retention_artefact), [])


def test_a_clip_of_one_frame_is_evaluated(retention_artefact: Path, make_walker_clip: Callable[..., Any]) -> None:
    made = evaluate(load(retention_artefact), evaluation_sequences([make_walker_clip("one", 1)], noisy=False))
    assert np.isfinite(made["mpjpe_mm"])


def test_actions_are_averaged_by_frames_and_then_plainly(make_walker_clip: Callable[..., Any]) -> None:
    clips = [make_walker_clip("a", 40), make_walker_clip("b", 20, seed=2), make_walker_clip("c", 30, seed=3)]
    takes = evaluation_sequences([replace(clip, action=action) for clip, action in zip(clips, "xxy", strict=True)], noisy=False)
    off = {"a": 0.017, "b": 0.034, "c": 0.051}

    class Off(Oracle):
        def stream(self) -> Oracle:
            made = super().stream()
            self.off_m = np.eye(17, 3, k=-5) * 0
            self.off_m[5, 0] = off[self.sequence.clip_id]
            return made

    made = evaluate(Off(takes), takes)  # type: ignore[arg-type]
    assert made["mpjpe_mm_by_action"] == {"x": pytest.approx((40 + 2 * 20) / 60, abs=0.01), "y": pytest.approx(3, abs=0.01)}
    assert made["mpjpe_mm_of_actions"] == pytest.approx(((40 + 2 * 20) / 60 + 3) / 2, rel=1e-3)


def test_a_mirror_of_a_mirror_is_the_person(takes: list[PoseSequence]) -> None:
    np.testing.assert_array_equal(mirror(mirror(takes[0].pose_m)), takes[0].pose_m)
    left, right = (H36M17.joints.index(f"{side}_wrist") for side in ("left", "right"))
    np.testing.assert_array_equal(mirror(takes[0].pose_m)[:, left], takes[0].pose_m[:, right] * [-1, 1, 1])


def test_flipping_averages_a_person_and_the_mirrored_one(retention_artefact: Path, takes: list[PoseSequence]) -> None:
    model = load(retention_artefact)
    poses = stream_sequence(model, takes[0])
    other = stream_sequence(model, replace(takes[0], keypoints=mirror(takes[0].keypoints)))
    average = (poses + mirror(other)) / 2
    error = np.linalg.norm((average - average[:, :1]) - (takes[0].pose_m - takes[0].pose_m[:, :1]), axis=-1).mean()
    assert evaluate(model, takes[:1], flip=True)["mpjpe_mm"] == pytest.approx(1000 * error, rel=1e-5)


def test_frames_that_do_not_count_are_fed_and_not_judged(takes: list[PoseSequence]) -> None:
    valid = np.ones(40, np.bool_)
    valid[[3, 4, 10]] = False
    holes = replace(takes[0], valid=valid)
    poses = holes.pose_m.copy()
    poses[~valid] += np.eye(17, 3, k=-5, dtype=np.float32)  # a metre off where nobody looks
    poses[20] += 0.017 * np.eye(17, 3, k=-5, dtype=np.float32)
    made = compute_metrics([holes], [poses])
    assert made["frames"] == 37 and made["mpjpe_mm"] == pytest.approx(3 / 37, rel=1e-3)
    assert made["mpjpe_mm_by_clip"]["a"] == pytest.approx(made["mpjpe_mm"], abs=0.01)
    pairs = 39 - 5  # 2-3, 3-4, 4-5, 9-10 and 10-11 are no pairs of valid neighbours; two pairs hold frame 20
    assert made["mpjve_mm"] == pytest.approx(2 * 3 / pairs, rel=1e-3)
    assert made["pck150"] == 100
    oracle = Oracle([holes])
    assert evaluate(oracle, [holes])["mpjpe_mm"] == 0 and len(oracle.times[0]) == 40  # type: ignore[arg-type]


def test_takes_weigh_what_counts_of_them(takes: list[PoseSequence]) -> None:
    parts = [replace(takes[0], action="x", valid=np.arange(40) < 10), replace(takes[1], action="y", valid=np.arange(25) >= 5)]
    off = np.eye(17, 3, k=-5, dtype=np.float32) * 0.017
    poses = [parts[0].pose_m + off, parts[1].pose_m + 2 * off]
    made = compute_metrics(parts, poses)
    assert made["mpjpe_mm"] == pytest.approx((10 * 3 + 20 * 6) / 30, rel=1e-3) and made["frames"] == 30
    assert made["mpjpe_mm_of_actions"] == pytest.approx((3 + 6) / 2, rel=1e-3)
    late = compute_metrics(parts, [pose[:4] for pose in poses])  # of the second take nothing counts in the first four frames
    assert late["mpjpe_mm_by_clip"] == {"a": pytest.approx(3, abs=0.01)} and late["frames"] == 4


def test_a_take_without_valid_neighbours_has_no_velocity(takes: list[PoseSequence]) -> None:
    lonely = replace(takes[0], valid=np.arange(40) % 2 == 0)
    assert compute_metrics([lonely], [lonely.pose_m])["mpjve_mm"] is None
    with pytest.raises(PoseEdgeError, match="no frame of these clips is valid"):
        compute_metrics([replace(takes[0], valid=np.zeros(40, np.bool_))], [takes[0].pose_m])


def test_all_frames_valid_is_as_none(takes: list[PoseSequence]) -> None:
    poses = [take.pose_m + np.float32(0.01) * np.arange(3, dtype=np.float32) for take in takes]
    spelt_out = [replace(take, valid=np.ones(len(take), np.bool_)) for take in takes]
    assert compute_metrics(spelt_out, poses) == compute_metrics(takes, poses)
