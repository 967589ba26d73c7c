"""Real people before real cameras: our whole road and MediaPipe's, side by side, against a truth.

One person in the clips of four calibrated cameras (PyPI's package pose2sim, BSD-3-Clause), 100 frames each. The truth is
triangulated from all four. Every front end (detector, and the true joints as a perfect one) runs before every lifter, with a
camera whose intrinsics are known and with one whose are not; MediaPipe Pose 0.10.14 gives its own 3D. Scored are the 12 joints
of the limbs. "flips" are frames that are nearer to the truth with left and right swapped, "missed" frames without the person,
"ids" how many ids the person had in the worst camera, "others" who else was found. Errors, and the leads over MediaPipe with
the same network, have 95 % intervals by bootstrap over cameras and blocks of time. A second table counts people in scenes
without a truth, a third gives the time of a frame, all systems in turn in one run on one processor thread.

Run: python benchmarks/real.py [--clips FOLDER] [--truth FILE.npz] [--detector blazepose:heavy ...] [--model ARTEFACT ...]
     [--tracker NAME] [--smooth light strong] [--mediapipe full,heavy] [--mediapipe-python PYTHON] [--frames N] [--no-scenes]
     [--no-times] [--json FILE] [--markdown FILE] [--picture FILE] [--photos]
     python benchmarks/real.py --gif FILE [--clips FOLDER] [--detector NAME] [--model ARTEFACT]
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from experiment import exit_on_error
from footage import mediapipe_peer, ours
from footage.animation import read_shot, write_gif
from footage.clips import ClipView, get_clips, read_views
from footage.mediapipe_peer import MediaPipe
from footage.picture import PictureRow, draw_rows
from footage.scenes import measure_scenes
from footage.scoring import IN_COCO, Candidate, nearest, score
from footage.spread import leads
from footage.tables import Row, markdown, print_accuracy, print_rows, row_of
from footage.timing import measure_times
from footage.truth import read_truth, triangulate
from posemoe_edge.runtime.arrays import F64, ImageBgr
from posemoe_edge.runtime.artefact.locate import DEFAULT_MODEL
from posemoe_edge.runtime.detectors import open_detector
from posemoe_edge.runtime.errors import MissingError
from posemoe_edge.runtime.model import Model, load
from posemoe_edge.runtime.pose.keypoints import Keypoints
from posemoe_edge.runtime.sources.video import VideoSource
from posemoe_edge.runtime.tracking import DEFAULT_TRACKER
from rich.console import Console

PERFECT = "perfect 2D"
TRUTH_FROM = "blazepose:heavy"
TRUTH_FILE = "pose2sim_single_truth.npz"
CAMERAS = ("known", "unknown")
SHOWN = (0, 2)  # the cameras of the picture
console = Console(width=200, highlight=False)


def main() -> None:
    options = parse_options()
    folder = get_clips(options.clips)
    views = read_views(folder)
    truth = find_truth(options, folder, views)[: options.frames]  # (T, 17, 3)
    models = {name: load(name) for name in options.model}
    if options.gif:
        draw_gif(options, views, truth, models)
        return
    python = options.mediapipe_python or (mediapipe_peer.make_environment() if options.mediapipe else Path())
    limbs_of: dict[tuple[str, str], list[list[Candidate]]] = {}
    result: dict[str, Any] = {"frames": len(truth), "cameras": [view.name for view in views], "tracker": options.tracker}

    rows: list[Row] = []
    result["accuracy"] = rows
    for row in measure_ours(options, views, truth, models, limbs_of):
        rows.append(row)
        save(options, result)
    for variant in options.mediapipe:
        by_camera = {}
        for view in views:
            with MediaPipe(python, variant, view.video) as peer:
                found = [mediapipe_peer.candidates(answer) for answer, _ in zip(peer, truth, strict=False)]
            limbs_of[f"MediaPipe {variant}", view.name] = found
            by_camera[view.name] = score(found, *limb_truth(view, truth))
        rows.append(row_of({"front_end": f"MediaPipe {variant}", "weights": "its own 3D", "camera": "-"}, by_camera))
        console.print(f"  MediaPipe {variant}: {rows[-1]['mpjpe']} mm", style="dim")
        save(options, result)
    print_accuracy(console, rows)
    result["leads"] = leads(rows)
    if result["leads"]:
        print_rows(console, "MediaPipe's MPJPE less ours with the same network, in mm, with its 95 % interval", result["leads"])
    save(options, result)

    if options.times:
        fronts = {name: ours_on(views[0], name, next(iter(models.values())), options) for name in options.detector}
        peers = {f"MediaPipe {variant}": MediaPipe(python, variant, views[0].video) for variant in options.mediapipe}
        result["times"] = measure_times(fronts, peers)
        print_rows(console, "Time of a frame, interleaved, one thread", result["times"])
        save(options, result)
    if options.scenes:
        model = next(iter(models.values()))
        result["scenes"] = [
            row
            for name in options.detector
            for row in measure_scenes(folder, model, name, options.tracker, open_detector=open_detector, frames=None)
        ]
        print_rows(console, "Scenes without a truth", result["scenes"])
        save(options, result)
    if options.picture:
        draw_rows(options.picture, picture_rows(options, views, truth, limbs_of))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=Path, help="folder of clips; default: pip fetches them into the cache")
    parser.add_argument("--truth", type=Path, help=f"default: {TRUTH_FILE} among the clips, else it is made with {TRUTH_FROM}")
    parser.add_argument("--detector", nargs="*", default=["blazepose:full", "blazepose:heavy"])
    parser.add_argument("--model", nargs="+", default=[DEFAULT_MODEL], help="artefacts")
    parser.add_argument("--tracker", default=DEFAULT_TRACKER)
    parser.add_argument("--smooth", nargs="*", default=[], choices=["light", "strong"], help="also with these levels")
    parser.add_argument("--mediapipe", type=lambda text: text.split(","), default=[], help="some of lite,full,heavy")
    parser.add_argument("--mediapipe-python", type=Path, help="default: a virtual environment in the cache, made when needed")
    parser.add_argument("--frames", type=int, help="of each camera; default: all")
    parser.add_argument("--no-scenes", dest="scenes", action="store_false")
    parser.add_argument("--no-times", dest="times", action="store_false")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="the first table for a page")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--gif", type=Path, help="draw the moving picture of the first detector and model, and measure nothing")
    parser.add_argument("--photos", action="store_true", help="the picture with the photographs")
    options = parser.parse_args()
    for path in (options.json, options.markdown, options.picture, options.gif):
        if path is not None and not path.parent.is_dir():
            parser.error(f"there is no folder {path.parent}")
    if options.gif and not options.detector:
        parser.error("--gif needs a --detector")
    if unknown := set(options.mediapipe) - set(mediapipe_peer.COMPLEXITY):
        parser.error(f"--mediapipe {','.join(unknown)}: some of {','.join(mediapipe_peer.COMPLEXITY)} are expected")
    return options


def find_truth(options: argparse.Namespace, folder: Path, views: list[ClipView]) -> F64:
    """(T, 17, 3) COCO-17 in world metres."""
    if options.truth is not None or (folder / TRUTH_FILE).is_file():
        return read_truth(options.truth or folder / TRUTH_FILE)
    console.print(f"No {TRUTH_FILE}: the truth is made with {TRUTH_FROM} in the four cameras")
    seen = []
    for view in views:
        detector = open_detector(TRUTH_FROM)
        frames, middle = list[Mapping[int, Keypoints]](), np.array([view.camera.size.width_px, view.camera.size.height_px]) / 2
        for frame in ours.run_video(load(), view.video, detector, tracker=options.tracker, camera=None):
            frames.append(frame.keypoints)
        seen.append(ours.keypoints_of(frames, np.tile(middle, (len(frames), 1))))
    shortest = min(map(len, seen))
    stacked = np.stack([points[:shortest] for points in seen]).reshape(len(views), -1, 3)
    truth = triangulate([view.matrix for view in views], stacked).reshape(shortest, -1, 3)
    if not np.isfinite(truth).all():
        raise MissingError("the person is not seen in two cameras in all frames", expected=f"--truth {TRUTH_FILE}")
    return truth


def limb_truth(view: ClipView, truth: F64) -> tuple[F64, F64]:
    """(T, 12, 3) limbs in camera axes, and (T, 12, 2) in the picture."""
    return view.to_camera(truth[:, IN_COCO]), view.project(truth[:, IN_COCO])


def measure_ours(
    options: argparse.Namespace,
    views: list[ClipView],
    truth: F64,
    models: Mapping[str, Model],
    limbs_of: dict[tuple[str, str], list[list[Candidate]]],
) -> Iterator[Row]:
    """A row for each front end, lifter and camera, and of a known camera for each level of smoothing.

    What was found with the first lifter and a known camera is kept.
    """
    for front_end in (*options.detector, PERFECT):
        networks = {} if front_end == PERFECT else {view.name: ours.remembering(open_detector(front_end)) for view in views}
        for weights, model in models.items():
            smoothed = [("known", level) for level in options.smooth if front_end != PERFECT]
            for label, smooth in [(label, "off") for label in CAMERAS] + smoothed:
                by_camera = {}
                for view in views:
                    camera = view.camera if label == "known" else None
                    if front_end == PERFECT:
                        events = ours.run_perfect(model, view.project(truth), view.camera.size, camera=camera)
                    else:
                        detector = networks[view.name]
                        detector.rewind()
                        events = ours.run_video(
                            model,
                            view.video,
                            detector,
                            tracker=options.tracker,
                            camera=camera,
                            frames=len(truth),
                            smooth=smooth,
                        )
                    found = [ours.candidates(frame) for frame in events]
                    limbs_of.setdefault((front_end, view.name), found)
                    by_camera[view.name] = score(found, *limb_truth(view, truth))
                system = front_end if smooth == "off" else f"{front_end}, smoothed {smooth}"
                row = row_of({"front_end": system, "weights": Path(weights).name, "camera": label}, by_camera)
                console.print(f"  {system}, {row['weights']}, camera {label}: {row['mpjpe']} mm", style="dim")
                yield row


def ours_on(view: ClipView, detector: str, model: Model, options: argparse.Namespace) -> Any:
    """Our frames of one camera, with nothing remembered."""
    opened = open_detector(detector)
    return ours.run_video(model, view.video, opened, tracker=options.tracker, camera=view.camera, frames=options.frames)


def draw_gif(options: argparse.Namespace, views: list[ClipView], truth: F64, models: Mapping[str, Model]) -> None:
    """The cameras one after the other, each with its calibration, as ``posemoe-edge run`` lifts them."""
    weights, model = next(iter(models.items()))
    shots = []
    for view in views:
        detector = open_detector(options.detector[0])
        frames = ours.run_video(model, view.video, detector, tracker=options.tracker, camera=view.camera, frames=len(truth))
        shots.append(read_shot(view, frames, truth))
        found = [instant for instant in shots[-1].instants if instant is not None]
        errors = f"{np.mean([one.error_mm for one in found]):.0f} mm" if found else "nobody found"
        console.print(f"  {view.name}: {len(found)} of {len(truth)} frames, joints {errors} from the truth", style="dim")
    write_gif(options.gif, shots, detector=options.detector[0], model=Path(weights).name)


def picture_rows(
    options: argparse.Namespace,
    views: list[ClipView],
    truth: F64,
    limbs_of: Mapping[tuple[str, str], list[list[Candidate]]],
) -> list[PictureRow]:
    """The middle frame of two cameras: the best detector's, and MediaPipe's best."""
    front_end = options.detector[-1] if options.detector else PERFECT
    names = {front_end: f"ours, {front_end}"} | {f"MediaPipe {v}": f"MediaPipe {v}" for v in options.mediapipe[-1:]}
    index, rows = len(truth) // 2, []
    for view in (views[i] for i in SHOWN):
        truth_m, truth_px = limb_truth(view, truth)
        systems = {}
        for system, title in names.items():
            person = nearest(limbs_of[system, view.name][index], truth_px[index])
            systems[title] = None if person is None else person.limbs_m
        keypoints, image = frame_of(view, front_end, index, truth)
        rows.append(
            PictureRow(view.name, keypoints, view.camera.size, image if options.photos else None, truth_m[index], systems)
        )
    return rows


def frame_of(view: ClipView, front_end: str, index: int, truth: F64) -> tuple[Any, ImageBgr]:
    """(17, 3) the keypoints of the person in one frame, and its picture."""
    source = VideoSource(view.video, frames=index + 1)
    image = [frame.image_bgr for frame in source][-1]
    source.close()
    true_px = view.project(truth[index])
    if front_end != PERFECT:
        people = dict(enumerate(person.keypoints for person in open_detector(front_end).detect(image)))
        found = ours.keypoints_of([people], true_px[None, IN_COCO].mean(axis=1))[0]
        if found.any():
            return found, image
    return np.concatenate([true_px, np.ones((len(true_px), 1))], axis=1).astype(np.float32), image


def save(options: argparse.Namespace, result: Mapping[str, Any]) -> None:
    """Write what is measured so far."""
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, allow_nan=False))
    if options.markdown:
        options.markdown.write_text(markdown(result["accuracy"]))


if __name__ == "__main__":
    run: Callable[[], None] = main
    exit_on_error(run)
