"""Detections: boxes and scores follow from the joints, and what is inconsistent is refused."""

from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.detectors import Box, Detection
from posemoe_edge.runtime.errors import FrameError
from posemoe_edge.runtime.pose.keypoints import ImageSize, Keypoints
from posemoe_edge.runtime.pose.skeleton import COCO17, H36M17

SIZE = ImageSize(640, 480)


@pytest.fixture
def points_px() -> F32:
    """(17, 3) a person between (100, 50) and (200, 300) with scores 0.5; joint 4 was not seen."""
    points_px = np.full((17, 3), (150, 100, 0.5), np.float32)
    points_px[0, :2], points_px[1, :2] = (100, 50), (200, 300)
    points_px[4] = (900, 900, 0)
    return points_px


def test_box_and_score_are_those_of_the_joints_that_were_seen(points_px: F32) -> None:
    detection = Detection.from_coco(points_px, size=SIZE)
    assert detection.box_px == (100, 50, 200, 300) and detection.score == 0.5
    assert detection.keypoints.skeleton == COCO17 and detection.keypoints.size == SIZE


def test_a_detector_may_have_its_own_box_and_score(points_px: F32) -> None:
    detection = Detection.from_arrays(
        points_px[:, :2], points_px[:, 2], skeleton=H36M17, size=SIZE, box_px=(90, 40, 210, 310), score=0.9
    )
    assert (detection.box_px, detection.score, detection.keypoints.skeleton) == ((90, 40, 210, 310), 0.9, H36M17)
    np.testing.assert_array_equal(detection.keypoints.points, points_px)


def test_joints_that_are_not_finite_are_left_to_the_stream(points_px: F32) -> None:
    points_px[7, 0] = np.nan
    assert Detection.from_coco(points_px, size=SIZE).box_px == (100, 50, 200, 300)
    assert Detection.from_coco(np.full((17, 3), np.nan, np.float32), size=SIZE).score == 0


@pytest.mark.parametrize(
    ("box_px", "score", "message"),
    [
        ((9.0, 0.0, 3.0, 4.0), 0.5, "the box"),
        ((0.0, 0.0, 3.0, float("nan")), 0.5, "the box"),
        ((0.0, 0.0, 3.0, 4.0), 1.5, "the score 1.5"),
    ],
)
def test_an_impossible_box_or_score_is_refused(points_px: F32, box_px: Box, score: float, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        Detection.from_coco(points_px, size=SIZE, box_px=box_px, score=score)


def test_normalised_keypoints_are_no_detection(points_px: F32) -> None:
    with pytest.raises(FrameError, match="normalised keypoints"):
        Detection(Keypoints.from_normalised(points_px), (0, 0, 1, 1), 0.5)
