"""Lifters on takes in PyTorch, many frames at a time: the numbers that the runtime gives frame by frame, sooner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..runtime.errors import UsageError
from ..runtime.pose.metrics import mpjpe
from ..runtime.pose.skeleton import H36M_ORDERS
from .data.sequences import Take
from .models.lifter import Lifter

TOGETHER = 1024  # frames of windows that are lifted in one call


class SkeletonAdapter(nn.Module):
    """A lifter on our data: Human3.6M-17 with confidence in and out, whatever joints and channels it was made for.

    With a state it goes on from there; without one it lifts a window, from an empty memory.
    """

    def __init__(self, model: Lifter) -> None:
        super().__init__()
        self.model = model
        self.order = list(H36M_ORDERS[model.config.skeleton])
        self.back = sorted(range(len(self.order)), key=self.order.__getitem__)

    def forward(
        self, x: Tensor, state: Tensor | None = None, dt: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, T, J, 3) and the next state; of a window (B, T or 1, J, 3) and None."""
        x = x[..., self.order, : self.model.config.channels]
        if state is None:
            return self.model(x, dt)[..., self.back, :], None
        y, state = self.model.chunk(x, state, dt, reset)
        return y[..., self.back, :], state


def lift_take(model: Lifter, take: Take, *, block: int = 81) -> NDArray[np.float32]:
    """(T, J, 3) metres from the root: a take streamed whole from an empty memory, or window after window.

    Of seq2frame (n, J, 3), one pose for each of the n windows: see ``judged``. The last window stands still at its end.

    Args:
        block: frames of a call; what a lifter with lookahead says depends on where its chunks end.
    """
    lift, device = SkeletonAdapter(model), next(model.parameters()).device
    x, dt = torch.from_numpy(take.keypoints).to(device), torch.from_numpy(take.dt_s).to(device)
    was, frames = model.training, len(x)
    model.eval()
    with torch.no_grad():
        if model.config.windowed:
            window = model.config.window or 1
            seen = torch.arange(-(-frames // window) * window, device=device).clamp(max=frames - 1).view(-1, window)
            poses = torch.cat([lift(x[some], None, dt[some])[0] for some in seen.split(max(1, TOGETHER // window))])
            poses = poses.flatten(0, 1)[:frames]
        else:
            state: Tensor | None = model.initial_state(1)
            parts = []
            for start in range(0, frames, block):
                now = slice(start, start + block)
                first = torch.arange(start, start + len(x[now]), device=device) == 0  # nobody knows how long it lasted
                y, state = lift(x[None, now], state, dt[None, now], first[None])
                parts.append(y[0])
            poses = torch.cat(parts)
    model.train(was)
    return poses.cpu().numpy()


def answered(model: Lifter, take: Take) -> NDArray[np.int64]:
    """(n,) numbers of the frames that ``lift_take`` answers: all, or of seq2frame the middle one of each window."""
    if model.latency_frames == 0 or model.config.window is None:
        return np.arange(len(take))
    window, frames = model.config.window, len(take)
    middles = np.arange(-(-frames // window)) * window + window // 2
    return np.minimum(middles, frames - 1)


def judged(model: Lifter, take: Take) -> NDArray[np.float32]:
    """(n, J, 3): the true poses of the frames that ``lift_take`` answers."""
    truth: NDArray[np.float32] = take.pose_m[answered(model, take)]
    return truth


def mean_error_mm(model: Lifter, takes: Sequence[Take], *, block: int = 81) -> float:
    """MPJPE over the frames of all takes that count, in mm; roots as they are."""
    wrong, frames = 0.0, 0
    for take in takes:
        counted = take.counted[answered(model, take)]
        if counted.any():
            truth = judged(model, take)[counted]
            wrong += len(truth) * float(mpjpe(lift_take(model, take, block=block)[counted], truth))
            frames += len(truth)
    if not frames:
        raise UsageError("no frame of these takes counts", expected="takes with valid frames")
    return 1000 * wrong / frames
