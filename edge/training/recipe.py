"""The recipe of a training, its learning-rate schedule, and what it reports after each update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Loss = Literal["mpjpe", "posemoe", "mixste", "hummuss"]


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Args:
        updates: length of the training; the learning rate follows it, however often the training is interrupted.
        minutes: length of the training as time instead, for a machine whose speed is not known; None is ``updates``.
        rows: streams side by side; for a window lifter, windows in a batch.
        frames: frames of a stream between two updates; a window lifter uses its own window.
        windows: share of the training in which a streaming lifter sees windows from the initial state first: each row of a
            batch is another person in front of another camera, while streams keep theirs for many updates.
        rate: peak learning rate: a warm-up of 2 %, constant, then down to 1 % over the last quarter.
        muon: learning rate of the hidden weight matrices, which Muon trains, as a multiple of ``rate``; 0 leaves them to AdamW.
        weight_decay: of weight matrices.
        clip: largest norm of the gradient.
        loss: "mpjpe", or the paper whose loss is used.
        trunk_rate: learning rate of the trunk or stem (``trunk_parameters``), as a multiple of that of the other weights:
            below 1, the blocks over time learn while the trunk keeps what it knows; 0 freezes it.
        singles: single frames, each of another person before another camera, that every update of a stream or of windows sees
            too: few people are in a batch of streams, and without others the trunk forgets. Only for motion-capture clips.
        scene: updates for which a person stays before a camera, in the streams of motion-capture clips.
        velocity: weight of the additional velocity loss.
        average: share of the training that the running mean of the weights spans. The mean is what a training produces.
        seed: of weights and data.
        half: compute matrix products in bfloat16 by autocast, where the machine supports it; sums, norms and the carried state
            stay float32.
        compiled: fuse the network with torch.compile first: this takes minutes, and then saves a quarter to a third of the time
            on a CPU.
    """

    updates: int = 4000
    minutes: float | None = None
    rows: int = 16
    frames: int = 27
    windows: float = 0.5
    rate: float = 2e-3
    muon: float = 5.0
    weight_decay: float = 0.01
    clip: float = 1.0
    loss: Loss = "mpjpe"
    trunk_rate: float = 1.0
    singles: int = 0
    scene: int = 8
    velocity: float = 2.0
    average: float = 0.02
    seed: int = 0
    half: bool = True
    compiled: bool = False


@dataclass(frozen=True)
class TrainingProgress:
    """What a training reports after an update.

    Args:
        done: completed share of the updates.
        updates: completed updates.
        loss: smoothed over updates.
        frames_per_second: training frames of this process.
        val_mpjpe_mm: MPJPE of the averaged weights on the validation clips, where they were just saved; otherwise None.
    """

    done: float
    updates: int
    loss: float
    frames_per_second: float
    val_mpjpe_mm: float | None


def schedule(progress: float) -> float:
    """The learning rate as a share of its peak, after that share of the updates."""
    return min(1.0, progress / 0.02 + 1e-3) * max(0.01, min(1.0, 1 - 0.99 * (progress - 0.75) / 0.25))
