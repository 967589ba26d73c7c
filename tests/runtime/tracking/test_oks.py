"""The tracker oks: ids that last, people who are hidden for a while, times that jump."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.detectors import Detection, Region
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.sources.synthetic import SYNTHETIC_CAMERA
from posemoe_edge.runtime.sources.walker import walk_world
from posemoe_edge.runtime.tracking.oks import OksTracker
from posemoe_edge.runtime.tracking.track import Track

pytest.importorskip("scipy", reason="the tracker oks needs scipy, of the extra camera")

SIZE = ImageSize(1000, 1002)
FPS = 30.0


def moved(xy_px: F64, x_px: float) -> F64:
    """The same joints elsewhere."""
    return np.asarray(xy_px + np.array([x_px, 0.0]))


def walker_px(frames: int, person: int = 0, *, x_px: float = 0.0) -> F64:
    """(T, 17, 2) a walker in pixels, moved to the side."""
    world = walk_world(np.arange(frames) / FPS, seed=5, person=person)
    return moved(SYNTHETIC_CAMERA.project(SYNTHETIC_CAMERA.to_camera(world)), x_px)


def detection(xy_px: F64, score: float = 0.8, *, region: Region | None = None) -> Detection:
    points = np.concatenate([xy_px, np.full((17, 1), score)], axis=1)
    scores = points[:, 2]
    return Detection.from_arrays(points[:, :2], scores, skeleton=H36M17, size=SIZE, score=score, region=region)


def ids(tracker: OksTracker, frames: Sequence[Sequence[F64]], *, score: float = 0.8) -> list[list[int]]:
    """The ids of each frame, in the order of its detections; -1 without one."""
    rows = []
    for i, people in enumerate(frames):
        detections = [detection(xy, score) for xy in people]
        found = {found.box_px: person for person, found in tracker.update(detections, t_s=i / FPS).items()}
        rows.append([found.get(d.box_px, -1) for d in detections])
    return rows


def test_who_is_in_the_first_frame_has_an_id_at_once() -> None:
    a, b = walker_px(3), walker_px(3, 1, x_px=500)
    assert ids(OksTracker(), [[a[0], b[0]]]) == [[0, 1]]


def test_who_comes_later_has_an_id_after_three_frames() -> None:
    a, b = walker_px(6), walker_px(6, 1, x_px=500)
    rows = ids(OksTracker(), [[a[0]], *([a[i], b[i]] for i in range(1, 6))])
    assert [row[-1] for row in rows] == [0, -1, -1, 1, 1, 1]


def test_a_ghost_of_one_frame_is_nobody() -> None:
    a = walker_px(10)
    frames = [[a[i], moved(a[i], 400)] if i == 4 else [a[i]] for i in range(10)]
    assert {person for row in ids(OksTracker(), frames) for person in row} == {0, -1}


def test_ids_do_not_follow_the_detectors_order() -> None:
    a, b = walker_px(40), walker_px(40, 1, x_px=300)
    rows = ids(OksTracker(), [[a[i], b[i]] if i % 3 else [b[i], a[i]] for i in range(40)])
    first = rows[0][::-1]
    assert all(row == (first if i % 3 else first[::-1]) for i, row in enumerate(rows))


def test_people_who_pass_each_other_keep_their_ids() -> None:
    """Two walk across the picture in opposite directions; the one behind is hidden while they cross."""
    still = walker_px(1)[0]
    x_px = np.linspace(-300, 300, 61)
    frames = [[moved(still, x), moved((still - 500) * 0.8 + 500, -x)] for x in x_px]
    hidden = np.abs(x_px) < 60
    rows = ids(OksTracker(), [people[:1] if away else people for people, away in zip(frames, hidden, strict=True)])
    assert all(row == ([0] if away else [0, 1]) for row, away in zip(rows, hidden, strict=True))


@pytest.mark.parametrize(("away_frames", "same"), [(15, True), (55, True), (75, False)])
def test_who_was_hidden_keeps_the_id_for_two_seconds(away_frames: int, same: bool) -> None:
    a = walker_px(1)[0]
    rows = ids(OksTracker(), [[a]] * 10 + [[]] * away_frames + [[a]] * 5)
    assert rows[-1] == [0 if same else 1]


def test_two_detections_of_one_person_are_one() -> None:
    a = walker_px(20)
    rng = np.random.default_rng(0)
    rows = ids(OksTracker(), [[xy, xy + rng.normal(size=xy.shape)] for xy in a])
    assert all(sorted(row) == [-1, 0] for row in rows)


def test_a_doubtful_detection_continues_a_person_and_is_nobody_new() -> None:
    a = walker_px(20)
    assert ids(OksTracker(), [[xy] for xy in a], score=0.3) == [[-1]] * 20
    tracker = OksTracker()
    tracker.update([detection(a[0])], t_s=0.0)
    assert [list(tracker.update([detection(a[i], 0.3)], t_s=i / FPS)) for i in range(1, 20)] == [[0]] * 19


def test_regions_move_with_the_person_and_end_with_them() -> None:
    tracker, still = OksTracker(), walker_px(1)[0]
    for i in range(30):
        region = Region(500 + 10 * i, 400, 300, 0.2)
        tracker.update([detection(moved(still, 10 * i), region=region)], t_s=i / FPS)
    (region,) = tracker.regions(t_s=30 / FPS)
    assert region.x_px == pytest.approx(800, abs=1) and (region.y_px, region.side_px, region.angle_rad) == (400, 300, 0.2)
    tracker.update([], t_s=30 / FPS)
    assert len(tracker.regions(t_s=31 / FPS)) == 1
    assert tracker.regions(t_s=29 / FPS + 0.6) == []


def test_reset_begins_with_id_0() -> None:
    tracker, still = OksTracker(), walker_px(1)[0]
    for _ in range(2):
        assert list(tracker.update([detection(still)], t_s=0.0)) == [0]
        tracker.reset()


@pytest.mark.parametrize("jump_s", [-100.0, -3.0, 3.0, 1e6])
def test_after_a_jump_of_time_everybody_is_new_at_once(jump_s: float) -> None:
    tracker, still = OksTracker(), walker_px(1)[0]
    tracker.update([detection(still)], t_s=10.0)
    assert list(tracker.update([detection(still)], t_s=10.0 + jump_s)) == [1]
    assert list(tracker.update([detection(still)], t_s=10.1 + jump_s)) == [1]


@pytest.mark.parametrize("t_s", [9.9, 10.0, math.nan, math.inf, -math.inf])
def test_a_time_out_of_order_costs_nobody_the_id(t_s: float) -> None:
    tracker, still = OksTracker(), walker_px(1)[0]
    tracker.update([detection(still)], t_s=10.0)
    assert list(tracker.update([detection(moved(still, 5))], t_s=t_s)) == [0]
    assert list(tracker.update([detection(moved(still, 6))], t_s=10.1)) == [0]
    assert np.isfinite(tracker._tracks[0].expected(10.2)).all()


def test_joints_that_are_not_finite_cost_nobody_the_id() -> None:
    tracker, a = OksTracker(), walker_px(10)
    for i, xy in enumerate(a):
        bad = xy.copy()
        bad[i] = np.nan if i == 5 else xy[i]
        points = np.concatenate([bad, np.full((17, 1), 0.8)], axis=1)
        found = Detection.from_arrays(points[:, :2], points[:, 2], skeleton=H36M17, size=SIZE, box_px=(0, 0, 9, 9), score=0.8)
        assert tracker.update([found], t_s=i / FPS) == {0: found}
    assert np.isfinite(tracker._tracks[0].expected(1.0)).all()


def test_a_person_without_any_joint_is_nobody() -> None:
    nobody = Detection.from_arrays(np.zeros((17, 2)), np.zeros(17), skeleton=H36M17, size=SIZE)
    tracker = OksTracker()
    assert tracker.update([nobody, nobody], t_s=0.0) == {} and tracker.update([nobody], t_s=0.1) == {}


times = st.lists(st.one_of(st.floats(-1e3, 1e3), st.sampled_from([math.nan, math.inf, 0.0, 0.1])), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(times, st.integers(0, 2**31))
def test_whatever_comes_ids_are_distinct_and_predictions_finite(instants: list[float], seed: int) -> None:
    rng, tracker = np.random.default_rng(seed), OksTracker()
    for t_s in instants:
        people = [detection(rng.uniform(-50, 1200, (17, 2)), float(rng.uniform(0.1, 1))) for _ in range(rng.integers(4))]
        found = tracker.update(people, t_s=t_s)
        assert len({id(person) for person in found.values()}) == len(found) <= len(people)
        assert all(np.isfinite(track.expected(1.0)).all() and track.size_px > 0 for track in tracker._tracks)


def test_velocity_is_in_seconds() -> None:
    """The same walk at 10 and at 50 frames a second: the same place is expected a little later."""

    def expected(fps: float) -> F64:
        still = np.concatenate([walker_px(1)[0], np.full((17, 1), 0.8)], axis=1)
        track = Track(still, t_s=0.0)
        for i in range(1, round(2 * fps) + 1):
            later = still.copy()
            later[:, 0] += 100 * i / fps
            track.add(later, t_s=i / fps, log_scale=0.0, region=None)
        return track.expected(2.2)

    np.testing.assert_allclose(expected(10), expected(50), atol=1e-2)
    np.testing.assert_allclose(expected(50)[:, 0] - walker_px(1)[0][:, 0], 220, atol=1e-2)
