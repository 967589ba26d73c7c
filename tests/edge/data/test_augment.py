from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from posemoe_edge.edge.data import augment
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.pose.skeleton import H36M17

SEEDS = range(10)


def keypoints(frames: int) -> F32:
    return np.random.default_rng(0).uniform(0.1, 1, (frames, 17, 3)).astype(np.float32)


def test_a_mirror_of_a_mirror_is_the_motion(clip: Clip) -> None:
    once = augment.mirror(clip.joints_m)
    np.testing.assert_array_equal(augment.mirror(once), clip.joints_m)
    np.testing.assert_array_equal(once[:, 13, 1:], clip.joints_m[:, 16, 1:])
    np.testing.assert_array_equal(once[:, 13, 0], -clip.joints_m[:, 16, 0])


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_steps_sum_to_the_time_between_frames(stride: int) -> None:
    rng = np.random.default_rng(0)
    picked = augment.pick_frames(rng, 101, stride=stride)
    np.testing.assert_array_equal(picked, np.arange(0, 101, stride))
    np.testing.assert_allclose(augment.frame_steps(picked, fps=50, stride=stride), stride / 50)
    picked = augment.pick_frames(rng, 1001, stride=stride, drop=0.3)
    dt_s = augment.frame_steps(picked, fps=50, stride=stride)
    assert picked[0] == 0 and dt_s[0] == pytest.approx(stride / 50) and np.diff(picked).min() >= stride
    assert dt_s[1:].sum() == pytest.approx(picked[-1] / 50, rel=1e-4)
    assert len(picked) / (1 + 1000 // stride) == pytest.approx(0.7, abs=0.1)


def test_noise_has_the_detectors_size_and_lasts() -> None:
    xy = np.zeros((9 * 2000, 17, 2), np.float32)
    error, confidence = augment.detector_noise(np.random.default_rng(0), xy)
    assert error.dtype == confidence.dtype == np.float32
    at_keys = error[::9]
    expected = np.sqrt(0.9 * augment.SIGMA**2 + 0.1 * 0.03**2 / 3 + 0.002**2)
    np.testing.assert_allclose(at_keys.std(axis=(0, 2)), expected, rtol=0.08)
    assert np.abs(error.mean(axis=(0, 2))).max() < 1e-3
    neighbours = (error[1:] * error[:-1]).mean() / (error**2).mean()
    assert neighbours > 0.8  # an error lasts: white noise would have 0
    assert abs((at_keys[1:] * at_keys[:-1]).mean() / (at_keys**2).mean()) < 0.05


def test_confidence_falls_with_the_error_and_never_reaches_zero() -> None:
    error, confidence = augment.detector_noise(np.random.default_rng(0), np.zeros((9000, 17, 2), np.float32))
    size = np.linalg.norm(error, axis=-1)
    assert confidence[size < 0.002].mean() > 0.95
    assert confidence[(size > 0.029) & (size < 0.031)].mean() == pytest.approx(0.3, abs=0.05)
    assert confidence.min() > 0 and confidence.max() <= 1


@pytest.mark.parametrize("frames", [1, 2, 9, 10, 81])
def test_noise_fits_sequences_of_any_length(frames: int) -> None:
    error, confidence = augment.detector_noise(np.random.default_rng(0), np.zeros((frames, 17, 2), np.float32))
    assert error.shape == (frames, 17, 2) and confidence.shape == (frames, 17)


def test_a_masked_joint_is_zero_and_the_others_are_untouched() -> None:
    before = keypoints(5000)
    after = augment.drop_limbs(np.random.default_rng(1), augment.drop_joints(np.random.default_rng(0), before))
    lost = after[..., 2] == 0
    assert (after[lost] == 0).all()
    np.testing.assert_array_equal(after[~lost], before[~lost])
    assert before.min() > 0  # the input is not modified


def test_joints_and_frames_are_missing_with_the_given_frequency() -> None:
    lost = augment.drop_joints(np.random.default_rng(0), keypoints(20_000))[..., 2] == 0
    assert lost.all(axis=1).mean() == pytest.approx(0.10, abs=0.01)
    assert lost[~lost.all(axis=1)].mean() == pytest.approx(0.05, abs=0.005)


def test_limbs_are_missing_for_several_frames() -> None:
    lost = augment.drop_limbs(np.random.default_rng(0), keypoints(25_000))[..., 2] == 0
    arm = lost[:, augment.LIMBS[2]]
    assert (arm.all(axis=1) == arm.any(axis=1)).all() and not lost[:, [0, 7, 8, 9, 10]].any()
    starts = np.flatnonzero(np.diff(arm[:, 0].astype(int)) == 1)
    stops = np.flatnonzero(np.diff(arm[:, 0].astype(int)) == -1)
    assert 10 <= len(starts) <= 45 and (stops - starts).min() >= 5 and np.median(stops - starts) <= 30


def test_confused_sides_exchange_legs_or_arms_for_a_few_frames() -> None:
    before = keypoints(100)
    for seed in SEEDS:
        after = augment.confuse_sides(np.random.default_rng(seed), before, chance=1)
        frames = np.flatnonzero((after != before).any(axis=(1, 2)))
        assert 1 <= len(frames) <= 5 and np.ptp(frames) == len(frames) - 1
        moved = (after != before).any(axis=(0, 2))
        assert set(np.flatnonzero(moved)) in ({1, 2, 3, 4, 5, 6}, {11, 12, 13, 14, 15, 16})
        np.testing.assert_array_equal(after[frames][:, moved], before[frames][:, H36M17.mirrored][:, moved])
    swapped = [augment.confuse_sides(np.random.default_rng(seed), before) is not before for seed in range(3000)]
    assert np.mean(swapped) == pytest.approx(0.01, abs=0.006)


# Many sequences at once.

TRANSFORMS: dict[str, Callable[[np.random.Generator, F32], F32]] = {
    "mirror": lambda rng, x: augment.mirror_half(x, rng),
    "noise": lambda rng, x: np.concatenate(
        [a if a.ndim == x.ndim else a[..., None] for a in augment.detector_noise(rng, x[..., :2])], -1
    ),
    "limbs": lambda rng, x: augment.drop_limbs(rng, x, every=5),
    "joints": lambda rng, x: augment.drop_joints(rng, x),
    "swaps": lambda rng, x: augment.confuse_sides(rng, x, chance=0.5),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_sequence_in_a_batch_of_one_is_transformed_as_alone(name: str) -> None:
    x = keypoints(20)
    alone, batched = (TRANSFORMS[name](np.random.default_rng(5), batch) for batch in (x, x[None]))
    np.testing.assert_array_equal(batched[0], alone)
    assert batched.dtype == np.float32


@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_sequence_of_a_batch_is_transformed_independently(name: str) -> None:
    x = np.repeat(keypoints(20)[None], 40, axis=0)
    transformed = TRANSFORMS[name](np.random.default_rng(6), x)
    assert transformed.shape == x.shape and len(np.unique(transformed.reshape(40, -1), axis=0)) >= 2
    if name == "mirror":
        assert 8 <= (transformed != x).any(axis=(1, 2, 3)).sum() <= 32
