"""Metrics: equal to the numbers of published code, and correct on cases with a known answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.errors import FrameError
from posemoe_edge.runtime.pose.metrics import (
    acceleration_error,
    auc,
    best_rotation,
    bone_jitter,
    mean_acceleration,
    mpjpe,
    mpjve,
    n_mpjpe,
    p_mpjpe,
    pck,
    procrustes,
)

GOLDEN = Path(__file__).resolve().parents[3].parent / "shared" / "reference" / "golden" / "metrics.npz"
EXACT = 1e-10
SINGLE = 3e-8  # the published PCK and AUC were computed in float32

RNG = np.random.default_rng(7)
TRUTH = RNG.normal(size=(12, 17, 3)) * 0.4
TRUTH -= TRUTH[:, :1]
PRED = TRUTH + RNG.normal(size=TRUTH.shape) * 0.05


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    if not GOLDEN.is_file():
        pytest.skip("the numbers of published code (metrics.npz) are not beside this checkout")
    with np.load(GOLDEN) as data:
        return {"args": (data["pred"], data["gt"]), "valid": data["valid"], "expected": json.loads(str(data["expected"]))}


def test_metrics_equal_published_code_without_a_mask(golden: dict[str, Any]) -> None:
    expected = golden["expected"]["videopose3d"]
    for measure, name in ((mpjpe, "mpjpe_m"), (p_mpjpe, "p_mpjpe_m"), (n_mpjpe, "n_mpjpe_m"), (mpjve, "mpjve_m_per_frame")):
        assert measure(*golden["args"]) == pytest.approx(expected[name], abs=EXACT)


def test_metrics_equal_published_code_with_a_mask(golden: dict[str, Any]) -> None:
    expected, valid = golden["expected"]["poseretnet_valid"], golden["valid"]
    for measure, name in ((mpjpe, "mpjpe"), (p_mpjpe, "p_mpjpe"), (mpjve, "mpjve")):
        assert measure(*golden["args"], valid=valid) == pytest.approx(expected[name], abs=EXACT)
    for measure, name in ((pck, "pck150"), (auc, "auc")):
        assert measure(*golden["args"], valid=valid) / 100 == pytest.approx(expected[name], abs=SINGLE)


@pytest.mark.parametrize(("joints", "rule"), [(14, "matlab_rule_restated(14 joints)"), (17, "same_rule_17_joints")])
def test_pck_and_auc_equal_3dhp_s_own_rule(golden: dict[str, Any], joints: Any, rule: str) -> None:
    expected = golden["expected"][rule]
    assert pck(*golden["args"], joints=joints, order="3dhp17") == pytest.approx(expected["pck150"], abs=EXACT)
    assert auc(*golden["args"], joints=joints, order="3dhp17") == pytest.approx(expected["auc"], abs=EXACT)


@pytest.mark.parametrize("measure", [mpjpe, n_mpjpe, mpjve])
def test_a_perfect_pose_has_no_error(measure: Any) -> None:
    assert measure(TRUTH, TRUTH) == pytest.approx(0, abs=1e-15)


def test_a_perfect_pose_passes_every_threshold_but_zero() -> None:
    assert pck(TRUTH, TRUTH) == 100 and p_mpjpe(TRUTH, TRUTH) < 1e-12
    assert auc(TRUTH, TRUTH) == pytest.approx(100 * 30 / 31)


def rotation(seed: int) -> F64:
    """(3, 3) a random rotation."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.linalg.det(q)
    return q


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.05, 20), shift=st.floats(-5, 5))
def test_procrustes_error_is_invariant_to_similarity_transforms(seed: int, scale: float, shift: float) -> None:
    moved = scale * PRED @ rotation(seed).T + shift
    assert p_mpjpe(moved, TRUTH) == pytest.approx(p_mpjpe(PRED, TRUTH), abs=1e-9)
    np.testing.assert_allclose(procrustes(scale * TRUTH @ rotation(seed).T + shift, TRUTH), TRUTH, atol=1e-9)


def test_procrustes_does_not_reflect() -> None:
    assert p_mpjpe(TRUTH * [-1, 1, 1], TRUTH) > 0.05


def test_no_near_transform_beats_procrustes() -> None:
    best = procrustes(PRED, TRUTH)
    least = ((best - TRUTH) ** 2).sum()
    for seed in range(50):
        rng = np.random.default_rng(seed)
        angle = rng.normal(size=3) * 0.01
        turn = np.eye(3) + np.cross(np.eye(3), angle)
        q, _ = np.linalg.qr(turn)
        q *= np.sign(np.diag(q))
        other = (best @ q.T) * (1 + rng.normal() * 0.01) + rng.normal(size=3) * 0.005
        assert ((other - TRUTH) ** 2).sum() > least


@given(scale=st.floats(0.05, 20))
def test_the_normalised_error_is_invariant_to_scale(scale: float) -> None:
    assert n_mpjpe(scale * PRED, TRUTH) == pytest.approx(n_mpjpe(PRED, TRUTH), rel=1e-9)


def test_a_shift_is_its_length_unless_roots_are_aligned() -> None:
    moved = TRUTH + np.array([0.3, 0, 0.4])
    assert mpjpe(moved, TRUTH) == pytest.approx(0.5)
    assert mpjpe(moved, TRUTH, root="align") == pytest.approx(0)
    assert mpjve(moved, TRUTH) == pytest.approx(0)


def test_velocity_is_per_frame() -> None:
    steps = TRUTH[:1] + np.arange(5)[:, None, None] * [0.01, 0, 0]
    assert mpjve(steps, np.repeat(TRUTH[:1], 5, 0)) == pytest.approx(0.01)


def test_a_threshold_is_strict() -> None:
    pred = np.zeros((1, 17, 3))
    pred[0, :, 0] = 0.125  # exact in binary, so that the distance is
    assert pck(pred, np.zeros_like(pred), threshold_m=0.125) == 0
    assert pck(pred, np.zeros_like(pred), threshold_m=0.126) == 100


def test_fourteen_joints_leave_out_hip_spine_and_nose() -> None:
    pred = TRUTH.copy()
    pred[:, [0, 7, 9]] += 1
    assert pck(pred, TRUTH, joints=14) == 100
    assert pck(pred, TRUTH) == pytest.approx(100 * 14 / 17)


def test_only_valid_joints_count() -> None:
    valid = np.ones((12, 17), bool)
    valid[3, 5] = valid[8] = False
    pred = TRUTH.copy()
    pred[3, 5] += 9
    pred[8] += 9
    assert mpjpe(pred, TRUTH, valid=valid) == 0 and mpjve(pred, TRUTH, valid=valid) == 0


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((PRED, TRUTH[:3]), {}, "the same"),
        ((PRED[0], TRUTH[0]), {}, "the same"),
        ((PRED[:0], TRUTH[:0]), {}, "the same"),
        ((PRED, TRUTH), {"valid": np.ones(12)}, "valid has shape"),
        ((PRED, TRUTH), {"valid": np.zeros((12, 17))}, "no joint is valid"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(args: Any, options: Any, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        mpjpe(*args, **options)


def test_a_velocity_needs_two_frames() -> None:
    with pytest.raises(FrameError, match="two frames"):
        mpjve(PRED[:1], TRUTH[:1])


def test_a_body_that_turns_and_moves_has_no_bone_jitter() -> None:
    turn = np.linspace(0, 2, 30)
    cos, sin, zeros, ones = np.cos(turn), np.sin(turn), np.zeros(30), np.ones(30)
    rotation = np.stack(
        [np.stack([cos, -sin, zeros], -1), np.stack([sin, cos, zeros], -1), np.stack([zeros, zeros, ones], -1)], -2
    )
    moved = TRUTH[0] @ rotation + turn[:, None, None]
    assert bone_jitter(moved) == pytest.approx(0, abs=1e-12)


def test_bone_jitter_is_the_mean_change_of_a_bones_length() -> None:
    pose = np.repeat(TRUTH[:1], 5, axis=0)
    head = (pose[0, 10] - pose[0, 9]) / np.linalg.norm(pose[0, 10] - pose[0, 9])
    pose[:, 10] += np.array([0, 0.016, 0.016, -0.032, 0])[:, None] * head  # one bone of 16 changes by 16, 0, 48 and 32 mm
    assert bone_jitter(pose) == pytest.approx((0.016 + 0 + 0.048 + 0.032) / 4 / 16)


@pytest.mark.parametrize("shape", [(1, 17, 3), (5, 16, 3), (5, 17, 2), (17, 3)])
def test_bone_jitter_needs_frames_of_a_whole_skeleton(shape: tuple[int, ...]) -> None:
    with pytest.raises(FrameError, match="T of at least 2"):
        bone_jitter(np.zeros(shape))


def test_the_best_rotation_is_the_one_that_was_applied() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(4, 17, 3))
    angle = np.radians([10.0, 45.0, 120.0, 179.0])
    turn = np.stack([[[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in angle])
    poses = (np.swapaxes(turn, 1, 2) @ truth.swapaxes(1, 2)).swapaxes(1, 2)
    np.testing.assert_allclose(best_rotation(poses, truth), turn, atol=1e-12)


def test_acceleration_is_the_second_difference_and_steady_motion_has_none() -> None:
    t = np.arange(6.0)
    moving = np.broadcast_to(t[:, None, None] * (0.01, 0.02, 0), (6, 17, 3)) + TRUTH[:1]
    falling = moving + np.array([0, 0.003, 0]) * (t**2)[:, None, None]
    assert mean_acceleration(moving) == pytest.approx(0, abs=1e-12)
    assert mean_acceleration(falling) == pytest.approx(0.006)  # of a t^2: 2 a
    assert acceleration_error(falling, moving) == acceleration_error(moving, falling) == pytest.approx(0.006)
    assert acceleration_error(falling + 1, falling) == pytest.approx(0, abs=1e-12)  # where it is does not matter


def test_an_acceleration_counts_if_all_three_frames_are_valid() -> None:
    still = np.repeat(TRUTH[:1], 6, axis=0).astype(np.float64)
    jumped = still.copy()
    jumped[1] += 0.5
    valid = np.ones((6, 17), bool)
    valid[1] = False
    assert acceleration_error(jumped, still) > 0.1
    assert acceleration_error(jumped, still, valid=valid) == mean_acceleration(jumped, valid=valid) == 0
    with pytest.raises(FrameError, match="three frames, there are 2"):
        mean_acceleration(still[:2])
    valid[::2] = False
    with pytest.raises(FrameError, match="no joint is valid"):
        acceleration_error(jumped, still, valid=valid)
