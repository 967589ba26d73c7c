"""Tracking: how often people who cross before one camera are taken for somebody else.

Procedural walkers circle within 2 m of each other for 40 s, in front of a camera that is 1.2 m high and 5.5 m away. Joints
behind a nearer person are hidden; with half of them hidden a person is not detected. Some detections are lost, and now and then
there is a false one. A switch is a person whose id changes, a handover is an id that goes over to another person.

Run: python benchmarks/tracking.py [--tracker NAME] [--seeds 0,1,2,3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.detectors import Detection
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.sources.walker import walk_world
from posemoe_edge.runtime.tracking import open_tracker

SIZE = ImageSize(1280, 720)
FOCAL_PX, CAMERA_HEIGHT_M, DISTANCE_M = 900.0, 1.2, 5.5
SECONDS = 40.0
NOISE = 0.02  # of the person's height, at each joint
HIDDEN_NOISE = 2.5  # times as much at hidden joints
NEARER_M = 0.15  # who is nearer by so much hides
FALSE_SHARE = 0.02  # false detections a frame and person
NOBODY = -1

# COCO-17 from the walker's joints: eyes and ears from the nose and the head.
FROM_H36M = (9, 9, 9, 10, 10, 11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3)


@dataclass(frozen=True)
class Scene:
    """People before a camera."""

    people: int
    lost: float  # share of the detections that are lost
    fps: float = 30.0


SCENES = {"easy": Scene(people=3, lost=0.05), "hard": Scene(people=6, lost=0.15), "10 fps": Scene(people=4, lost=0.1, fps=10.0)}


@dataclass
class Mistakes:
    """What a tracker did with a scene."""

    switches: int = 0
    handovers: int = 0
    ids: int = 0
    detections: int = 0
    tracked: int = 0


def frames(scene: Scene, seed: int) -> Iterator[tuple[float, list[tuple[int, F64]]]]:
    """Time, and the detections of a frame: person, (17, 3) COCO-17 in pixels."""
    rng = np.random.default_rng(seed)
    t_s = np.arange(round(SECONDS * scene.fps)) / scene.fps
    world = np.stack([walk_world(t_s, seed=seed, person=person) for person in range(scene.people)], 1)  # (T, P, 17, 3)
    world[..., :2] += np.stack([rng.uniform(-1.2, 1.2, scene.people), rng.uniform(-0.8, 0.8, scene.people)], -1)[:, None]
    depth = world[..., 1] + DISTANCE_M
    xy = np.stack([world[..., 0], CAMERA_HEIGHT_M - world[..., 2]], -1) / depth[..., None] * FOCAL_PX
    xy = (xy + np.array([SIZE.width_px / 2, SIZE.height_px / 2]))[:, :, FROM_H36M]
    xy[:, :, 1] += (-6, -6)
    xy[:, :, 2] += (6, -6)
    for i, t in enumerate(t_s):
        seen = ((person, _seen(rng, xy[i], depth[i, :, 0], person, scene)) for person in range(scene.people))
        found = [(person, points) for person, points in seen if points is not None]
        if rng.uniform() < FALSE_SHARE * scene.people:
            somewhere = xy[i, rng.integers(scene.people)] + rng.normal(size=2) * 90 + rng.normal(size=(17, 2)) * 8
            found.append((NOBODY, np.concatenate([somewhere, rng.uniform(0.2, 0.5, (17, 1))], axis=1)))
        yield float(t), [found[j] for j in rng.permutation(len(found))]


def _seen(rng: np.random.Generator, xy: F64, depth_m: F64, person: int, scene: Scene) -> F64 | None:
    """(17, 3) a person of (P, 17, 2) as detected, or None."""
    visible = np.ones(17, np.bool_)
    for other in range(len(xy)):
        if depth_m[other] < depth_m[person] - NEARER_M:
            low, high = xy[other].min(0), xy[other].max(0)
            visible &= ~(np.abs(xy[person] - (low + high) / 2) < (high - low) * [0.32, 0.5]).all(1)
    if visible.mean() < 0.5 or rng.uniform() < scene.lost:
        return None
    score = np.where(visible, rng.uniform(0.6, 0.95, 17), rng.uniform(0.05, 0.4, 17))
    noise_px = NOISE * np.ptp(xy[person, :, 1]) * np.where(visible, 1, HIDDEN_NOISE)
    return np.concatenate([xy[person] + rng.normal(size=(17, 2)) * noise_px[:, None], score[:, None]], axis=1)


def judge(scene: Scene, seed: int, tracker_name: str) -> Mistakes:
    """Track a scene, and count."""
    tracker, mistakes = open_tracker(tracker_name), Mistakes()
    last: dict[int, int] = {}
    owner: dict[int, int] = {}
    for t_s, found in frames(scene, seed):
        detections = [Detection.from_coco(points, size=SIZE, score=float(points[:, 2].mean())) for _, points in found]
        ids = {detection.box_px: i for i, detection in tracker.update(detections, t_s=t_s).items()}
        for (person, _), detection in zip(found, detections, strict=True):
            track = ids.get(detection.box_px)
            if person == NOBODY:
                continue
            mistakes.detections += 1
            if track is None:
                continue
            mistakes.tracked += 1
            mistakes.switches += last.get(person, track) != track
            mistakes.handovers += owner.get(track, person) != person
            last[person], owner[track] = track, person
    mistakes.ids = len(owner)
    return mistakes


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracker", default="oks")
    parser.add_argument("--seeds", default="0,1,2,3", help="of the scenes, with commas")
    parser.add_argument("--json", type=Path, help="write the counts there")
    options = parser.parse_args(arguments)
    rows = []
    for name, scene in SCENES.items():
        started_s = time.perf_counter()
        seeds = [judge(scene, int(seed), options.tracker) for seed in options.seeds.split(",")]
        milliseconds = 1000 * (time.perf_counter() - started_s) / (len(seeds) * SECONDS * scene.fps)
        total = {key: sum(asdict(mistakes)[key] for mistakes in seeds) for key in asdict(seeds[0])}
        rows.append({"scene": name, "people": scene.people * len(seeds), **total, "frame_ms": round(milliseconds, 2)})
        print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"tracker": options.tracker, "seeds": options.seeds, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
