"""Where people are, in metres: how far positions are off before virtual cameras, and whether impossible keypoints are noticed.

This experiment follows no paper's figure. People of the motion capture, whose bones differ by 3 % from their own (hips and
shoulders by 6 %), walk before the training's cameras; keypoints are exact or as the training's detector gives them. The
intrinsics are known. "figure" is the standard deviation of the distance, in percent of it, if a person is as large as the
lifter makes them; "stature" the same if they are scaled to a stature that is known but for the proportions; "bias" the median
with it; "within_1" and "within_2" how often positions are within one and two of their standard deviations then, in percent,
depth. "doubted" is the share of frames with the doubt "fit": of the people's own keypoints ("own"), with a permutation of the
joints for each person ("scrambled"), and with the legs of somebody else beside them ("two people").

Run: python benchmarks/positions.py --data cmu_h36m17.npz [--weights NAME=FILE ...] [--split val] [--people N] [--frames N]
     [--every N] [--clips N] [--device cpu] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from experiment import Row, exit_on_error, load_lifters, option_parser, parse_options, selected_clips, write_result
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.sequences import PoseSequence
from posemoe_edge.edge.lifting import lift_sequence
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.scenes.bodies import BONE_GROUPS, from_bones, to_bones
from posemoe_edge.edge.scenes.cameras import draw_cameras
from posemoe_edge.edge.scenes.detector import detect
from posemoe_edge.edge.scenes.motion_bank import MotionBank
from posemoe_edge.runtime.arrays import F32, F64
from posemoe_edge.runtime.plotting import Bars
from posemoe_edge.runtime.pose.root import solve_roots
from posemoe_edge.runtime.pose.scale import STATURE_SIGMA
from posemoe_edge.runtime.pose.view import look_at

STRIDE = 4
LEGS, TRUNK = (1, 2, 3, 4, 5, 6), ((0, 7), (7, 8))
LEG_BONES = ((1, 2), (2, 3), (4, 5), (5, 6))
BONES_DIFFER, WIDTHS_DIFFER = 0.03, 0.06
KINDS = ("own", "scrambled", "two people")


@dataclass(frozen=True, eq=False)
class Filmed:
    """People before their cameras: joints (B, T, 17, 3) in camera axes, legs and trunk (B,) of the bodies before they differed,
    keypoints (B, T, 17, 3), intrinsics (B, 4) and gravity (B, 3), of pictures that are 2 wide."""

    joints_m: F64
    length_m: F64
    keypoints: F32
    intrinsics: F32
    down: F64

    @property
    def rays(self) -> F64:
        """(B, T, 17, 3) at depth 1, with the score."""
        rays = self.keypoints.astype(np.float64)
        focal, centre = self.intrinsics[:, None, None, :2], self.intrinsics[:, None, None, 2:]
        rays[..., :2] = (rays[..., :2] - centre) / focal
        return rays


def film(clips: Sequence[Clip], people: int, frames: int, *, noisy: bool) -> Filmed:
    bank, generator = MotionBank(clips), torch.Generator().manual_seed(5)
    choice = bank.draw_windows(np.random.default_rng(5), people, frames, strides=[(STRIDE, 1.0)])
    joints = bank.joints_m[choice.index]
    length_m = np.median(legs_and_trunk(joints.numpy()), axis=1)
    factors = torch.ones(people, 17)
    for name, (bones, _) in BONE_GROUPS.items():
        spread = WIDTHS_DIFFER if name in ("hips", "shoulders") else BONES_DIFFER
        factors[:, list(bones)] += spread * torch.randn(people, 1, generator=generator)
    joints = from_bones(to_bones(joints) * factors[:, None, :, None], joints[:, :, 0])
    root = joints[:, :, 0]
    target = (root.amin(1) + root.amax(1)) / 2
    reach = (root - target[:, None])[..., :2].norm(dim=-1).amax(1)
    cameras = draw_cameras(target, reach, generator)
    keypoints = detect(joints, cameras, generator, clean_share=0.0 if noisy else 1.0)
    down = -cameras.rotation[:, :, 2].double().numpy()
    return Filmed(cameras.to_camera(joints).double().numpy(), length_m, keypoints.numpy(), cameras.intrinsics.numpy(), down)


def legs_and_trunk(joints_m: F32 | F64) -> F64:
    """(...) metres of joints (..., 17, 3): along the mean leg from ankle to hip, and up to the thorax."""

    def total(bones: Sequence[tuple[int, int]]) -> F64:
        return np.asarray(sum(np.linalg.norm(joints_m[..., a, :] - joints_m[..., b, :], axis=-1) for a, b in bones), np.float64)

    return total(LEG_BONES) / 2 + total(TRUNK)


def impossible(filmed: Filmed, kind: str) -> Filmed:
    """The same people with keypoints of another kind."""
    rng, keypoints = np.random.default_rng(7), filmed.keypoints.copy()
    if kind == "scrambled":
        keypoints = np.stack([person[:, rng.permutation(17)] for person in keypoints])
    elif kind == "two people":
        seen = keypoints[..., 2:] > 0
        count = np.maximum(seen.sum(axis=2, keepdims=True), 1)
        middle = np.where(seen, keypoints[..., :2], 0).sum(axis=2, keepdims=True) / count
        away = np.where(seen, keypoints[..., :2] - middle, 0)
        size = np.sqrt(np.square(away).sum(axis=(2, 3), keepdims=True) / count)
        other = rng.permutation(len(keypoints))
        theirs = away[other] / np.maximum(size[other], 1e-6) * size + middle + size * np.array([1.5, 0])
        moved = np.concatenate([theirs, keypoints[other][..., 2:]], axis=-1)
        moved[moved[..., 2] == 0] = 0
        keypoints[:, :, LEGS] = moved[:, :, LEGS]
    return Filmed(filmed.joints_m, filmed.length_m, keypoints.astype(np.float32), filmed.intrinsics, filmed.down)


def lift(model: Lifter, filmed: Filmed, dt_s: float) -> F64:
    """(B, T, 17, 3 or 4) in camera axes."""
    poses = []
    for rays, keypoints, intrinsics, down in zip(filmed.rays, filmed.keypoints, filmed.intrinsics, filmed.down, strict=True):
        axes = np.eye(3)
        if model.config.view == "image":
            keypoints, axes = look_at(rays, gravity=down)
        frames = len(keypoints)
        told = np.broadcast_to(intrinsics, (frames, 4)).copy()
        elapsed, nothing = np.full(frames, dt_s, np.float32), np.zeros((frames, 17, 3), np.float32)
        lifted = lift_sequence(model, PoseSequence(keypoints, nothing, elapsed, "", "", intrinsics=told)).astype(np.float64)
        lifted[..., :3] = lifted[..., :3] @ axes
        poses.append(lifted)
    return np.stack(poses)


def measure(models: Mapping[str, Lifter], clips: Sequence[Clip], *, people: int, frames: int) -> list[Row]:
    rows: list[Row] = []
    for label, noisy in (("exact", False), ("noisy", True)):
        filmed = film(clips, people, frames, noisy=noisy)
        for name, model in models.items():
            for kind in KINDS:
                shown = impossible(filmed, kind)
                poses = lift(model, shown, STRIDE / clips[0].fps)
                rows.append({"weights": name, "input": label, "keypoints": kind, **row_of(shown, poses, true=kind == "own")})
    return rows


def row_of(filmed: Filmed, poses: F64, *, true: bool) -> Row:
    """What positions of poses (B, T, 17, 3 or 4) are worth."""
    people, frames = poses.shape[:2]
    flat, rays = poses.reshape(-1, 17, poses.shape[-1]), filmed.rays.reshape(-1, 17, 3)
    solved = solve_roots(flat[..., :3], rays, sigma_m=flat[..., 3] if flat.shape[-1] == 4 else None)
    row: Row = {"doubted": percent(np.mean([not solution.fits for solution in solved]))}
    lifted_m = np.where((rays[:, :9, 2] > 0).all(axis=1), legs_and_trunk(flat[..., :3]), np.nan).reshape(people, frames)
    known = np.isfinite(lifted_m).any(axis=1)
    factor = np.full(people, np.nan)
    factor[known] = filmed.length_m[known] / np.nanmedian(lifted_m[known], axis=1)
    placed = np.array([solution.valid for solution in solved]) & np.repeat(np.isfinite(factor), frames)
    row["placed"] = percent(placed.mean())
    if not true or not placed.any():
        return row
    by_person = np.repeat(factor, frames)[placed]
    found, truth = np.stack([s.xyz_m for s in solved])[placed], filmed.joints_m[:, :, 0].reshape(-1, 3)[placed]
    off = np.log(np.linalg.norm(found, axis=-1) / np.linalg.norm(truth, axis=-1))
    scaled = off + np.log(by_person)
    variance = np.array([solution.covariance[2, 2] for solution in solved])[placed] + (STATURE_SIGMA * found[:, 2]) ** 2
    sigmas = np.abs(by_person * found[:, 2] - truth[:, 2]) / (by_person * np.sqrt(variance))
    row |= {"figure": percent(off.std()), "stature": percent(scaled.std()), "bias": percent(np.median(scaled))}
    return row | {"within_1": percent(np.mean(sigmas < 1)), "within_2": percent(np.mean(sigmas < 2))}


def percent(share: float | np.floating) -> float:
    return round(100 * float(share), 1)


def plots(rows: Sequence[Row]) -> Bars:
    names = {"figure": "of the lifter's size", "stature": "of their own size, if it is known"}
    own = [row for row in rows if row["keypoints"] == "own"]
    values = {
        f"{row['weights']}, {row['input']}": {text: float(row.get(name, 0)) for name, text in names.items()} for row in own
    }
    return Bars(values, "How far the distance of people is off", "standard deviation of the distance (%)", numbers=".1f")


def main() -> None:
    parser = option_parser(__doc__, split="val")
    parser.add_argument("--people", type=int, default=150)
    parser.add_argument("--frames", type=int, default=24, help="of each person")
    options = parse_options(parser)
    clips = selected_clips(options)
    rows = measure(load_lifters(options), clips, people=options.people, frames=options.frames)
    write_result(options, {"clips": len(clips), "people": options.people, "rows": rows}, plots(rows))


if __name__ == "__main__":
    exit_on_error(main)
