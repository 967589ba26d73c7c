"""Keypoints as other programs write them: each form, made here after its description, gives the same people."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from posemoe_edge.runtime.errors import PoseEdgeError, SourceError, UsageError
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.skeleton import COCO17, H36M17
from posemoe_edge.runtime.sources import People, Source, SyntheticSource, open_source
from posemoe_edge.runtime.sources.keypoints_file import KeypointsFileSource, save_keypoints
from posemoe_edge.runtime.sources.keypoints_json import KeypointsJsonSource

WIDTH, HEIGHT, FRAMES, FPS = 1920, 1080, 20, 25
SIZE = f"?width={WIDTH}&height={HEIGHT}"
WHERE = f"{SIZE}&fps={FPS}"

# Joints in the order of each program's description, by COCO's names; "" is a joint that COCO does not have.
LIMBS = ("shoulder", "elbow", "wrist")
LEGS = ("hip", "knee", "ankle")
FACE = ("right_eye", "left_eye", "right_ear", "left_ear")
ARMS_RIGHT_FIRST = [f"{side}_{joint}" for side in ("right", "left") for joint in LIMBS]
LEGS_RIGHT_FIRST = [f"{side}_{joint}" for side in ("right", "left") for joint in LEGS]
BODY_25 = ["nose", "", *ARMS_RIGHT_FIRST, "", *LEGS_RIGHT_FIRST, *FACE, *[""] * 6]
COCO_18 = ["nose", "", *ARMS_RIGHT_FIRST, *LEGS_RIGHT_FIRST, *FACE]
SIZED = {"id": 1, "width": WIDTH, "height": HEIGHT}
BLAZEPOSE_33 = [
    "nose", "", "left_eye", "", "", "right_eye", "", "left_ear", "right_ear", "", "",
    *[f"{side}_{joint}" for joint in LIMBS for side in ("left", "right")], *[""] * 6,
    *[f"{side}_{joint}" for joint in LEGS for side in ("left", "right")], *[""] * 4,
]  # fmt: skip


def people_of(source: Source) -> list[People]:
    return [item for item in source if isinstance(item, People)]


@pytest.fixture(scope="module")
def walkers() -> Any:
    """(T, 2, 17, 3) two people in COCO's order, in pixels; the head's joints stand in for eyes and ears."""
    with SyntheticSource(people=2, fps=FPS, frames=FRAMES) as source:
        points = np.array([[frame.keypoints[person].points for person in (0, 1)] for frame in people_of(source)])
    order = [H36M17.joints.index(name if name in H36M17.joints else "head") for name in COCO17.joints]
    points = points[:, :, order].round(2)
    points[..., 2] = 0.75
    return points


def ordered(person: Any, names: list[str]) -> Any:
    """A person's joints in another order; joints that COCO does not have lie anywhere."""
    rows = [person[COCO17.joints.index(name)] if name else [7.0, 7.0, 0.5] for name in names]
    return np.array(rows)


def written(path: Path, record: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def saved(path: Path, *, fps: float) -> Path:
    save_keypoints(path, keypoints=np.zeros((2, 17, 3)), fps=fps)
    return path


def results(walkers: Any, path: Path) -> Path:
    people = [(t, points) for t, frame in enumerate(walkers) for points in frame]
    entries = [{"image_id": 10 + t, "category_id": 1, "keypoints": p.ravel().tolist(), "score": 0.8} for t, p in people]
    return written(path / "results.json", entries)


def dataset(walkers: Any, path: Path) -> Path:
    images = [{"id": 900 - t, "file_name": f"{t:04}.jpg", "width": WIDTH, "height": HEIGHT} for t in range(FRAMES)]
    annotations = [
        {"image_id": 900 - t, "category_id": 1, "track_id": k, "keypoints": (points * [1, 1, 2 / 0.75]).ravel().tolist()}
        for t, frame in enumerate(walkers)
        for k, points in enumerate(frame)
    ]
    return written(path / "annotations.json", {"images": images, "annotations": annotations, "categories": []})


def alphapose(walkers: Any, path: Path, *, joints: int = 17) -> Path:
    more = np.full((joints - 17, 3), 7.0)
    entries = [
        {"image_id": f"{t}.jpg", "category_id": 1, "keypoints": np.vstack([points, more]).ravel().tolist(), "score": 2.9,
         "box": [1.0, 2.0, 3.0, 4.0], "idx": [k + 1.0]}
        for t, frame in enumerate(walkers) for k, points in enumerate(frame)
    ]  # fmt: skip
    return written(path / "alphapose-results.json", entries)


def alphapose_cmu(walkers: Any, path: Path) -> Path:
    record = {
        f"{t}.jpg": {"version": "AlphaPose v0.3", "bodies": [{"joints": points.ravel().tolist()} for points in frame]}
        for t, frame in enumerate(walkers)
    }
    return written(path / "cmu.json", record)


def openpose(
    walkers: Any,
    path: Path,
    *,
    order: list[str] = BODY_25,
    name: Callable[[int], str] = lambda t: f"walk_{t:012}_keypoints",
) -> Path:
    for t, frame in enumerate(walkers):
        people = [{"person_id": [-1], "pose_keypoints_2d": ordered(points, order).ravel().tolist()} for points in frame]
        written(path / "openpose" / f"{name(t)}.json", {"version": 1.3, "people": people})
    return path / "openpose"


def mmpose(walkers: Any, path: Path) -> Path:
    frames = [
        {"frame_id": t + 1, "instances": [
            {"keypoints": p[:, :2].tolist(), "keypoint_scores": p[:, 2].tolist(), "bbox": [[1, 2, 3, 4]], "bbox_score": 0.9}
            for p in frame]}
        for t, frame in enumerate(walkers)
    ]  # fmt: skip
    return written(path / "mmpose.json", {"meta_info": {}, "instance_info": frames})


def mmpose_pictures(walkers: Any, path: Path) -> Path:
    video = json.loads(mmpose(walkers, path).read_text())["instance_info"]
    for frame in video:
        written(path / "predictions" / f"{frame['frame_id']}.json", frame["instances"])
    return path / "predictions"


def landmarks(person: Any) -> list[dict[str, float]]:
    rows = ordered(person, BLAZEPOSE_33) / [WIDTH, HEIGHT, 1]
    return [{"x": x, "y": y, "z": 0.1, "visibility": score} for x, y, score in rows]


def mediapipe(walkers: Any, path: Path) -> Path:
    frames = [{"timestamp_ms": 40 * t, "pose_landmarks": [landmarks(points) for points in f]} for t, f in enumerate(walkers)]
    return written(path / "mediapipe.json", frames)


def mediapipe_alone(walkers: Any, path: Path) -> Path:
    return written(path / "alone.json", [landmarks(frame[0]) for frame in walkers])


FORMS: dict[str, Callable[[Any, Path], Path]] = {
    "COCO's results": results,
    "COCO's data set": dataset,
    "AlphaPose": alphapose,
    "AlphaPose in Halpe-26": lambda walkers, path: alphapose(walkers, path, joints=26),
    "AlphaPose in CMU's form": alphapose_cmu,
    "OpenPose": openpose,
    "OpenPose in COCO-18": lambda walkers, path: openpose(walkers, path, order=COCO_18),
    "MMPose": mmpose,
    "MMPose of pictures": mmpose_pictures,
    "MediaPipe": mediapipe,
    "MediaPipe of one person": mediapipe_alone,
}


TIMED = ("MediaPipe",)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_people(form: str, walkers: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("scipy")  # the tracker, of programs that do not track
    file = FORMS[form](walkers, tmp_path)
    with caplog.at_level(logging.WARNING), open_source(f"kpts:{file}{SIZE if form in TIMED else WHERE}") as source:
        frames = people_of(source)
    assert source.info.frames == len(frames) == FRAMES and not caplog.messages
    np.testing.assert_allclose([frame.t_s for frame in frames], np.arange(FRAMES) / FPS, atol=1e-9)
    ids = list(frames[0].keypoints)
    assert len(ids) == (1 if "one" in form else 2)
    start = [[float(frames[0].keypoints[k].points[0, 0] - walkers[0, who, 0, 0]) for who in (0, 1)] for k in ids]
    who = np.abs(start).argmin(axis=1)
    assert sorted(who) == list(range(len(ids)))
    for t, frame in enumerate(frames):
        assert list(frame.keypoints) == ids or sorted(frame.keypoints) == sorted(ids)
        for k, person in zip(ids, who, strict=True):
            keypoints = frame.keypoints[k]
            assert keypoints.skeleton == COCO17 and keypoints.size == ImageSize(WIDTH, HEIGHT)
            expected = walkers[t, person] if form != "COCO's data set" else walkers[t, person] / [1, 1, 0.75]
            np.testing.assert_allclose(keypoints.points, expected, atol=1e-6)


def test_a_file_of_one_picture_is_one_frame(walkers: Any, tmp_path: Path) -> None:
    for folder in (openpose(walkers, tmp_path), mmpose_pictures(walkers, tmp_path)):
        with open_source(f"kpts:{sorted(folder.iterdir())[0]}{WHERE}") as source:
            (frame,) = people_of(source)
            assert frame.t_s == 0 and list(frame.keypoints) == [0, 1]


def test_a_picture_of_a_folder_with_nobody_is_a_frame(walkers: Any, tmp_path: Path) -> None:
    for folder, nobody in ((openpose(walkers, tmp_path), {"people": []}), (mmpose_pictures(walkers, tmp_path), [])):
        written(folder / "0099.json", nobody)
        with open_source(f"kpts:{folder}{WHERE}") as source:
            assert [len(frame.keypoints) for frame in people_of(source)] == [2] * FRAMES + [0]


def test_a_wrong_file_of_a_folder_is_named(walkers: Any, tmp_path: Path) -> None:
    folder = openpose(walkers, tmp_path)
    for record in ({"people": [{"pose_keypoints_2d": [1.0] * 12}]}, {"bones": 1}, [1], 5):
        written(folder / "walk_7.json", record)
        with pytest.raises(SourceError, match=r"openpose/walk_7\.json cannot be read"):
            open_source(f"kpts:{folder}{WHERE}")
    (folder / "walk_7.json").unlink()
    (folder / "walk_7.json").symlink_to("nowhere")
    with pytest.raises(SourceError, match=r"openpose cannot be read .*walk_7\.json"):
        open_source(f"kpts:{folder}{WHERE}")


def test_the_ids_of_a_program_that_tracks_are_kept(walkers: Any, tmp_path: Path) -> None:
    with open_source(f"kpts:{alphapose(walkers, tmp_path)}{WHERE}") as source:
        assert [list(frame.keypoints) for frame in people_of(source)] == [[1, 2]] * len(walkers)


def test_pictures_with_nobody_leave_a_gap_in_time(walkers: Any, tmp_path: Path) -> None:
    entries = json.loads(alphapose(walkers, tmp_path).read_text())
    seen = [entry for entry in entries if int(entry["image_id"][:-4]) not in range(5, 9)]
    with open_source(f"kpts:{written(tmp_path / 'gap.json', seen)}{WHERE}", frames=6) as source:
        assert [round(frame.t_s * FPS) for frame in people_of(source)] == [0, 1, 2, 3, 4, 9]


@pytest.mark.parametrize("fps", ["1e-320", "inf", "nan", "0", "-1", "1e-4", "1e5"])
def test_a_rate_that_no_camera_has_is_refused_by_name(fps: str, walkers: Any, tmp_path: Path) -> None:
    file = results(walkers, tmp_path)
    with pytest.raises(UsageError, match=rf"results\.json: fps={float(fps):g}; expected fps from 0\.001 to 10000"):
        open_source(f"kpts:{file}?width=1920&height=1080&fps={fps}")
    with pytest.raises(UsageError, match="fps from"):
        KeypointsJsonSource(file, size=ImageSize(WIDTH, HEIGHT), fps=float(fps))
    with pytest.raises(UsageError, match="fps from"):
        open_source(f"{tmp_path}?fps={fps}")
    with pytest.raises(SourceError, match="fps"):
        KeypointsFileSource(saved(tmp_path / "a.npz", fps=float(fps)))


def test_a_rate_that_nobody_names_is_said(walkers: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        open_source(f"kpts:{results(walkers, tmp_path)}?width=1920&height=1080")
    (message,) = caplog.messages
    assert "COCO names no times; 30 frames a second are assumed, else ?fps=25" in message


@pytest.mark.parametrize(
    ("record", "query", "message"),
    [
        ([], WHERE, "none of the forms known here: a list of 0"),
        ({"images": 1, "annotations": 2}, WHERE, "cannot be read"),
        ({"a": 1}, WHERE, "none of the forms known here: an object of a.; expected COCO's results"),
        ([{"image_id": 1, "keypoints": [1.0] * 12}], WHERE, "people of 4 joints, not of 17, 18"),
        ([{"image_id": 1, "keypoints": [1.0] * 50}], WHERE, "cannot be read"),
        ([{"image_id": 1, "keypoints": ["x"] * 51}], WHERE, "cannot be read"),
        ([{"image_id": 1, "keypoints": [9.0, 9.0, 0.5] * 17}], "", r"COCO does not say how large.*\?width=1920&height=1080"),
        ([{"image_id": 1, "keypoints": [90.0, 90.0, 50] * 17}], WHERE, "scores up to 50; .*percent"),
        ([[{"x": 0.5, "y": 0.5}] * 21], WHERE, "people of 21 joints"),
        ({"version": 1.3, "people": []}, WHERE, "has nobody in 1 picture;"),
        ({"version": 1.3, "people": [{"face": 1}]}, WHERE, "a person without pose_keypoints_2d or .*: an object of face"),
        ({"images": [SIZED], "annotations": [{"image_id": 2}]}, WHERE, "the image 2, which is not among the images"),
        ({"images": [{**SIZED, "width": 0}], "annotations": []}, WHERE, r"a\.json: the image size is 0"),
        ([{"t_s": "soon", "pose_landmarks": []}], WHERE, "cannot be read .*soon"),
        ([{"image_id": 10**400, "keypoints": [9.0] * 51}], WHERE, "a picture whose number has 401 digits"),
        ([{"image_id": 1, "keypoints": [None, 9, 0.5] * 17}], WHERE, "1 of 1 times a person has a number that is not finite"),
        (None, WHERE, "none of the forms known here: null"),
    ],
)
def test_what_is_none_of_them_is_a_source_error(record: Any, query: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(f"kpts:{written(tmp_path / 'a.json', record)}{query}")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("a.json?with=3", "no option 'with'; did you mean width"),
        ("a.json?width=3", "both: "),
        ("a.json?width=0&height=1", "width=0"),
        ("a.json?fps=fast", "fps=fast"),
        ("b.json", "did you mean .*a.json"),
        ("empty", "no .json file in the folder"),
    ],
)
def test_a_location_that_is_wrong_is_an_error(location: str, message: str, tmp_path: Path) -> None:
    written(tmp_path / "a.json", [])
    (tmp_path / "empty").mkdir()
    with pytest.raises((UsageError, SourceError), match=message):
        open_source(f"kpts:{tmp_path}/{location}")


@pytest.mark.parametrize("text", ["", "[", "\x00" * 100, "[" * 100_000, '[{"image_id": 1, "keypoints": null}]'])
def test_a_file_that_is_no_json_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(PoseEdgeError, match=r"a\.json"):
        open_source(f"kpts:{tmp_path / 'a.json'}{WHERE}")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [np.nan, np.inf, -1e300])
def test_one_bad_person_costs_the_others_nothing(
    number: float, walkers: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("scipy")
    bad = walkers.copy()
    bad[3, 1, 4] = number
    with open_source(f"kpts:{results(bad, tmp_path)}{WHERE}") as source:
        assert [len(frame.keypoints) for frame in people_of(source)] == [2] * 3 + [1] + [2] * 16
    assert "times that a person has a number that is not finite, and is left out there: 1" in caplog.text


def test_someone_of_whom_no_joint_has_a_score_is_nobody(walkers: Any, tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    unseen = np.repeat(walkers, 4, axis=0)
    unseen[3, 1, :, 2] = -0.5  # of too few people to doubt the whole file
    with open_source(f"kpts:{results(unseen, tmp_path)}{WHERE}") as source:
        assert [len(frame.keypoints) for frame in people_of(source)] == [2] * 3 + [1] + [2] * 76


def test_the_size_may_be_named_beside_a_data_set_without_it(walkers: Any, tmp_path: Path) -> None:
    record = json.loads(dataset(walkers, tmp_path).read_text())
    for image in record["images"]:
        del image["width"], image["height"]
    file = written(tmp_path / "unsized.json", record)
    with open_source(f"kpts:{file}{WHERE}") as source:
        assert people_of(source)[0].keypoints[0].size == ImageSize(WIDTH, HEIGHT)
    with pytest.raises(SourceError, match="does not say how large"):
        open_source(f"kpts:{file}")


def test_pictures_of_other_sizes_are_not_held_against_the_first_one(
    walkers: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = json.loads(dataset(walkers, tmp_path).read_text())
    record["images"][0] |= {"width": 640, "height": 360}
    for annotation in record["annotations"][:2]:
        annotation["keypoints"] = [number / 3 if i % 3 < 2 else number for i, number in enumerate(annotation["keypoints"])]
    with caplog.at_level(logging.WARNING):
        open_source(f"kpts:{written(tmp_path / 'sizes.json', record)}?fps={FPS}")
    assert not caplog.messages


def test_times_of_the_file_are_kept_and_name_no_rate(walkers: Any, tmp_path: Path) -> None:
    with open_source(f"kpts:{mediapipe(walkers, tmp_path)}?width={WIDTH}&height={HEIGHT}") as source:
        assert source.info.fps is None and people_of(source)[-1].t_s == pytest.approx(0.04 * (FRAMES - 1))


# When.


def mediapipe_times(walkers: Any, path: Path, without: set[int]) -> Path:
    frames = json.loads(mediapipe(walkers, path).read_text())
    for t in without:
        frames[t]["timestamp_ms" if t % 2 else "t_s"] = float("nan") if t % 2 else None
        if not t % 2:
            del frames[t]["timestamp_ms"]
    return written(path / "mediapipe.json", frames)


def test_a_picture_without_a_time_costs_the_others_nothing(
    walkers: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("scipy")
    with open_source(f"kpts:{mediapipe_times(walkers, tmp_path, {3, 8})}{SIZE}") as source:
        times = [frame.t_s for frame in people_of(source)]
    np.testing.assert_allclose(times, [0.04 * t for t in range(FRAMES) if t not in (3, 8)])
    assert "pictures without a time, which are left out: 2 of 20" in caplog.text


def test_a_file_with_few_times_needs_a_rate(walkers: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("scipy")
    file = mediapipe_times(walkers, tmp_path, set(range(1, FRAMES)))
    with pytest.raises(SourceError, match=r"only 1 of 20 pictures have a time; expected one for each, or \?fps=25"):
        open_source(f"kpts:{file}{SIZE}")
    with open_source(f"kpts:{file}{SIZE}&fps=10") as source:
        assert [frame.t_s for frame in people_of(source)] == pytest.approx([0.1 * t for t in range(FRAMES)])
    assert "only 1 of 20 pictures have a time: ?fps=10 gives all of them" in caplog.text


def test_a_rate_beside_times_is_said_to_be_unused(walkers: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_source(f"kpts:{mediapipe(walkers, tmp_path)}{WHERE}") as source:
        assert source.info.fps is None
    assert "mediapipe.json has times of its own: ?fps=25 is not used" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (lambda t: f"{1_700_000_000_000_000_000 + 40_000_000 * t}", "such as 1700000000000000000 and 170000000004"),
        (lambda t: f"cam_{1_700_000_000_000 + 40 * t}", "such as 1700000000000 and 1700000000040"),
        (lambda t: f"{40_000 * t}_keypoints", "such as 0 and 40000"),
    ],
)
def test_times_in_the_names_of_files_are_no_numbers_of_pictures(
    name: Callable[[int], str], message: str, walkers: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("scipy")
    folder = openpose(walkers, tmp_path, name=name)
    with pytest.raises(SourceError, match=rf"openpose: the numbers of the pictures, {message}.*are they times.*\?fps=25"):
        open_source(f"kpts:{folder}{SIZE}")
    with open_source(f"kpts:{folder}{WHERE}") as source:
        frames = people_of(source)
    assert [frame.t_s for frame in frames] == pytest.approx([t / FPS for t in range(FRAMES)])
    assert message in caplog.text
    np.testing.assert_allclose(frames[7].keypoints[0].points, walkers[7, 0], atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [lambda t: md5(bytes([t])).hexdigest(), lambda t: str(UUID(bytes=md5(bytes([t])).digest())), lambda t: chr(ord("a") + t)],
)
def test_hashes_in_the_names_of_files_are_no_numbers_of_pictures(
    name: Callable[[int], str], walkers: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = openpose(walkers[:, :1], tmp_path, name=name)
    with open_source(f"kpts:{folder}{WHERE}") as source:
        assert [frame.t_s for frame in people_of(source)] == pytest.approx([t / FPS for t in range(FRAMES)])
    assert "pictures with a number of their own: 0 of 20; their order counts" in caplog.text


# Who.


def alone_with_ids(walkers: Any, path: Path, ids: list[int | None]) -> Path:
    entries = [
        {"image_id": f"{t}.jpg", "keypoints": frame[0].ravel().tolist(), **({} if person is None else {"idx": person})}
        for t, (frame, person) in enumerate(zip(walkers, ids, strict=False))
    ]
    return written(path / "alone.json", entries)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([3, 3, None, 3, None], [3, 3, 3, 3, 3]),
        ([None, 3, None, 4, None], [3, 3, 3, 4, 4]),
        ([None, None, None], [0, 0, 0]),
    ],
)
def test_an_id_that_comes_and_goes_makes_no_second_person(
    ids: list[int | None], expected: list[int], walkers: Any, tmp_path: Path
) -> None:
    with open_source(f"kpts:{alone_with_ids(walkers, tmp_path, ids)}{WHERE}") as source:
        assert [list(frame.keypoints) for frame in people_of(source)] == [[person] for person in expected]


def test_people_of_whom_some_have_no_id_are_followed_anew_and_that_is_said(
    walkers: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("scipy")
    entries = json.loads(alphapose(walkers, tmp_path).read_text())
    del entries[9]["idx"]
    with open_source(f"kpts:{written(tmp_path / 'a.json', entries)}{WHERE}") as source:
        frames = people_of(source)
    assert all(sorted(frame.keypoints) == [0, 1] for frame in frames)
    assert "not everybody has an id of their own: the ids are ignored, and people are tracked" in caplog.text
