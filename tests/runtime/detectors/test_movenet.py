"""Detectors: selected by name, and MoveNet's joints are in the pixels of the picture."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime.arrays import ImageBgr
from posemoe_edge.runtime.detectors import Detector, RegionDetector, open_detector
from posemoe_edge.runtime.detectors.movenet import MIN_SCORE, MoveNetSinglePose, _next_region, open_movenet
from posemoe_edge.runtime.detectors.region import Region
from posemoe_edge.runtime.errors import ArtefactError, FrameError, MissingError, UsageError
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.skeleton import COCO17

MODEL = Path(__file__).resolve().parents[3].parent / "shared" / "assets" / "movenet_singlepose_lightning_int8.tflite"


@pytest.fixture(scope="module")
def movenet() -> MoveNetSinglePose:
    pytest.importorskip("cv2")
    pytest.importorskip("ai_edge_litert")
    if not MODEL.is_file():
        pytest.skip("MoveNet's .tflite file is not beside this checkout")
    detector = open_movenet(MODEL)
    assert isinstance(detector, MoveNetSinglePose)
    return detector


def figure(width: int, height: int, *, left: int, top: int, tall: int) -> ImageBgr:
    """A drawn person, from the front, on a plain background: head, trunk and limbs as thick strokes."""
    cv2 = pytest.importorskip("cv2")
    image = np.full((height, width, 3), (200, 205, 190), np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(left + x * tall), round(top + y * tall)

    def stroke(points: list[tuple[float, float]], thick: float, colour: tuple[int, int, int]) -> None:
        for a, b in pairwise(points):
            cv2.line(image, at(*a), at(*b), colour, max(1, round(thick * tall)), cv2.LINE_AA)

    skin, shirt, trousers = (140, 170, 225), (150, 60, 30), (60, 50, 45)
    for side in (-1, 1):
        stroke([(0.06 * side, 0.5), (0.075 * side, 0.74), (0.08 * side, 0.96)], 0.085, trousers)
        stroke([(0.12 * side, 0.2), (0.17 * side, 0.36), (0.18 * side, 0.5)], 0.05, skin)
    cv2.rectangle(image, at(-0.125, 0.17), at(0.125, 0.52), shirt, -1)
    stroke([(0, 0.12), (0, 0.2)], 0.06, skin)
    cv2.ellipse(image, at(0, 0.075), (round(0.05 * tall), round(0.07 * tall)), 0, 0, 360, skin, -1, cv2.LINE_AA)
    cv2.ellipse(image, at(0, 0.045), (round(0.052 * tall), round(0.045 * tall)), 0, 180, 360, (30, 30, 40), -1, cv2.LINE_AA)
    for side in (-1, 1):
        cv2.circle(image, at(0.02 * side, 0.07), max(1, round(0.007 * tall)), (20, 20, 20), -1)
    return image


@pytest.mark.parametrize(("width", "height"), [(640, 480), (360, 640), (300, 300)])
def test_a_drawn_person_is_detected_at_its_position(movenet: MoveNetSinglePose, width: int, height: int) -> None:
    tall = round(0.8 * min(width, height))
    left, top = width // 2, (height - tall) // 2
    people = movenet.detect(figure(width, height, left=left, top=top, tall=tall))
    assert isinstance(movenet, Detector) and len(people) == 1
    assert people[0].keypoints.skeleton == movenet.skeleton == COCO17
    assert people[0].keypoints.size == ImageSize(width, height)
    person = people[0].keypoints.points
    seen_px = person[person[:, 2] > 0, :2]
    np.testing.assert_allclose(people[0].box_px, [*seen_px.min(0), *seen_px.max(0)])
    assert person.shape == (17, 3) and person.dtype == np.float32
    assert ((person[:, 2] == 0) | (person[:, 2] >= MIN_SCORE)).all() and person[:, 2].max() <= 1
    for pair, x, y in (("shoulder", 0, 0.2), ("hip", 0, 0.51), ("knee", 0, 0.74)):
        # The middle of left and right, since front and back look the same in a drawing. The tolerance of a tenth of the
        # person is wide, but a swapped axis or a wrong margin gives a larger error.
        both = person[[COCO17.joints.index(f"{side}_{pair}") for side in ("left", "right")]]
        assert both[:, 2].min() > 0.15, pair
        middle = both[:, :2].mean(0)
        assert np.hypot(middle[0] - left - x * tall, middle[1] - top - y * tall) < 0.1 * tall, pair


def test_regions_are_searched_one_by_one(movenet: MoveNetSinglePose) -> None:
    picture = figure(640, 480, left=160, top=50, tall=320)
    around, beside = Region.around((20.0, 20.0, 320.0, 400.0)), Region.around((700.0, 0.0, 800.0, 9.0))
    padded = np.zeros((420, 420, 3), np.uint8)
    padded[20:400, 40:400] = picture[20:400, :360]  # the square around the region begins 20 pixels left of the picture
    inside = movenet.detect(padded, regions=[Region(210.0, 210.0, 380.0)])
    part = movenet.detect(picture, regions=[around, beside])
    assert len(inside) == len(part) == 1  # nobody is in a region outside of the picture
    np.testing.assert_allclose(part[0].keypoints.xy, inside[0].keypoints.xy - np.array((40, 0)), atol=0.1)
    assert part[0].keypoints.size == ImageSize(640, 480) and movenet.detect(picture, regions=[]) == []


def test_the_region_follows_the_person(movenet: MoveNetSinglePose) -> None:
    """A third of the picture's height is too little for the whole picture's joints; the region shows the person larger."""
    picture = figure(1280, 720, left=900, top=300, tall=300)
    assert isinstance(movenet, RegionDetector)
    regions, sides = movenet.find(picture), list[float]()
    assert regions == [Region.whole(picture)]
    for _ in range(4):
        (person,) = movenet.detect(picture, regions=regions)
        assert person.region is not None
        regions, sides = [person.region], [*sides, person.region.side_px]
    assert np.hypot(regions[0].x_px - 900, regions[0].y_px - 300 - 0.51 * 300) < 30  # around the hips
    _, top, _, bottom = regions[0].box
    assert 300 < sides[-1] < 600 and top < 300 and bottom > 600  # the whole person, and not much more


def test_the_whole_picture_is_looked_at_only_where_no_region_holds_a_person(movenet: MoveNetSinglePose) -> None:
    picture = figure(640, 480, left=300, top=50, tall=380)
    whole, around, beside = Region.whole(picture), Region(300.0, 240.0, 420.0), Region(50.0, 50.0, 60.0)
    assert len(movenet.detect(picture, regions=[around, whole])) == 1
    assert movenet.detect(picture, regions=[beside]) == []
    found = movenet.detect(picture, regions=[beside, whole])
    np.testing.assert_array_equal(found[0].keypoints.points, movenet.detect(picture)[0].keypoints.points)


def test_a_crop_that_follows_a_real_person_is_steadier_than_the_whole_picture(movenet: MoveNetSinglePose) -> None:
    cv2 = pytest.importorskip("cv2")
    clip = MODEL.parent / "real" / "single_cam02.mp4"
    if not clip.is_file():
        pytest.skip("the clips of real people are not beside this checkout")
    capture, regions = cv2.VideoCapture(str(clip)), None
    followed, whole = [], []
    for _ in range(20):
        picture = np.asarray(capture.read()[1], np.uint8)
        (person,) = movenet.detect(picture, regions=regions)
        followed.append(person.keypoints.xy[5:])
        everything = Region.around(Region.whole(picture).box, margin=1.001)  # is not looked at twice
        whole.append(movenet.detect(picture, regions=[everything])[0].keypoints.xy[5:])
        assert person.region is not None
        regions = [person.region]
    # The person balances on the spot at 60 frames a second: hardly any true acceleration in 20 frames.
    jitter = [np.linalg.norm(np.diff(np.array(joints[2:]), 2, axis=0), axis=-1).mean() for joints in (followed, whole)]
    assert jitter[0] < 0.5 * jitter[1], jitter


def test_who_is_found_in_the_whole_picture_is_looked_at_again(movenet: MoveNetSinglePose) -> None:
    picture = figure(1280, 720, left=900, top=300, tall=300)
    (once,) = movenet._people(picture, [Region.whole(picture)])
    (twice,) = movenet.detect(picture)
    assert once.region is not None and twice.score > once.score
    (again,) = movenet.detect(picture, regions=[once.region])
    np.testing.assert_array_equal(twice.keypoints.points, again.keypoints.points)


def test_a_person_whose_hips_are_not_seen_has_no_next_region() -> None:
    person, picture = np.zeros((17, 3), np.float32), np.zeros((480, 640, 3), np.uint8)
    person[:11] = (300, 100, 0.9)  # from the nose to the wrists
    assert _next_region(person, picture) is None
    person[11:13] = (300, 200, 0.9)
    assert _next_region(person, picture) == Region(300, 200, 2 * 1.9 * 100)
    person[16] = (300, 280, 0.9)
    assert _next_region(person, picture) == Region(300, 200, 2 * 1.9 * 100)  # 1.2 * 100 up to the nose, 1.2 * 80 down
    person[15] = (300, 440, 0.9)
    assert _next_region(person, picture) == Region(300, 200, 2 * 1.2 * 240)
    person[15] = (300, 900, 0.9)
    assert _next_region(person, picture) == Region.whole(picture)


def test_nobody_is_in_an_empty_picture(movenet: MoveNetSinglePose) -> None:
    for shade in (0, 128, 255):
        assert movenet.detect(np.full((200, 300, 3), shade, np.uint8)) == []


def test_a_picture_of_another_kind_is_refused(movenet: MoveNetSinglePose) -> None:
    for bad in (np.zeros((10, 10), np.uint8), np.zeros((10, 10, 4), np.uint8), np.zeros((10, 10, 3), np.float32)):
        with pytest.raises(FrameError, match=r"expected \(H, W, 3\) uint8"):
            movenet.detect(bad)  # type: ignore[arg-type]


def test_loading_writes_nothing_to_stderr(movenet: MoveNetSinglePose, capfd: pytest.CaptureFixture[str]) -> None:
    open_detector(f"movenet:{MODEL}").detect(np.zeros((32, 32, 3), np.uint8))
    captured = capfd.readouterr()
    assert captured.err == "" and captured.out == ""


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("movnet:a.tflite", "did you mean movenet:FILE"),
        ("yolo", "expected one of blazepose, movenet:FILE"),
        ("movenet", "needs a file"),
        ("movenet:", "needs a file"),
    ],
)
def test_an_unknown_detector_is_an_error_that_names_the_known_ones(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_detector(spec)


def test_a_missing_file_and_a_foreign_file_are_different_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no file .*nowhere\.tflite"):
        open_detector(f"movenet:{tmp_path / 'nowhere.tflite'}")
    (tmp_path / "text.tflite").write_text("no network in here")
    with pytest.raises(ArtefactError, match=r"not a \.tflite file"):
        open_detector(f"movenet:{tmp_path / 'text.tflite'}")


def test_a_damaged_network_is_an_artefact_error(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "cut.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + b"\x00" * 64)
    with pytest.raises(ArtefactError, match="cannot be loaded"):
        open_detector(f"movenet:{tmp_path / 'cut.tflite'}")


def test_without_litert_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingError, match=r'pip install "posemoe-edge\[camera\]"'):
        open_detector(f"movenet:{tmp_path / 'net.tflite'}")
