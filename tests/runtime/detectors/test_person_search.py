"""The search for people: what it is made of, without the network."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posemoe_edge.runtime.detectors import Detection, Region
from posemoe_edge.runtime.detectors.anchors import anchors
from posemoe_edge.runtime.detectors.person_search import MARGIN, MIN_HEIGHT, Finding, body_region, distinct, parts
from posemoe_edge.runtime.detectors.suppression import is_same_person, overlaps, weighted_suppression
from posemoe_edge.runtime.pose.keypoints import ImageSize


def test_anchors_are_the_middles_of_cells_layer_by_layer() -> None:
    places = anchors(224, ((8, 2), (16, 2), (32, 6)))
    assert places.shape == (2254, 2)  # as many as BlazePose's network has outputs
    np.testing.assert_array_equal(places[:4], [(4, 4), (4, 4), (12, 4), (12, 4)])
    np.testing.assert_array_equal(places[[28 * 28 * 2, -1]], [(8, 8), (208, 208)])


@given(st.floats(-math.pi, math.pi), st.floats(1, 500))
def test_the_region_of_a_body_is_turned_with_it(angle_rad: float, radius_px: float) -> None:
    up_px = radius_px * np.array([math.sin(angle_rad), -math.cos(angle_rad)])
    region = body_region(np.array([300.0, 200.0]), np.array([300.0, 200.0]) + up_px)
    assert region is not None and (region.x_px, region.y_px) == (300, 200)
    assert region.side_px == pytest.approx(2 * MARGIN * radius_px)
    assert math.remainder(region.angle_rad - angle_rad, 2 * math.pi) == pytest.approx(0, abs=1e-6)


def test_a_body_without_a_size_has_no_region() -> None:
    assert body_region(np.array([3.0, 3.0]), np.array([3.0, 3.0])) is None
    assert body_region(np.array([3.0, 3.0]), np.array([np.nan, 3.0])) is None


@given(st.integers(40, 4000), st.integers(40, 4000))
def test_parts_cover_the_picture_and_overlap(width: int, height: int) -> None:
    squares = parts(np.zeros((height, width, 3), np.uint8))
    boxes = np.array([square.box for square in squares])
    for place in np.stack(np.meshgrid(np.linspace(0, width, 9), np.linspace(0, height, 9)), axis=-1).reshape(-1, 2):
        assert ((boxes[:, :2] - 1e-6 <= place) & (place <= boxes[:, 2:] + 1e-6)).all(axis=1).any()
    assert len(squares) <= 21 and squares[0].side_px <= max(height / 2, width / 5)


def test_a_person_of_the_least_height_is_whole_in_a_part() -> None:
    for height, width in ((720, 1280), (480, 640), (1920, 1080)):
        person_px, squares = MIN_HEIGHT * height, parts(np.zeros((height, width, 3), np.uint8))
        for middle_px in np.linspace(person_px / 2, height - person_px / 2, 50):
            boxes = [square.box for square in squares]
            assert any(top <= middle_px - person_px / 2 and middle_px + person_px / 2 <= bottom for _, top, _, bottom in boxes)
        assert person_px / squares[0].side_px >= 0.25  # a quarter of what the network sees


def finding(x_px: float, score: float) -> Finding:
    """Somebody with a region of 100 pixels."""
    region = Region(x_px, 100.0, 100.0)
    return Finding(score, np.array([x_px, 60.0]), region, region)


def test_the_most_certain_finding_of_each_person_counts() -> None:
    people = distinct([finding(0, 0.6), finding(100, 0.7), finding(5, 0.9), finding(104, 0.6)])
    assert [(person.score, person.region.x_px) for person in people] == [(0.9, 5), (0.7, 100)]


def test_overlaps_are_those_of_areas() -> None:
    box = np.array([0.0, 0.0, 2.0, 2.0])
    others = np.array([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], [2.0, 2.0, 3.0, 3.0], [1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_allclose(overlaps(box, others), [1, 1 / 3, 0, 0])


def test_findings_of_one_person_are_averaged_by_their_scores() -> None:
    boxes = np.array([[0, 0, 10, 10], [50, 0, 60, 10], [1, 0, 11, 10], [7, 7, 7, 7]], np.float32)
    values = np.array([[0, 4], [7, 7], [4, 0], [9, 9]], np.float32)
    people = weighted_suppression(boxes, values, np.array([0.9, 0.5, 0.3, 0.2], np.float32), overlap=0.3)
    assert [score for _, score in people] == pytest.approx([0.9, 0.5, 0.2])
    np.testing.assert_allclose([mean for mean, _ in people], [(1, 3), (7, 7), (9, 9)], rtol=1e-6)


def test_people_are_the_same_if_their_bodies_or_their_heads_and_shoulders_coincide() -> None:
    points = np.random.default_rng(0).uniform(100, 300, (17, 3)).astype(np.float32)
    points[:, 2] = 1

    def person(moved: np.ndarray) -> Detection:
        return Detection.from_coco(points + moved.astype(np.float32), size=ImageSize(640, 480))

    nowhere, aside, legs = np.zeros((17, 3)), np.zeros((17, 3)), np.zeros((17, 3))
    aside[:, 0], legs[7:, 0] = 60, 400
    assert is_same_person(person(nowhere), person(aside / 10)) and not is_same_person(person(nowhere), person(aside))
    assert is_same_person(person(nowhere), person(legs))
    unseen = nowhere.copy()
    unseen[:, 2] = -1
    assert not is_same_person(person(nowhere), person(unseen))
