"""Evaluation: a perfect model has no error; with latency, poses are compared with the frames that they belong to."""

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
from posemoe_edge.edge.evaluation import compute_metrics, error_parts, evaluate, sigma_coverage, stream_sequence
from posemoe_edge.runtime import PoseEdgeError, load
from posemoe_edge.runtime.pose.skeleton import H36M17


class Oracle:
    """A model that returns the true poses of the sequences, ``latency_frames`` late and shifted by ``off_m``."""

    def __init__(self, sequences: list[PoseSequence], *, latency_frames: int = 0, off_m: np.ndarray | float = 0.0) -> None:
        self.sequences, self.latency_frames, self.off_m = iter(sequences), latency_frames, off_m
        self.times: list[list[float]] = []
        self.manifest = SimpleNamespace(view="image", has_sigma=False)

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
        return SimpleNamespace(xyz_m=xyz_m.astype(np.float32), sigma_m=None)


@pytest.fixture
def sequences(make_walker_clip: Callable[..., Any]) -> list[PoseSequence]:
    return evaluation_sequences([make_walker_clip("a", 40, seed=1), make_walker_clip("b", 25, seed=2)], noisy=False)


@pytest.mark.parametrize("latency", [0, 3])
def test_the_truth_has_no_error(sequences: list[PoseSequence], latency: int) -> None:
    ticks: list[int] = []
    metrics = evaluate(Oracle(sequences, latency_frames=latency), sequences, on_progress=ticks.append)  # type: ignore[arg-type]
    assert metrics["mpjpe_mm"] == metrics["mpjve_mm"] == 0 and metrics["p_mpjpe_mm"] < 1e-2
    assert metrics["pck150"] == 100 and metrics["auc"] > 95 and sum(ticks) == 65
    assert metrics["mpjpe_mm_by_clip"] == {"a": 0, "b": 0}


def test_the_error_is_split_into_size_rotation_and_depth() -> None:
    truth = np.random.default_rng(0).normal(size=(50, 17, 3)).astype(np.float32)
    truth -= truth[:, :1]
    larger = error_parts(1.1 * truth, truth)
    assert larger["size"] == pytest.approx(1.1) and larger["scaled_mm"] < 0.01 and larger["rotation_deg"] < 0.01
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]], np.float32)
    turned = error_parts(truth @ turn.T, truth)
    assert turned["rotation_deg"] == pytest.approx(20, abs=0.01) and turned["turned_mm"] < 0.1 and turned["scaled_mm"] > 10
    deeper = truth.copy()
    deeper[..., 2] += np.random.default_rng(1).normal(size=(50, 17)) * (np.arange(17) > 0)
    assert error_parts(deeper, truth)["depth_share"] == pytest.approx(1)
    assert error_parts(truth, truth)["p_mpjpe_mm"] < 0.01


def test_coverage_is_that_of_a_half_normal_distance() -> None:
    rng = np.random.default_rng(0)
    sigma_m = rng.uniform(0.01, 0.2, (5000, 17)).astype(np.float32)
    error_m = (np.abs(rng.normal(size=(5000, 17))) * sigma_m).astype(np.float32)
    coverage = sigma_coverage(error_m, sigma_m)
    assert coverage["within_1"] == pytest.approx(68.3, abs=0.5) and coverage["within_2"] == pytest.approx(95.4, abs=0.5)
    assert set(coverage["within_1_by_joint"]) == set(H36M17.joints[1:])
    assert sigma_coverage(error_m, (sigma_m / 2).astype(np.float32))["within_1"] < 45


def test_one_joint_that_is_off_is_found(sequences: list[PoseSequence]) -> None:
    offset = np.zeros((17, 3), np.float32)
    offset[H36M17.joints.index("left_wrist")] = (0.034, 0, 0)
    metrics = evaluate(Oracle(sequences, off_m=offset), sequences)  # type: ignore[arg-type]
    assert metrics["mpjpe_mm"] == pytest.approx(2.0, rel=1e-3) and metrics["mpjve_mm"] == pytest.approx(0, abs=1e-3)
    by_joint = metrics["mpjpe_mm_by_joint"]
    assert by_joint["left_wrist"] == pytest.approx(34, rel=1e-3) and sum(by_joint.values()) == pytest.approx(34, rel=1e-3)


def test_a_shifted_pose_has_no_error(sequences: list[PoseSequence]) -> None:
    assert evaluate(Oracle(sequences, off_m=0.7), sequences)["mpjpe_mm"] == pytest.approx(0, abs=1e-3)  # type: ignore[arg-type]


def test_every_frame_counts_once_whatever_clip_it_is_in(sequences: list[PoseSequence]) -> None:
    class Half(Oracle):
        def stream(self) -> Oracle:
            metrics = super().stream()
            self.off_m = np.zeros((17, 3)) if len(self.times) == 1 else np.eye(17, 3, k=-5) * 0.1  # the second clip alone
            return metrics

    metrics = evaluate(Half(sequences), sequences)  # type: ignore[arg-type]
    second = 100 * 3 / 17
    assert metrics["mpjpe_mm_by_clip"] == {"a": 0, "b": pytest.approx(second, abs=0.01)}
    assert metrics["mpjpe_mm"] == pytest.approx(second * 25 / 65, rel=1e-3)


def test_each_clip_is_streamed_in_its_own_time(sequences: list[PoseSequence]) -> None:
    oracle = Oracle(sequences)
    evaluate(oracle, sequences)  # type: ignore[arg-type]
    for times, sequence in zip(oracle.times, sequences, strict=True):
        np.testing.assert_allclose(times, np.cumsum(sequence.dt_s, dtype=np.float64), atol=1e-9)


def test_each_clip_is_evaluated_from_the_initial_state(retention_artefact: Path, sequences: list[PoseSequence]) -> None:
    model = load(retention_artefact)
    both = evaluate(model, sequences)
    alone = evaluate(model, sequences[1:])
    assert both["mpjpe_mm_by_clip"]["b"] == alone["mpjpe_mm_by_clip"]["b"]
    assert all(np.isfinite(value) for value in both.values() if isinstance(value, float))


def test_no_clips_are_a_clear_error(retention_artefact: Path) -> None:
    with pytest.raises(PoseEdgeError):
        evaluate(load(retention_artefact), [])


def test_a_clip_of_one_frame_is_evaluated(retention_artefact: Path, make_walker_clip: Callable[..., Any]) -> None:
    metrics = evaluate(load(retention_artefact), evaluation_sequences([make_walker_clip("one", 1)], noisy=False))
    assert np.isfinite(metrics["mpjpe_mm"])


def test_actions_are_averaged_by_frames_and_then_equally(make_walker_clip: Callable[..., Any]) -> None:
    clips = [make_walker_clip("a", 40), make_walker_clip("b", 20, seed=2), make_walker_clip("c", 30, seed=3)]
    sequences = evaluation_sequences(
        [replace(clip, action=action) for clip, action in zip(clips, "xxy", strict=True)], noisy=False
    )
    offset = {"a": 0.017, "b": 0.034, "c": 0.051}

    class Off(Oracle):
        def stream(self) -> Oracle:
            metrics = super().stream()
            self.off_m = np.eye(17, 3, k=-5) * 0
            self.off_m[5, 0] = offset[self.sequence.clip_id]
            return metrics

    metrics = evaluate(Off(sequences), sequences)  # type: ignore[arg-type]
    assert metrics["mpjpe_mm_by_action"] == {"x": pytest.approx((40 + 2 * 20) / 60, abs=0.01), "y": pytest.approx(3, abs=0.01)}
    assert metrics["mpjpe_mm_of_actions"] == pytest.approx(((40 + 2 * 20) / 60 + 3) / 2, rel=1e-3)


def test_a_mirror_of_a_mirror_is_the_person(sequences: list[PoseSequence]) -> None:
    np.testing.assert_array_equal(mirror(mirror(sequences[0].pose_m)), sequences[0].pose_m)
    left, right = (H36M17.joints.index(f"{side}_wrist") for side in ("left", "right"))
    np.testing.assert_array_equal(mirror(sequences[0].pose_m)[:, left], sequences[0].pose_m[:, right] * [-1, 1, 1])


def test_flipping_averages_a_person_and_the_mirrored_one(retention_artefact: Path, sequences: list[PoseSequence]) -> None:
    model = load(retention_artefact)
    poses = stream_sequence(model, sequences[0])
    mirrored = stream_sequence(model, replace(sequences[0], keypoints=mirror(sequences[0].keypoints)))
    average = (poses + mirror(mirrored)) / 2
    error = np.linalg.norm((average - average[:, :1]) - (sequences[0].pose_m - sequences[0].pose_m[:, :1]), axis=-1).mean()
    assert evaluate(model, sequences[:1], flip=True)["mpjpe_mm"] == pytest.approx(1000 * error, rel=1e-5)


def test_invalid_frames_are_lifted_and_not_measured(sequences: list[PoseSequence]) -> None:
    valid = np.ones(40, np.bool_)
    valid[[3, 4, 10]] = False
    partly_valid = replace(sequences[0], valid=valid)
    poses = partly_valid.pose_m.copy()
    poses[~valid] += np.eye(17, 3, k=-5, dtype=np.float32)  # an error of a metre in frames that do not count
    poses[20] += 0.017 * np.eye(17, 3, k=-5, dtype=np.float32)
    metrics = compute_metrics([partly_valid], [poses])
    assert metrics["frames"] == 37 and metrics["mpjpe_mm"] == pytest.approx(3 / 37, rel=1e-3)
    assert metrics["mpjpe_mm_by_clip"]["a"] == pytest.approx(metrics["mpjpe_mm"], abs=0.01)
    pairs = 39 - 5  # 2-3, 3-4, 4-5, 9-10 and 10-11 are no pairs of valid neighbours; two pairs hold frame 20
    assert metrics["mpjve_mm"] == pytest.approx(2 * 3 / pairs, rel=1e-3)
    assert metrics["pck150"] == 100
    oracle = Oracle([partly_valid])
    assert evaluate(oracle, [partly_valid])["mpjpe_mm"] == 0 and len(oracle.times[0]) == 40  # type: ignore[arg-type]


def test_sequences_are_weighted_by_their_valid_frames(sequences: list[PoseSequence]) -> None:
    parts = [
        replace(sequences[0], action="x", valid=np.arange(40) < 10),
        replace(sequences[1], action="y", valid=np.arange(25) >= 5),
    ]
    offset = np.eye(17, 3, k=-5, dtype=np.float32) * 0.017
    poses = [parts[0].pose_m + offset, parts[1].pose_m + 2 * offset]
    metrics = compute_metrics(parts, poses)
    assert metrics["mpjpe_mm"] == pytest.approx((10 * 3 + 20 * 6) / 30, rel=1e-3) and metrics["frames"] == 30
    assert metrics["mpjpe_mm_of_actions"] == pytest.approx((3 + 6) / 2, rel=1e-3)
    late = compute_metrics(parts, [pose[:4] for pose in poses])  # the second sequence has no valid frame among the first four
    assert late["mpjpe_mm_by_clip"] == {"a": pytest.approx(3, abs=0.01)} and late["frames"] == 4


def test_a_sequence_without_valid_neighbours_has_no_velocity(sequences: list[PoseSequence]) -> None:
    isolated = replace(sequences[0], valid=np.arange(40) % 2 == 0)
    assert compute_metrics([isolated], [isolated.pose_m])["mpjve_mm"] is None
    with pytest.raises(PoseEdgeError, match="no frame of these clips is valid"):
        compute_metrics([replace(sequences[0], valid=np.zeros(40, np.bool_))], [sequences[0].pose_m])


def test_all_frames_valid_is_as_none(sequences: list[PoseSequence]) -> None:
    poses = [sequence.pose_m + np.float32(0.01) * np.arange(3, dtype=np.float32) for sequence in sequences]
    spelt_out = [replace(sequence, valid=np.ones(len(sequence), np.bool_)) for sequence in sequences]
    assert compute_metrics(spelt_out, poses) == compute_metrics(sequences, poses)
