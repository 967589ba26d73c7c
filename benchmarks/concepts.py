"""What the figures of the concepts are drawn from, measured with the default model on motion capture with a detector's noise.

    drift   of the graphs of an artefact from PyTorch over a long stream: read from its certificate
    gaps    the error after frames that are missing: the model is told the time, is not told, or begins anew
    sigma   how often joints are within so many of their standard deviations, and the error by standard deviation
    state   how far an outlier, or a stream that begins late, takes the pose, and for how long
    view    the keypoints of a person in the pictures of two cameras at the same place, and in the lifter's view of each

Each is written to a JSON file of its own, from which benchmarks/draw_figures.py draws. The artefact of the kept drift is a copy
of runtime/zoo/frame-retention-s, after posemoe-edge calibrate (for INT8) and verify --frames 10000, both with --data.

Run: python benchmarks/concepts.py --data cmu_h36m17.npz [--only NAME ...] [--certified ARTEFACT] [--split test] [--clips N]
     [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from experiment import exit_on_error, option_parser, part_of, selected_clips
from numpy.typing import NDArray
from posemoe_edge.calib.measure.disturbances import OUTLIER_FRAMES
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.edge.evaluation import stream_sequence
from posemoe_edge.edge.models.view import look_at
from posemoe_edge.runtime import GapPolicy, Model, load
from posemoe_edge.runtime.arrays import F32, F64
from posemoe_edge.runtime.artefact.certificate import read_certificate
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.pose.camera import Intrinsics, normalise_by_camera
from posemoe_edge.runtime.stream import Stream

RESULTS = Path(__file__).parent / "results"
BEFORE_S, AFTER_S = 2.0, 3.0  # of a disturbance: seconds of a stream
GAPS_S = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
LONGEST_GAP_S = 60.0  # a gap of any length fades the state: the limit of the default policy is not what is measured
SHOWN_BEFORE_S, SHOWN_AFTER_S = 0.5, 1.0  # of a gap
RUN_IN_S, EVERY_S = 1.0, 1.0  # before the first gap that is tried in a clip, and between two
GAPS_PER_CLIP = 3  # so that long clips do not outweigh the others
FACTORS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)  # of a standard deviation
BINS = 10
PICTURE = (1280, 720)
CAMERAS = {"level": (75.0, 0.0, -6.0, 4.0), "tilted": (100.0, 30.0, -20.0, -24.0)}
"""Name -> field of view, roll, pitch (downwards is positive) and yaw from the person, degrees."""


# Every measurement is a function of the options, the model and the clips.


def measure_drift(options: argparse.Namespace, model: Model, clips: Sequence[Clip]) -> dict[str, Any]:
    """The curves of a certificate."""
    certificate = options.certified and read_certificate(options.certified, read_manifest(options.certified))
    if certificate is None:
        raise UsageError("drift is read from a certificate", expected="--certified ARTEFACT, which verify has certified")
    return {
        "preset": certificate.preset,
        "reference": certificate.reference,
        "frames": certificate.motion.frames,
        "streams": len(certificate.motion.streams),
        "budget_mm": certificate.budget.mean_mm,
        "drift_mm": {name: drift.drift_curve_mm for name, drift in certificate.by_name.items()},
        "mean_mm": {name: round(drift.measured.mean_mm, 6) for name, drift in certificate.by_name.items()},
        "slope_mm_per_1000": {name: drift.measured.slope_mm_per_1000 for name, drift in certificate.by_name.items()},
        "passed": {name: drift.passed for name, drift in certificate.by_name.items()},
    }


def measure_state(options: argparse.Namespace, model: Model, clips: Sequence[Clip]) -> dict[str, Any]:
    """Means over clips of the distance from the pose of the undisturbed stream, for each frame from the disturbance on."""
    distances: dict[str, list[F64]] = {"outlier": [], "late": []}
    own_error: list[float] = []
    for sequence in noisy_sequences(clips):
        at, end = round(BEFORE_S * sequence.fps), round((BEFORE_S + AFTER_S) * sequence.fps)
        if len(sequence) < end:
            continue
        whole = part_of(sequence, 0, end)
        keypoints = whole.keypoints.copy()
        keypoints[at : at + OUTLIER_FRAMES, :, :2] = np.random.default_rng(0).uniform(-1, 1, (OUTLIER_FRAMES, 17, 2))
        keypoints[at : at + OUTLIER_FRAMES, :, 2] = 1
        undisturbed = stream_sequence(model, whole)[..., :3]
        outlier = stream_sequence(model, replace(whole, keypoints=keypoints))[..., :3]
        late = stream_sequence(model, part_of(sequence, at, end))[..., :3]
        distances["outlier"].append(distance_mm(outlier[at:], undisturbed[at:]))
        distances["late"].append(distance_mm(late, undisturbed[at:]))
        own_error.append(float(distance_mm(undisturbed[at:], whole.pose_m[at:]).mean()))
    if not own_error:
        raise UsageError("no clip is long enough", expected=f"clips of {BEFORE_S + AFTER_S:g} s")
    return {
        "clips": len(own_error),
        "fps": clips[0].fps,
        "outlier_frames": OUTLIER_FRAMES,
        "own_error_mm": round(float(np.mean(own_error)), 2),
        **{f"{name}_mm": rounded(np.mean(curves, axis=0)) for name, curves in distances.items()},
    }


def measure_gaps(options: argparse.Namespace, model: Model, clips: Sequence[Clip]) -> dict[str, Any]:
    """The mean error of the frames around a gap, if the state is kept, faded by the elapsed time, or reset."""
    fps = clips[0].fps
    errors: dict[float, list[dict[str, F64]]] = {gap_s: [] for gap_s in GAPS_S}
    for sequence in noisy_sequences(clips):
        for gap_s, found in errors_around_gaps(model, sequence):
            errors[gap_s].append(found)
    rows = []
    for gap_s, tried in errors.items():
        if tried:
            means = {f"{name}_mm": rounded(np.mean([error[name] for error in tried], axis=0)) for name in tried[0]}
            rows.append({"gap_s": gap_s, "tried": len(tried), **means})
    return {"fps": fps, "before_s": SHOWN_BEFORE_S, "after_s": SHOWN_AFTER_S, "gaps": rows}


def errors_around_gaps(model: Model, sequence: PoseSequence) -> Iterator[tuple[float, dict[str, F64]]]:
    """Gap in seconds, and MPJPE of each frame before it and after it, by what is done to the state."""
    fps, keypoints = sequence.fps, sequence.keypoints_for(view=model.manifest.view)
    before, after = round(SHOWN_BEFORE_S * fps), round(SHOWN_AFTER_S * fps)

    def lift(stream: Stream, frames: range, *, skipped: int = 0) -> F64:
        poses = [stream.step(keypoints[i], t=(i - skipped) / fps).xyz_m for i in frames]
        return distance_mm(np.stack(poses), sequence.pose_m[frames.start : frames.stop])

    last = len(sequence) - after - round(GAPS_S[0] * fps)
    starts = range(round(RUN_IN_S * fps), last + 1, round(EVERY_S * fps))[:GAPS_PER_CLIP]
    with model.stream() as stream, model.stream() as branch:
        whole: list[F64] = []
        snapshots = []
        for begin, end in pairwise([0, *starts, len(sequence)]):
            if begin:
                snapshots.append(stream.snapshot())
            whole.append(lift(stream, range(begin, end)))
        no_gap = np.concatenate(whole)
        for at, snapshot in zip(starts, snapshots, strict=True):
            for gap_s in GAPS_S:
                gap = round(gap_s * fps)
                frames = range(at + gap, at + gap + after)
                if frames.stop > len(sequence):
                    continue
                errors = {"before": no_gap[at - before : at], "no_gap": no_gap[frames.start : frames.stop]}
                branch.restore(snapshot)
                errors["faded"] = lift(branch, frames)
                branch.restore(snapshot)
                errors["kept"] = lift(branch, frames, skipped=gap)
                branch.reset()
                errors["reset"] = lift(branch, frames)
                yield gap_s, errors


def measure_sigma(options: argparse.Namespace, model: Model, clips: Sequence[Clip]) -> dict[str, Any]:
    """Of all joints but the root: the share within some factors of sigma, and the error in classes of equal size by sigma."""
    result: dict[str, Any] = {"factors": FACTORS, "nominal_percent": [round(100 * erf(f / 2**0.5), 2) for f in FACTORS]}
    for name, noisy in (("exact", False), ("noisy", True)):
        errors, sigmas = [], []
        for sequence in evaluation_sequences(clips, noisy=noisy):
            poses = stream_sequence(model, sequence)
            error_m = np.linalg.norm(aligned(poses[..., :3]) - aligned(sequence.pose_m), axis=-1)
            errors.append(error_m[:, 1:].ravel())
            sigmas.append(poses[:, 1:, 3].ravel())
        error, sigma = 1000 * np.concatenate(errors), 1000 * np.concatenate(sigmas)
        classes = np.array_split(np.argsort(sigma), BINS)
        result[name] = {
            "joints": len(error),
            "within_percent": [round(100 * float(np.mean(error < f * sigma)), 2) for f in FACTORS],
            "sigma_mm": [round(float(np.sqrt(np.mean(sigma[rows] ** 2))), 2) for rows in classes],
            "rms_error_mm": [round(float(np.sqrt(np.mean(error[rows] ** 2))), 2) for rows in classes],
        }
    return result


def measure_view(options: argparse.Namespace, model: Model, clips: Sequence[Clip]) -> dict[str, Any]:
    """One person of the motion capture, seen from one place by a level camera and by a wide one that is rolled and pitched."""
    clip = next((clip for clip in clips if clip.action == "walk"), clips[0])
    joints_m = clip.joints_m[len(clip) // 2].astype(np.float64)
    from_deg = 35.0  # of the person's y axis
    away = np.array([np.sin(np.radians(from_deg)), np.cos(np.radians(from_deg))])
    eye_m = np.array([*(joints_m[0, :2] - 2.6 * away), 0.6])
    rows = []
    for name, (fov_deg, roll_deg, pitch_deg, yaw_deg) in CAMERAS.items():
        focal_px = PICTURE[0] / 2 / np.tan(np.radians(fov_deg) / 2)
        points_m = (joints_m - eye_m) @ camera_axes(roll_deg, pitch_deg, from_deg + yaw_deg).T
        pixels = points_m[:, :2] / points_m[:, 2:] * focal_px + np.array(PICTURE) / 2
        keypoints = np.concatenate([pixels, np.ones((17, 1))], axis=1)
        intrinsics = Intrinsics(focal_px, focal_px, PICTURE[0] / 2, PICTURE[1] / 2)
        view = look_at(torch.from_numpy(normalise_by_camera(keypoints, intrinsics)))
        angles = {"fov_deg": fov_deg, "roll_deg": roll_deg, "pitch_deg": pitch_deg, "yaw_deg": yaw_deg}
        seen = {"pixels": pixels.round(2).tolist(), "view": view.keypoints[:, :2].numpy().round(4).tolist()}
        rows.append({"camera": name, **angles, **seen})
    views = [np.array(row["view"]) for row in rows]
    return {
        "clip": clip.id,
        "picture_px": PICTURE,
        "cameras": rows,
        "views_differ_by": round(float(np.abs(views[0] - views[1]).max()), 6),
    }


MEASUREMENTS: dict[str, Callable[[argparse.Namespace, Model, Sequence[Clip]], dict[str, Any]]] = {
    "drift": measure_drift,
    "gaps": measure_gaps,
    "sigma": measure_sigma,
    "state": measure_state,
    "view": measure_view,
}


def noisy_sequences(clips: Sequence[Clip]) -> list[PoseSequence]:
    return evaluation_sequences(clips, noisy=True)


def aligned(poses_m: F32) -> F64:
    """Poses (T, 17, 3) with the hip at 0."""
    return np.asarray(poses_m - poses_m[:, :1], np.float64)


def distance_mm(poses_m: F32, others_m: F32) -> F64:
    """(T,) mean distance of the joints (T, 17, 3), hips aligned."""
    return np.asarray(1000 * np.linalg.norm(aligned(poses_m) - aligned(others_m), axis=-1).mean(axis=-1))


def rounded(values: NDArray[Any]) -> list[float]:
    """With four digits that matter."""
    return [float(f"{value:.4g}") for value in values]


def camera_axes(roll_deg: float, pitch_deg: float, yaw_deg: float) -> F64:
    """(3, 3) rows: right, down and forward of a camera in a world whose z is up; with no angle it looks along y."""
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    level = np.array([[np.cos(yaw), -np.sin(yaw), 0], [0, 0, -1], [np.sin(yaw), np.cos(yaw), 0]])
    tilt = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    turn = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(turn @ tilt @ level)


def main() -> None:
    parser = option_parser(__doc__, weights=False)
    parser.add_argument("--only", nargs="+", choices=list(MEASUREMENTS), default=list(MEASUREMENTS), metavar="NAME")
    parser.add_argument("--certified", type=Path, help="the artefact whose certificate drift is read from")
    parser.add_argument("--model", help="an artefact; default: the shipped one")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    clips = selected_clips(options)
    with closing(load(options.model, gaps=GapPolicy(reset_after_s=LONGEST_GAP_S))) as model:
        for name in options.only:
            began = time.monotonic()
            about = {
                "model": model.manifest.preset,
                "data": options.data.name,
                "split": options.split,
                "date": time.strftime("%Y-%m-%d"),
            }
            result = MEASUREMENTS[name](options, model, clips)
            (options.out / f"{name}.json").write_text(json.dumps({**about, **result}, indent=1) + "\n")
            print(f"{name}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    exit_on_error(main)
