"""Scenes with people and without a truth: how many are found, under how many ids, and where nobody is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from posemoe_edge.runtime.detectors import Detector
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.model import Model
from posemoe_edge.runtime.pipeline import Pipeline
from posemoe_edge.runtime.sources import open_source


@dataclass(frozen=True)
class SceneFile:
    """A clip or picture, and what is known of it.

    Args:
        name: of the file.
        people: how many different people there are.
        always: whether all of them are there in every frame.
        empty_s: the times, from and to, in which nobody is there.
    """

    name: str
    people: int
    always: bool = True
    empty_s: tuple[tuple[float, float], ...] = ()


SCENES = (
    SceneFile("multi_cam02.mp4", people=2),
    SceneFile("multi_cam03.mp4", people=2),
    SceneFile("three_people.jpg", people=3),
    SceneFile("classroom_sitting.mp4", people=4),
    SceneFile("one_by_one_first30s.mp4", people=2, always=False, empty_s=((0.0, 5.8), (20.2, 22.4))),
    SceneFile("pose_squats.mp4", people=1),
)


def count_people(frames: Iterator[PoseFrame], scene: SceneFile) -> dict[str, Any]:
    """What is seen in the frames of a scene.

    ``typical`` is the median number of people in a frame, ``frames_right`` the share of frames with exactly the right number,
    ``ids`` how many ids there were in all, ``ghosts`` people in frames in which nobody is there.
    """
    counts, ids, ghosts = list[int](), Counter[int](), 0
    for frame in frames:
        counts.append(len(frame.poses))
        ids.update(frame.poses.keys())
        if any(start <= frame.t_s <= end for start, end in scene.empty_s):
            ghosts += len(frame.poses)
    right = round(float(np.mean([n == scene.people for n in counts])), 3) if scene.always and counts else None
    return {
        "scene": scene.name,
        "frames": len(counts),
        "people_there": scene.people,
        "typical": float(np.median(counts)) if counts else None,
        "most": max(counts, default=0),
        "ids": len(ids),
        "frames_right": right,
        "ghosts": ghosts if scene.empty_s else None,
    }


def measure_scenes(
    folder: Path, model: Model, detector: str, tracker: str, *, open_detector: Callable[[str], Detector], frames: int | None
) -> list[dict[str, Any]]:
    """A row for each scene that is in the folder."""
    rows = []
    for scene in SCENES:
        if not (folder / scene.name).is_file():
            continue
        source = open_source(str(folder / scene.name), frames=frames)
        try:
            events = Pipeline(source, model, detector=open_detector(detector), tracker=tracker)
            rows.append({"detector": detector, **count_people((e for e in events if isinstance(e, PoseFrame)), scene)})
        finally:
            source.close()
    return rows
