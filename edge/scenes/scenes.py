"""Scenes: batches of people in front of robots' cameras, with the true poses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...runtime.pose.keypoints import View
from .bodies import bend, lean, mirror_half, reshape_bodies, swap_limbs, turn_joints
from .cameras import draw_cameras, renormalise, told_intrinsics
from .detector import detect
from .motion_bank import MotionBank


@dataclass(frozen=True, eq=False)
class SceneBatch:
    """Consecutive frames of several people, on the device; see ``edge.data.batches.SequenceBatch``.

    Args:
        keypoints: (B, T, 17, 3) x and y normalised by the picture or by the camera, confidence; a missing joint is (0, 0, 0).
        pose_m: (B, T, 17, 3) metres from the root, camera axes.
        dt_s, reset: (B, T)
    """

    keypoints: Tensor
    pose_m: Tensor
    dt_s: Tensor
    reset: Tensor

    def slice_frames(self, frames: slice) -> SceneBatch:
        """Some of the frames."""
        return SceneBatch(*(array[:, frames] for array in (self.keypoints, self.pose_m, self.dt_s, self.reset)))

    def slice_rows(self, rows: slice) -> SceneBatch:
        """Some of the people."""
        return SceneBatch(*(array[rows] for array in (self.keypoints, self.pose_m, self.dt_s, self.reset)))


class Scenes(Iterator[SceneBatch]):
    """Endless batches. In each, every row is a person, with a body of their own, before a camera of their own.

    Args:
        bank: the motion.
        rows, frames: of a batch.
        windows: each row shows one part of one clip, all at one rate (``MotionBank.draw_windows``); otherwise part after
            part, at rates of their own.
        view: of the lifter: for "person", keypoints are normalised by the camera, as far as it is known.
        seed: the same seed, bank and sizes give the same batches on one kind of device.
    """

    def __init__(
        self, bank: MotionBank, *, rows: int, frames: int, windows: bool, view: View, seed: int | Sequence[int]
    ) -> None:
        self.bank, self.rows, self.frames, self.view = bank, rows, frames, view
        self._choose = bank.draw_windows if windows else bank.draw_streams
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator(bank.device).manual_seed(int(self._rng.integers(2**62)))

    @torch.no_grad()
    def __next__(self) -> SceneBatch:
        generator = self._generator
        choice = self._choose(self._rng, self.rows, self.frames)
        joints = self.bank.joints_m[choice.index]  # (B, T, 17, 3)
        joints = _centred(joints, choice.reset)
        joints, reset = swap_limbs(joints, choice.reset, generator)
        joints = bend(mirror_half(reshape_bodies(joints, generator), generator), choice.dt_s, generator)
        joints = lean(turn_joints(joints, generator), generator)
        root = joints[:, :, 0]
        target = (root.amin(1) + root.amax(1)) / 2
        reach = (root - target[:, None])[..., :2].norm(dim=-1).amax(1)
        cameras = draw_cameras(target, reach, generator)
        points = cameras.to_camera(joints)
        keypoints = detect(joints, cameras, generator)
        if self.view == "person":
            keypoints = renormalise(keypoints, told_intrinsics(cameras, generator))
        return SceneBatch(
            keypoints=keypoints,
            pose_m=points - points[:, :, :1],
            dt_s=choice.dt_s,
            reset=reset,
        )


def _centred(joints_m: Tensor, reset: Tensor) -> Tensor:
    """Each part between two resets moved so that its first root is above the origin: one camera sees all parts of a row."""
    first = torch.arange(reset.shape[1], device=reset.device).expand_as(reset)
    start = torch.where(reset, first, 0).cummax(dim=1).values  # (B, T) the frame that began the part
    origin = joints_m[:, :, 0, :2].gather(1, start[..., None].expand(-1, -1, 2))
    shift = torch.cat([origin, torch.zeros_like(origin[..., :1])], dim=-1)
    return joints_m - shift[:, :, None]
