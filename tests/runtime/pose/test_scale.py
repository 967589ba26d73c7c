"""How large a person is: by a stature, by the floor, by both, and by neither."""

from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.pose.scale import ADULT_M, PRIOR_SIGMA, STATURE_SIGMA, Floor, PersonScale, Scale, check_stature
from posemoe_edge.runtime.sources.walker import Walker, walk_world

SEEN = np.ones(17)
HEIGHT_M = 1.4
TILT = np.radians(12)
DOWN = np.array([0.0, np.cos(TILT), np.sin(TILT)])  # of a camera that looks down by 12 degrees


def walk(size: float = 1.0, *, depth_m: float = 4.0) -> tuple[F64, F64]:
    """(T, 17, 3) poses of a person of that size, relative to the hip, and (T, 3) positions, in the camera's axes."""
    world = walk_world(np.arange(100) / 25, seed=3) * size / Walker.draw(seed=3).size
    level = np.stack([world[..., 0], HEIGHT_M - world[..., 2], world[..., 1] + depth_m], axis=-1)
    turn = np.array([[1, 0, 0], [0, np.cos(TILT), -np.sin(TILT)], [0, np.sin(TILT), np.cos(TILT)]])
    camera = level @ turn.T
    return camera - camera[:, :1], camera[:, 0]


def after(person: PersonScale, poses_m: F64, roots_m: F64, score: F64 = SEEN) -> Scale:
    """The scale after all frames."""
    return [person.observe(pose_m, root_m, score) for pose_m, root_m in zip(poses_m, roots_m, strict=True)][-1]


@pytest.mark.parametrize("lifted", [0.9, 1.0, 1.08])
def test_without_anything_known_a_person_is_an_adult_whatever_size_the_lifter_gives(lifted: float) -> None:
    scale = after(PersonScale(), *walk(lifted))
    assert scale.rests_on == "prior" and scale.sigma == pytest.approx(PRIOR_SIGMA * scale.factor)
    assert scale.factor * lifted == pytest.approx(ADULT_M / 1.75, rel=0.015)  # the walker's size is 1.75 m


def test_the_size_of_a_figure_is_the_median_over_time() -> None:
    """In one frame it is by chance larger or smaller; a person is not."""
    poses_m, roots_m = walk()
    rng = np.random.default_rng(5)
    noisy = poses_m * (1 + 0.05 * rng.normal(size=(len(poses_m), 1, 1)))
    plain, scale = (after(PersonScale(), poses, roots_m) for poses in (poses_m, noisy))
    assert scale.factor == pytest.approx(plain.factor, rel=0.02)


def test_a_figure_that_is_no_body_has_no_size() -> None:
    """Lifters that were not trained give one."""
    for size in (0.1, 3.0):
        assert after(PersonScale(), *walk(size)) == Scale(1.0, PRIOR_SIGMA, "prior")


@pytest.mark.parametrize("size", [0.62, 0.9, 1.08])
def test_a_known_stature_scales_the_lifters_figure(size: float) -> None:
    """The lifter gives everybody the walker's size, 1.75 m."""
    scale = after(PersonScale(stature_m=1.75 * size), *walk())
    assert scale.rests_on == "stature" and scale.sigma == pytest.approx(STATURE_SIGMA * size, rel=0.015)
    assert scale.factor == pytest.approx(size, rel=0.015)


@pytest.mark.parametrize("size", [0.62, 0.9, 1.0, 1.08])
def test_a_foot_on_the_floor_tells_how_large_a_person_is(size: float) -> None:
    poses_m, roots_m = walk(size)
    scale = after(PersonScale(floor=Floor(DOWN, HEIGHT_M)), poses_m / size, roots_m / size)
    assert scale.rests_on == "floor" and (scale.sigma < PRIOR_SIGMA or size < 0.8)
    assert abs(scale.factor - size) < 0.65 * abs(ADULT_M / 1.75 - size) + 0.005  # the prior holds it back
    assert abs(scale.factor - size) < 0.06  # also of a child
    assert abs(scale.factor - size) < 2 * scale.sigma


def test_stature_and_floor_are_fused_by_their_variances() -> None:
    poses_m, roots_m = walk()
    floor = Floor(DOWN, HEIGHT_M)
    by_floor = after(PersonScale(floor=floor), poses_m, roots_m)
    both = after(PersonScale(stature_m=1.75 * 0.95, floor=floor), poses_m, roots_m)
    assert both.rests_on == "stature+floor"
    assert 0.95 < both.factor < by_floor.factor and both.sigma < min(STATURE_SIGMA, by_floor.sigma)


def test_the_floor_says_less_of_people_far_away() -> None:
    near, far = (after(PersonScale(floor=Floor(DOWN, HEIGHT_M)), *walk(depth_m=depth_m)) for depth_m in (3.0, 12.0))
    assert near.sigma < far.sigma < PRIOR_SIGMA


def test_jumps_do_not_count_since_the_median_does() -> None:
    poses_m, roots_m = walk()
    jumping = roots_m.copy()
    jumping[::4] -= 0.3 * DOWN
    plain, jumped = (after(PersonScale(floor=Floor(DOWN, HEIGHT_M)), poses_m, where) for where in (roots_m, jumping))
    assert jumped.factor == pytest.approx(plain.factor, abs=0.01)


def test_a_foot_that_cannot_stand_on_the_floor_says_nothing() -> None:
    poses_m, roots_m = walk()
    for moved in (-1.2 * DOWN, 3.0 * DOWN):  # beside the camera; far below it, on another floor
        assert after(PersonScale(floor=Floor(DOWN, HEIGHT_M)), poses_m, roots_m + moved).rests_on == "prior"


def test_ankles_that_are_not_seen_say_nothing() -> None:
    hidden = SEEN.copy()
    hidden[6] = 0
    poses_m, roots_m = walk()
    assert after(PersonScale(floor=Floor(DOWN, HEIGHT_M)), poses_m, roots_m, hidden).rests_on == "prior"
    hidden[3] = 0
    assert after(PersonScale(stature_m=1.6), poses_m, roots_m, hidden).rests_on == "prior"
    hidden[3] = 1  # one leg is enough for a stature
    assert after(PersonScale(stature_m=1.6), poses_m, roots_m, hidden).rests_on == "stature"


@pytest.mark.parametrize("stature_m", [0.1, 175.0, -1.7, float("nan")])
def test_a_stature_that_nobody_has_is_refused(stature_m: float) -> None:
    with pytest.raises(UsageError, match="stature"):
        check_stature(stature_m)
