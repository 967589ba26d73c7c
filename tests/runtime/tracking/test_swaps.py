"""Left and right that a detector exchanges: undone in spells, people who turn are left alone, a wrong start is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.detectors import Detection
from posemoe_edge.runtime.detectors.blazepose import BlazePose
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.sources.synthetic import SYNTHETIC_CAMERA
from posemoe_edge.runtime.sources.video import VideoSource
from posemoe_edge.runtime.sources.walker import walk_world
from posemoe_edge.runtime.tracking import open_tracker
from posemoe_edge.runtime.tracking.swaps import SwapFilter

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "assets" / "real"
PARTS = ("transform", "intrinsic")
SIZE = ImageSize(1000, 1002)
LEFT_SHOULDER, RIGHT_SHOULDER = 11, 14
LIMBS = {"arms": (11, 12, 13), "legs": (4, 5, 6), "both": (4, 5, 6, 11, 12, 13)}
APART = ("arms", "both")  # of a person who is seen from the front; legs pass each other at every step


def swapped(points_px: F64, limbs: str | None) -> F64:
    """The joints as a detector gives them that exchanges these limbs."""
    order = np.arange(17)
    for joint in LIMBS[limbs] if limbs else ():
        mirrored = H36M17.mirrored[joint]
        order[joint], order[mirrored] = mirrored, joint
    return points_px[order]


def walk_px(seconds: float, *, fps: float, seed: int, noise: float = 0.03) -> tuple[F64, float]:
    """(T, 17, 3) joints of a walker on a closed path as a detector sees them, and the square root of the area in pixels."""
    xy = SYNTHETIC_CAMERA.project(SYNTHETIC_CAMERA.to_camera(walk_world(np.arange(int(seconds * fps)) / fps, seed=seed)))
    size_px = float(np.median(np.sqrt(np.ptp(xy, axis=1).prod(axis=1))))
    rng = np.random.default_rng(seed)
    steady, error = np.exp(-1 / (0.3 * fps)), np.zeros((17, 2))
    errors = []
    for _ in xy:  # errors that last for 0.3 s, as those of detectors do, and jitter
        error = steady * error + np.sqrt(1 - steady**2) * 0.8 * noise * rng.normal(size=(17, 2))
        errors.append(error + 0.6 * noise * rng.normal(size=(17, 2)))
    return np.concatenate([xy + size_px * np.stack(errors), np.full((len(xy), 17, 1), 0.9)], axis=2), size_px


def undone(frames: Iterable[F64], *, size_px: float, fps: float) -> list[F64]:
    """The frames after a filter."""
    swaps = SwapFilter(H36M17)
    orders = [swaps.update(points, size_px=size_px, elapsed_s=1 / fps) for points in frames]
    return [points if order is None else points[order] for points, order in zip(frames, orders, strict=True)]


def facing(seconds: float, *, fps: float, seed: int) -> tuple[F64, float]:
    """Part of a walk in which the person is seen from the front or from behind."""
    points, size_px = walk_px(14, fps=fps, seed=seed)
    frames = int(seconds * fps)
    width_px = np.abs(points[:, LEFT_SHOULDER, 0] - points[:, RIGHT_SHOULDER, 0])
    first = max(range(len(points) - frames), key=lambda i: width_px[i : i + frames].min())
    return points[first : first + frames], size_px


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), fps=st.sampled_from([10.0, 15.0, 30.0, 60.0]), noise=st.sampled_from([0.0, 0.02, 0.04]))
def test_a_person_who_walks_in_circles_is_left_as_is(seed: int, fps: float, noise: float) -> None:
    points, size_px = walk_px(8, fps=fps, seed=seed, noise=noise)
    assert np.array_equal(undone(points, size_px=size_px, fps=fps), points)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    fps=st.sampled_from([30.0, 60.0]),
    limbs=st.sampled_from(APART),
    begin=st.floats(0.5, 0.7),
    share=st.floats(0.03, 0.2),
)
def test_a_spell_of_swaps_is_undone(seed: int, fps: float, limbs: str, begin: float, share: float) -> None:
    points, size_px = facing(1.0, fps=fps, seed=seed)
    first, last = int(begin * len(points)), int((begin + share) * len(points)) + 1
    given_px = [swapped(p, limbs if first <= i < last else None) for i, p in enumerate(points)]
    assert np.array_equal(undone(given_px, size_px=size_px, fps=fps), points)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), wrong=st.integers(1, 12), limbs=st.sampled_from(APART))
def test_after_a_wrong_start_people_are_right_again_in_as_many_frames(seed: int, wrong: int, limbs: str) -> None:
    points, size_px = facing(1.0, fps=30.0, seed=seed)
    given_px = [swapped(p, limbs if i < wrong else None) for i, p in enumerate(points)]
    found = undone(given_px, size_px=size_px, fps=30.0)
    assert np.array_equal(found[2 * wrong + 1 :], points[2 * wrong + 1 :])


def test_legs_that_are_exchanged_are_put_right_in_nine_of_ten_cases() -> None:
    """A swap that begins or ends just when they pass each other cannot be seen."""
    spells = starts = 0
    for seed in range(60):
        points, size_px = facing(1.0, fps=30.0, seed=seed)
        spell = [swapped(p, "legs" if 16 <= i < 20 else None) for i, p in enumerate(points)]
        spells += np.array_equal(undone(spell, size_px=size_px, fps=30.0), points)
        start = [swapped(p, "legs" if i < 5 else None) for i, p in enumerate(points)]
        starts += np.array_equal(undone(start, size_px=size_px, fps=30.0)[11:], points[11:])
    assert spells >= 54 and starts >= 54


def test_in_a_whole_walk_most_swaps_are_undone() -> None:
    """A spell may begin just when left and right pass each other, where nobody can see it."""
    before = after = frames = 0
    for seed in range(6):
        points, size_px = walk_px(12, fps=30.0, seed=seed)
        rng, spells = np.random.default_rng(seed), list[str | None]()
        while len(spells) < len(points):
            spells += [None] * (10 + int(rng.exponential(40))) + [str(rng.choice([*LIMBS]))] * (1 + int(rng.exponential(10)))
        given_px = [swapped(p, limbs) for p, limbs in zip(points, spells, strict=False)]
        found = undone(given_px, size_px=size_px, fps=30.0)
        before += sum(limbs is not None for limbs in spells[: len(points)])
        after += sum(not np.array_equal(a, b) for a, b in zip(found, points, strict=True))
        frames += len(points)
    assert before > 0.08 * frames
    assert after < before / 2


def test_joints_that_are_not_seen_say_nothing() -> None:
    points, size_px = facing(1.0, fps=30.0, seed=3)
    points[:, [2, 3, 12]] = 0.0
    points[10:20] = 0.0  # nobody is seen
    assert np.array_equal(undone(points, size_px=size_px, fps=30.0), points)


@pytest.mark.parametrize("elapsed_s", [0.0, 1e-9, 2.0, 1e6])
def test_any_time_between_frames_is_taken(elapsed_s: float) -> None:
    points, size_px = facing(1.0, fps=30.0, seed=3)
    swaps = SwapFilter(H36M17)
    assert all(swaps.update(points[10], size_px=size_px, elapsed_s=elapsed_s) is None for _ in range(20))


def run_tracker(spec: str, frames: Iterable[NDArray[np.floating]], *, fps: float) -> list[NDArray[np.floating]]:
    tracker, found = open_tracker(spec), []
    for i, points in enumerate(frames):
        detection = Detection.from_arrays(points[:, :2], points[:, 2], skeleton=H36M17, size=SIZE)
        (person,) = tracker.update([detection], t_s=i / fps).items()
        assert person[0] == 0
        found.append(person[1].keypoints.points)
    return found


def test_the_tracker_undoes_swaps_unless_it_is_told_not_to() -> None:
    pytest.importorskip("scipy", reason="the tracker oks needs scipy, of the extra camera")
    points, _ = facing(1.0, fps=30.0, seed=7)
    given_px = [np.asarray(swapped(p, "both" if i in (15, 20, 21, 22) else None), np.float32) for i, p in enumerate(points)]
    assert np.array_equal(run_tracker("oks", given_px, fps=30.0), np.asarray(points, np.float32))
    assert np.array_equal(run_tracker("oks:swapped", given_px, fps=30.0), given_px)


def test_an_unknown_kind_of_the_tracker_is_refused() -> None:
    with pytest.raises(UsageError, match="oks:swapped"):
        open_tracker("oks:straight")


def true_limbs_px(frames: int) -> F64:
    """(T, 12, 2) the true limb joints of COCO-17 in the picture of cam02: left, right, left ..."""
    truth_m = np.load(REAL / "pose2sim_single_truth.npz")["coco17_m"][:frames, 5:]
    element = list(ElementTree.parse(REAL / "pose2sim_calib.qca.txt").iter("camera"))[1]
    place, lens = (
        {k: float(v) for k, v in found.attrib.items()} for found in (element.find(n) for n in PARTS) if found is not None
    )
    turn = np.array([[place[f"r{row}{column}"] for column in (1, 2, 3)] for row in (1, 2, 3)])
    x, y, z = np.moveaxis((truth_m - np.array([place[axis] for axis in "xyz"]) / 1000) @ turn.T, -1, 0)
    focal_px, middle_px = ([lens[f"{name}{axis}"] / 64 for axis in "UV"] for name in ("focalLength", "centerPoint"))
    # Qualisys' cameras look along -z, with y up.
    return np.stack([middle_px[0] - focal_px[0] * x / z, middle_px[1] + focal_px[1] * y / z], axis=-1)


def test_blazepose_full_no_longer_swaps_on_a_real_clip(open_blazepose: Callable[..., BlazePose]) -> None:
    """It exchanges left and right in a third of the frames. After the tracker, hardly any is nearer to the mirrored truth."""
    pytest.importorskip("scipy", reason="the tracker oks needs scipy, of the extra camera")
    if not (REAL / "single_cam02.mp4").is_file():
        pytest.skip("the real clips are not beside this checkout")
    tracker, detector, before, after = open_tracker("oks"), open_blazepose("full"), [], []
    source = VideoSource(REAL / "single_cam02.mp4")
    for frame in source:
        regions = tracker.regions(t_s=frame.t_s) or detector.find(frame.image_bgr)
        (detection,) = detector.detect(frame.image_bgr, regions=regions)
        before.append(detection.keypoints.xy[5:])
        after.append(tracker.update([detection], t_s=frame.t_s)[0].keypoints.xy[5:])
    source.close()
    true_px = true_limbs_px(len(before))
    mirrored_px = true_px.reshape(-1, 6, 2, 2)[:, :, ::-1].reshape(true_px.shape)

    def share(found_px: list[NDArray[np.floating]]) -> float:
        off_px, mirrored_off_px = (np.linalg.norm(np.stack(found_px) - p, axis=2).mean(axis=1) for p in (true_px, mirrored_px))
        assert np.median(np.minimum(off_px, mirrored_off_px)) < 30
        return float(np.mean(mirrored_off_px < off_px))

    assert share(before) > 0.3
    assert share(after) < 0.03
