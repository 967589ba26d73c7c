"""A stick figure that walks in circles and swings its limbs, as clips and as a motion-capture file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.runtime.pose.skeleton import H36M17

# Metres from the parent, standing and facing -y: x to the figure's left, z up.
BONES_M = {
    "right_hip": (-0.1, 0, 0), "right_knee": (0, 0, -0.42), "right_ankle": (0, 0, -0.43),
    "left_hip": (0.1, 0, 0), "left_knee": (0, 0, -0.42), "left_ankle": (0, 0, -0.43),
    "spine": (0, 0, 0.22), "thorax": (0, 0, 0.28), "nose": (0, -0.02, 0.12), "head": (0, 0, 0.12),
    "left_shoulder": (0.17, 0, 0), "left_elbow": (0, 0, -0.29), "left_wrist": (0, 0, -0.27),
    "right_shoulder": (-0.17, 0, 0), "right_elbow": (0, 0, -0.29), "right_wrist": (0, 0, -0.27),
}  # fmt: skip
SWINGING = {"right_knee": 1, "left_knee": -1, "left_elbow": 1, "right_elbow": -1}


def stick_figure(frames: int, *, phase: float = 0.0, fps: float = 50.0) -> Clip:
    t = np.arange(frames) / fps + phase
    joints_m = np.zeros((frames, len(H36M17), 3))
    joints_m[:, 0] = np.stack([np.sin(t * 0.3), np.cos(t * 0.3), np.full(frames, 0.93)], axis=-1)
    for parent, child in H36M17.bones:
        name = H36M17.joints[child]
        x, y, z = BONES_M[name]
        angle = 0.5 * np.sin(5 * t) * SWINGING.get(name, 0)
        bone = np.stack([np.full(frames, x), y + z * np.sin(angle), z * np.cos(angle)], axis=-1)
        joints_m[:, child] = joints_m[:, parent] + bone
    return Clip(
        id=f"stick_{frames}_{phase:g}",
        subject="stick",
        action="swing",
        split="train",
        native=True,
        fps=fps,
        joints_m=joints_m.astype(np.float32),
    )


@pytest.fixture
def clips() -> list[Clip]:
    return [stick_figure(300), stick_figure(90, phase=1.0), stick_figure(1000, phase=2.0)]


@pytest.fixture
def clip(clips: list[Clip]) -> Clip:
    return clips[0]


@pytest.fixture
def write_mocap(tmp_path: Path, clips: list[Clip]) -> Callable[..., Path]:
    """write_mocap(field=array): a file of the clips, one in each split; keywords replace fields, None omits one."""

    def write(**changes: Any) -> Path:
        joints_m = np.concatenate([clip.joints_m for clip in clips])
        fields: dict[str, Any] = {
            "rel": np.round((joints_m - joints_m[:, :1]) * 1e4).astype(np.int16),
            "root": joints_m[:, 0],
            "offsets": np.cumsum([0, *map(len, clips)]),
            "clip_id": np.array([clip.id for clip in clips]),
            "subject": np.array([clip.subject for clip in clips]),
            "action": np.array([clip.action for clip in clips]),
            "split": np.array(["train", "val", "test"]),
            "skeleton": np.array(["native", "retargeted", "native"]),
            "parents": np.array(H36M17.parents),
            "fps": np.array(50),
        }
        path = tmp_path / "motion.npz"
        np.savez(path, **{key: value for key, value in (fields | changes).items() if value is not None})
        return path

    return write
