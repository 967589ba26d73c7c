"""BlazePose on real pictures: people are found where they are, and turned and mirrored pictures give the same people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime.arrays import F64, ImageBgr
from posemoe_edge.runtime.detectors import Detection, Region, RegionDetector
from posemoe_edge.runtime.detectors.blazepose import BlazePose, refined
from posemoe_edge.runtime.errors import FrameError
from posemoe_edge.runtime.pose.skeleton import COCO17

CLIPS = Path(__file__).resolve().parents[3].parent / "shared" / "assets" / "real"


def pictures(name: str, *, first: int = 0, every: int = 1, last: int = 10**6) -> Iterator[ImageBgr]:
    """Frames of a real clip; the test is skipped where the clips are absent."""
    cv2 = pytest.importorskip("cv2")
    if not (CLIPS / name).is_file():
        pytest.skip("the real clips are not beside this checkout")
    capture = cv2.VideoCapture(str(CLIPS / name))
    for frame in range(last + 1):
        if not capture.grab():
            return
        if frame >= first and (frame - first) % every == 0:
            yield np.asarray(capture.retrieve()[1], np.uint8)


def picture(name: str, frame: int = 0) -> ImageBgr:
    """One frame."""
    return next(pictures(name, first=frame))


def distances(person: Detection, expected_px: F64) -> F64:
    """Distances of the joints that are seen, in heights of the person's box."""
    left, top, right, bottom = person.box_px
    seen = person.keypoints.score > 0.5
    assert seen.sum() >= 10
    offset_px = (person.keypoints.xy - expected_px)[seen]
    return np.asarray(np.hypot(*offset_px.T) / max(right - left, bottom - top), np.float64)


def test_a_person_turned_with_the_picture_is_found_turned(blazepose: BlazePose) -> None:
    upright = picture("single_cam01.mp4")
    (expected,) = blazepose.detect(upright)
    people = blazepose.detect(np.ascontiguousarray(np.rot90(upright, -1)))  # by 90 degrees, clockwise
    turned = max(people, key=lambda person: person.box_px[2] - person.box_px[0])  # others stand in the background
    x, y = expected.keypoints.xy.T
    assert isinstance(blazepose, RegionDetector)
    assert np.median(distances(turned, np.stack([upright.shape[0] - y, x], axis=1))) < 0.02
    assert expected.region is not None and turned.region is not None
    turn_rad = (turned.region.angle_rad - expected.region.angle_rad) % (2 * np.pi)
    assert abs(turn_rad - np.pi / 2) < 0.1


def test_in_a_mirrored_picture_left_is_right(blazepose: BlazePose) -> None:
    image = picture("pose_squats.mp4", 10)
    (person,), (mirrored,) = blazepose.detect(image), blazepose.detect(np.ascontiguousarray(image[:, ::-1]))
    expected_px = np.asarray(person.keypoints.xy[list(COCO17.mirrored)], np.float64)
    expected_px[:, 0] = image.shape[1] - expected_px[:, 0]
    assert np.median(distances(mirrored, expected_px)) < 0.02
    left_knee, right_knee = (COCO17.joints.index(f"{side}_knee") for side in ("left", "right"))
    assert person.keypoints.xy[left_knee, 0] > person.keypoints.xy[right_knee, 0] + 50  # the person faces the camera


def test_the_region_after_a_person_gives_the_same_landmarks(blazepose: BlazePose) -> None:
    image = picture("single_cam04.mp4")
    (searched,) = blazepose.detect(image)
    assert searched.region is not None
    (followed,) = blazepose.detect(image, regions=[searched.region])
    assert np.median(distances(followed, np.asarray(searched.keypoints.xy, np.float64))) < 0.01
    _, top, _, bottom = followed.box_px
    assert followed.region is not None and searched.region.is_near(followed.region)
    assert 1.1 < searched.region.side_px / (bottom - top) < 2  # the circle around the body, and a margin


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_three_people_are_three(blazepose: BlazePose, scale: float) -> None:
    cv2 = pytest.importorskip("cv2")
    image = np.asarray(cv2.resize(picture("three_people.jpg"), None, fx=scale, fy=scale), np.uint8)
    for people in (blazepose.detect(image), blazepose.detect(image, regions=blazepose.find(image))):
        noses = sorted(tuple(person.keypoints.xy[0] / scale) for person in people)
        assert len(noses) == 3
        for nose, expected in zip(noses, ((190, 150), (385, 470), (880, 150)), strict=True):
            assert np.hypot(nose[0] - expected[0], nose[1] - expected[1]) < 40


def test_two_regions_of_one_person_are_one_person(blazepose: BlazePose) -> None:
    image = picture("multi_cam02.mp4")
    people = blazepose.detect(image)
    regions = [person.region for person in people if person.region]
    again = blazepose.detect(image, regions=[*regions, *(region.moved(region.side_px / 20, 0) for region in regions)])
    assert len(people) == len(regions) == len(again) == 2
    assert blazepose.detect(image, regions=[]) == [] and blazepose.detect(image, regions=[Region(-900.0, -900.0, 300.0)]) == []


def test_an_empty_room_has_nobody_in_it(blazepose: BlazePose) -> None:
    for image in pictures("one_by_one_first30s.mp4", every=12, last=48):  # the first person enters at about frame 60
        assert blazepose.detect(image) == []
    for shade in (0, 128, 255):
        assert blazepose.detect(np.full((200, 300, 3), shade, np.uint8)) == []


def test_people_at_tables_are_found_upright(blazepose: BlazePose) -> None:
    people = blazepose.detect(picture("classroom_sitting.mp4", 24))
    heads_px = {(242, 135), (316, 165)}  # in the second row, and in front at the right
    for head_px in heads_px:
        person = min(people, key=lambda person: float(np.hypot(*(person.keypoints.xy[0] - head_px))))
        assert np.hypot(*(person.keypoints.xy[0] - head_px)) < 15
        assert person.region is not None and abs(person.region.angle_rad) < 0.5


def test_joints_outside_of_the_picture_are_not_seen(blazepose: BlazePose) -> None:
    (person,) = blazepose.detect(picture("asl_walk_upper_body.mkv", 10))
    inside = np.all((person.keypoints.xy >= 0) & (person.keypoints.xy <= (640, 480)), axis=1)
    assert np.all(person.keypoints.score[~inside] == 0)
    knees_and_ankles = person.keypoints.score[13:]
    assert (~inside[13:]).any() and person.keypoints.score[:7].min() > 0.9 and knees_and_ankles.max() < 0.5


def test_people_who_are_too_small_are_not_guessed_at(blazepose: BlazePose) -> None:
    cv2 = pytest.importorskip("cv2")
    image = picture("single_cam01.mp4")
    tiny = cv2.resize(image, None, fx=0.03, fy=0.03, interpolation=cv2.INTER_AREA)  # 25 pixels tall
    assert len(blazepose.detect(image)) == 1 and blazepose.detect(np.asarray(tiny, np.uint8)) == []


def test_a_picture_of_another_kind_is_refused(blazepose: BlazePose) -> None:
    for bad in (np.zeros((10, 10), np.uint8), np.zeros((10, 10, 4), np.uint8), np.zeros((10, 10, 3), np.float32)):
        for look in (blazepose.find, blazepose.detect):
            with pytest.raises(FrameError, match=r"expected \(H, W, 3\) uint8"):
                look(bad)  # type: ignore[arg-type]


def test_a_landmark_moves_to_the_middle_of_a_certain_heatmap_alone() -> None:
    xy_px = np.array([(100, 100), (100, 100), (300, 300), (2, 250)], np.float32)  # cells 25, 25; outside; 0, 62
    heatmaps = np.full((64, 64, 4), -20, np.float32)
    heatmaps[24, 27, 0], heatmaps[26, 27, 0] = 5, 5  # between two equal peaks
    heatmaps[24, 27, 1] = -1  # less likely than not
    heatmaps[63, 63, 2] = 5
    heatmaps[63, 0, 3] = 5  # at the corner
    expected_px = [(108, 100), (100, 100), (300, 300), (0, 252)]
    np.testing.assert_allclose(refined(xy_px, heatmaps), expected_px, atol=0.01)
