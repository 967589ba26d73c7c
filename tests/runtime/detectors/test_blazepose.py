"""BlazePose on real pictures: people are found where they are, and turned and mirrored pictures give the same people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime.arrays import ImageBgr
from posemoe_edge.runtime.detectors import RegionDetector
from posemoe_edge.runtime.detectors.blazepose import BlazePose

CLIPS = Path(__file__).resolve().parents[3].parent / "shared" / "assets" / "real"


def picture(name: str, frame: int = 0) -> ImageBgr:
    """A frame of a real clip; the test is skipped where the clips are absent."""
    cv2 = pytest.importorskip("cv2")
    if not (CLIPS / name).is_file():
        pytest.skip("the real clips are not beside this checkout")
    capture = cv2.VideoCapture(str(CLIPS / name))
    capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
    grabbed, image = capture.read()
    assert grabbed
    return np.asarray(image, np.uint8)


def test_a_person_turned_with_the_picture_is_found_turned(blazepose: BlazePose) -> None:
    upright = picture("single_cam01.mp4")
    height = upright.shape[0]
    (expected,) = blazepose.detect(upright)
    (turned,) = blazepose.detect(np.ascontiguousarray(np.rot90(upright, -1)))  # by 90 degrees, clockwise
    x, y = expected.keypoints.xy.T
    seen = expected.keypoints.score > 0.5
    person_px = np.ptp(y[seen])
    distance_px = np.hypot(*(turned.keypoints.xy - np.stack([height - y, x], axis=1)).T)
    assert isinstance(blazepose, RegionDetector) and seen.sum() > 10
    assert np.median(distance_px[seen]) < 0.02 * person_px
    assert expected.region is not None and turned.region is not None
    turn = (turned.region.angle_rad - expected.region.angle_rad) % (2 * np.pi)
    assert abs(turn - np.pi / 2) < 0.1
