"""Keypoints in the JSON of other programs, recognised by its content.

COCO's results and data sets, AlphaPose, OpenPose, MMPose, MediaPipe's landmarks. Only the body is read, as COCO-17.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import F64
from ..pose.keypoints import ImageSize
from ..pose.skeleton import COCO17

FORMS = "COCO's results or data set, AlphaPose's results, OpenPose's folder, MMPose's predictions, or MediaPipe's 33 landmarks"

# Number of joints -> which of them are COCO-17's.
_FIRST = tuple(range(len(COCO17)))
_JOINTS: dict[int, tuple[int, ...]] = {
    17: _FIRST,
    18: (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10),  # OpenPose's COCO: with a neck, the right side first
    25: (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11),  # OpenPose's BODY_25
    26: _FIRST,  # Halpe, as 136 with face and hands
    33: (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28),  # MediaPipe
    133: _FIRST,  # COCO-WholeBody
    136: _FIRST,
}
_HASH = re.compile(r"(^|/)(?=[\d-]*[a-f])[0-9a-f-]{16,}$", re.IGNORECASE)  # or a UUID, as the whole name
_BODY = ("pose_keypoints_2d", "pose_keypoints", "joints")
_MOST_NUMBER = 1 << 62  # of a picture, which may be nanoseconds since 1970, or of a person
_LANDMARKS = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark")
_MS = ("timestamp_ms", "timestampMs", "t_ms")


@dataclass(frozen=True, eq=False)
class FoundPerson:
    """One person in one picture.

    Args:
        points: (17, 3) x, y, score, in COCO's order.
        person: the id that the program gave; None if it did not track.
    """

    points: F64
    person: int | None = None


@dataclass(frozen=True, eq=False)
class FoundFrame:
    """Everybody in one picture.

    Args:
        number: of the picture in its video; None if nothing says.
        t_s: its time; None if nothing says.
        size: of the picture; None if nothing says.
    """

    number: int | None
    people: list[FoundPerson] = field(default_factory=list)
    t_s: float | None = None
    size: ImageSize | None = None


@dataclass(frozen=True, eq=False)
class FoundKeypoints:
    """The content of a file.

    Args:
        program: whose form it has.
        shares: x and y are shares of the picture, not pixels.
    """

    program: str
    frames: list[FoundFrame]
    shares: bool = False


def found_keypoints(record: Any) -> FoundKeypoints:
    """The keypoints of a file's JSON.

    Raises:
        ValueError: it has none of the known forms, or is not what it begins as.
    """
    for read in _READERS:
        found = read(record)
        if found is not None:
            return found
    raise ValueError(f"JSON of none of the forms known here: {_outline(record)}")


def found_picture(name: str, record: Any) -> FoundKeypoints:
    """The keypoints of one picture, of the programs that write a file for each: the file's name and JSON.

    Raises:
        ValueError: as ``found_keypoints``.
    """
    if isinstance(record, list):
        return FoundKeypoints("MMPose", [FoundFrame(_number(name), _instances(record))])
    people = _people_of_picture(record)
    if people is None:
        raise ValueError(f"no 'people', but {_outline(record)}")
    return FoundKeypoints("OpenPose", [FoundFrame(_number(name), people)])


def _coco_dataset(record: Any) -> FoundKeypoints | None:
    if not (isinstance(record, dict) and "annotations" in record and "images" in record):
        return None
    frames = dict[Any, FoundFrame]()
    for image in record["images"]:
        size = ImageSize(float(image["width"]), float(image["height"])) if "width" in image and "height" in image else None
        frames[image["id"]] = FoundFrame(_number(image.get("file_name", image["id"])), size=size)
    for annotation in record["annotations"]:
        if annotation["image_id"] not in frames:
            raise ValueError(f"an annotation of the image {annotation['image_id']!r}, which is not among the images")
        if annotation.get("keypoints"):
            points = _points(annotation["keypoints"])
            points[:, 2] /= 2  # visibility: 0 not labelled, 1 hidden, 2 seen
            frames[annotation["image_id"]].people.append(FoundPerson(points, _tracked(annotation)))
    return FoundKeypoints("COCO", list(frames.values()))


def _results(record: Any) -> FoundKeypoints | None:
    """COCO's results and AlphaPose's: a list of people, each with the picture."""
    if not (_is_list_of(record, "image_id") and "keypoints" in record[0]):
        return None
    frames = dict[Any, FoundFrame]()
    for person in record:
        name = person["image_id"]
        frame = frames.setdefault(name, FoundFrame(_number(name)))
        frame.people.append(FoundPerson(_points(person["keypoints"]), _tracked(person)))
    return FoundKeypoints("AlphaPose" if isinstance(record[0]["image_id"], str) else "COCO", list(frames.values()))


def _pictures(record: Any) -> FoundKeypoints | None:
    """A picture of OpenPose, or AlphaPose's ``--format open`` and ``cmu``: name of a picture -> its people."""
    people = _people_of_picture(record)
    if people is not None:
        return FoundKeypoints("OpenPose", [FoundFrame(0, people)])
    if not isinstance(record, dict) or not record:
        return None
    frames = []
    for name, picture in record.items():
        people = _people_of_picture(picture)
        if people is None:
            return None
        frames.append(FoundFrame(_number(name), people))
    return FoundKeypoints("AlphaPose", frames)


def _mmpose(record: Any) -> FoundKeypoints | None:
    """MMPose's predictions: the instances of a picture, or the frames of a video with theirs, bare or in ``instance_info``."""
    if isinstance(record, dict) and "instance_info" in record:
        record = record["instance_info"]
    if _is_list_of(record, "keypoint_scores"):
        return FoundKeypoints("MMPose", [FoundFrame(0, _instances(record))])
    if not _is_list_of(record, "instances"):
        return None
    numbered = ((frame.get("frame_id", number), frame["instances"]) for number, frame in enumerate(record))
    return FoundKeypoints("MMPose", [FoundFrame(_number(number), _instances(instances)) for number, instances in numbered])


def _instances(instances: list[Any]) -> list[FoundPerson]:
    people = []
    for instance in instances:
        xy, score = np.asarray(instance["keypoints"], np.float64), np.asarray(instance["keypoint_scores"], np.float64)
        people.append(FoundPerson(_points(np.column_stack([xy[:, :2], score])), _tracked(instance)))
    return people


def _mediapipe(record: Any) -> FoundKeypoints | None:
    """Landmarks as MediaPipe's own classes are written: a list of frames, each of one person or of several."""
    if not isinstance(record, list) or not record:
        return None
    frames = []
    for number, frame in enumerate(record):
        landmarks, t_s = frame, None
        if isinstance(frame, dict):
            key = next((key for key in _LANDMARKS if key in frame), None)
            if key is None:
                return None
            ms = next((frame[name] for name in _MS if name in frame), None)
            seconds = frame.get("t_s") if ms is None else float(ms) / 1000
            landmarks, t_s = frame[key], None if seconds is None else float(seconds)
        people = _landmarks(landmarks)
        if people is None:
            return None
        frames.append(FoundFrame(number, [FoundPerson(_points(points)) for points in people], t_s=t_s))
    return FoundKeypoints("MediaPipe", frames, shares=True)


_READERS: tuple[Callable[[Any], FoundKeypoints | None], ...] = (_coco_dataset, _results, _mmpose, _mediapipe, _pictures)


def _people_of_picture(record: Any) -> list[FoundPerson] | None:
    """The people of one picture of OpenPose (``people``), or of AlphaPose in CMU's form (``bodies``); None if it is none."""
    if not isinstance(record, Mapping):
        return None
    people = record.get("people", record.get("bodies"))
    if not isinstance(people, list):
        return None
    found = []
    for person in people:
        numbers = next((person[key] for key in _BODY if key in person), None)
        if numbers is None:
            raise ValueError(f"a person without {' or '.join(_BODY)}: {_outline(person)}")
        found.append(FoundPerson(_points(numbers), _id(person.get("person_id"))))
    return found


def _landmarks(value: Any) -> list[list[tuple[float, float, float]]] | None:
    """The people of a frame of MediaPipe's: x, y and visibility of each landmark. None if they are none."""
    if value is None:
        return []
    if isinstance(value, dict) and "landmark" in value:
        value = value["landmark"]
    if not isinstance(value, list):
        return None
    if value and isinstance(value[0], dict) and "x" in value[0]:
        value = [value]
    people = []
    for person in value:
        if isinstance(person, dict) and "landmark" in person:
            person = person["landmark"]
        if not (isinstance(person, list) and _is_list_of(person, "x")):
            return None
        people.append([(mark["x"], mark["y"], mark.get("visibility", 1.0)) for mark in person])
    return people


def _points(numbers: Any) -> F64:
    """(17, 3) of x, y, score of more joints, flat or in rows."""
    points = np.asarray(numbers, np.float64).reshape(-1, 3)
    if len(points) not in _JOINTS:
        raise ValueError(f"people of {len(points)} joints, not of {', '.join(map(str, _JOINTS))}")
    return points[list(_JOINTS[len(points)])]


def _tracked(person: Mapping[str, Any]) -> int | None:
    """The id of a person who was tracked: AlphaPose's ``idx``, others' ``track_id``."""
    return _id(person.get("track_id", person.get("idx")))


def _id(value: Any) -> int | None:
    """None if it is none; OpenPose writes [-1] for that."""
    while isinstance(value, list) and len(value) == 1:  # AlphaPose writes [[3.0]] at times
        value = value[0]
    return int(value) if isinstance(value, int | float) and 0 <= value <= _MOST_NUMBER else None


def _number(name: Any) -> int | None:
    """The number of a picture: itself, or the last one in its name: 12 of ``walk_000000000012_keypoints.json``; no hash's."""
    stem = str(name).rpartition(".")[0] or str(name)
    if isinstance(name, int):
        number = name
    elif (digits := re.findall(r"\d+", stem)) and not _HASH.search(stem):
        number = int(digits[-1])
    else:
        return None
    if abs(number) > _MOST_NUMBER:
        raise ValueError(f"a picture whose number has {len(str(abs(number)))} digits")
    return number


def _is_list_of(record: Any, key: str) -> bool:
    return isinstance(record, list) and bool(record) and all(isinstance(entry, dict) and key in entry for entry in record)


def _outline(record: Any) -> str:
    if isinstance(record, dict):
        return f"an object of {', '.join(map(str, list(record)[:6])) or 'nothing'}"
    if isinstance(record, list):
        return f"a list of {len(record)}" + (f", the first {_outline(record[0])}" if record else "")
    return json.dumps(record)[:40]
