"""The recipe of a training, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Args:
        updates: length of the training; the learning rate follows it, however often it is interrupted.
        rows, frames: streams side by side, and frames between two updates; of a window lifter, windows in a batch (its frames
            are its own).
        windows: share of the training that a streaming lifter begins with, on windows from an empty memory: each row is another
            person before another camera, where streams stay with theirs for many updates.
        rate: learning rate: a warm-up of 2 %, constant, and down to 1 % over the last quarter.
        muon: the hidden weight matrices' rate, by Muon, as a multiple of the others'; 0 leaves them to AdamW.
        loss: of which paper.
        velocity: weight of a velocity loss beside it.
        average: share of the updates that the weights' running mean spans, which is what a training leaves behind.
        half: matrix products in bfloat16, by autocast, where the machine has them (sums, norms and the carried state stay
            float32).
        compiled: fuse the network with torch.compile first: minutes of waiting, then a quarter to a third faster on a CPU.
    """

    updates: int = 4000
    rows: int = 16
    frames: int = 27
    windows: float = 0.5
    rate: float = 2e-3
    muon: float = 5.0
    weight_decay: float = 0.01
    clip: float = 1.0
    loss: Literal["posemoe", "mixste", "hummuss"] = "posemoe"
    velocity: float = 2.0
    average: float = 0.02
    seed: int = 0
    half: bool = True
    compiled: bool = False


@dataclass(frozen=True)
class TrainingProgress:
    """What a training reports after an update: how far it is, and how well it does.

    Args:
        done: share of the updates that are behind it.
        val_mpjpe_mm: of the averaged weights, where they were just saved.
    """

    done: float
    updates: int
    loss: float
    frames_per_second: float
    val_mpjpe_mm: float | None


def schedule(done: float) -> float:
    """The learning rate's share of its peak after that share of the updates."""
    return min(1.0, done / 0.02 + 1e-3) * max(0.01, min(1.0, 1 - 0.99 * (done - 0.75) / 0.25))
