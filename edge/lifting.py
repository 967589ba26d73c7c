"""Lifters on pose sequences in PyTorch, many frames per call: the same poses as the runtime gives frame by frame, faster."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..runtime.arrays import F32
from ..runtime.errors import UsageError
from ..runtime.pose.metrics import mpjpe
from ..runtime.pose.skeleton import H36M_ORDERS
from .data.sequences import PoseSequence
from .models.lifter import Lifter

FRAMES_PER_CALL = 1024  # frames of windows that are lifted in one call


class SkeletonAdapter(nn.Module):
    """A lifter behind Human3.6M-17 keypoints with confidence and Human3.6M-17 poses, whatever skeleton and channels it has.

    With a state it continues from there; without one it lifts a window from the initial state.
    """

    def __init__(self, model: Lifter) -> None:
        super().__init__()
        self.model = model
        order = torch.tensor(H36M_ORDERS[model.config.skeleton], device=next(model.parameters()).device)
        self.order: Tensor
        self.back: Tensor
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)

    def forward(
        self, x: Tensor, state: Tensor | None = None, dt: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, T, J, 3) and the next state; of a window (B, T or 1, J, 3) and None. With sigma, 4 numbers a joint."""
        x = x[..., self.order, : self.model.config.channels]
        if state is None:
            return self.model(x, dt)[..., self.back, :], None
        y, state = self.model.chunk(x, state, dt, reset)
        return y[..., self.back, :], state


def lift_sequence(model: Lifter, sequence: PoseSequence, *, block: int = 81) -> F32:
    """(T, J, 3) metres from the root, (T, J, 4) with sigma: a sequence streamed whole from an initial state, or in windows.

    A seq2frame lifter gives (n, J, 3), one pose for each of the n windows: see ``answered_frames``. The last window repeats the
    last frame.

    Args:
        block: frames of a call; the poses of a lifter with lookahead depend on where its chunks end.
    """
    lift, device = SkeletonAdapter(model), next(model.parameters()).device
    keypoints = sequence.keypoints_for(view=model.config.view)
    x, dt = torch.from_numpy(keypoints).to(device), torch.from_numpy(sequence.dt_s).to(device)
    was_training, frames = model.training, len(x)
    model.eval()
    with torch.no_grad():
        if model.config.windowed:
            window = model.config.window or 1
            index = torch.arange(-(-frames // window) * window, device=device).clamp(max=frames - 1).view(-1, window)
            calls = index.split(max(1, FRAMES_PER_CALL // window))
            poses = torch.cat([lift(x[rows], None, dt[rows])[0] for rows in calls])
            poses = poses.flatten(0, 1)[:frames]
        else:
            state: Tensor | None = model.initial_state(1)
            parts = []
            for start in range(0, frames, block):
                span = slice(start, start + block)
                reset = torch.arange(start, start + len(x[span]), device=device) == 0  # the first frame has no known dt
                y, state = lift(x[None, span], state, dt[None, span], reset[None])
                parts.append(y[0])
            poses = torch.cat(parts)
    model.train(was_training)
    return poses.cpu().numpy()


def answered_frames(model: Lifter, sequence: PoseSequence) -> NDArray[np.int64]:
    """(n,) indices of the frames that ``lift_sequence`` gives poses for: all, or of seq2frame the middle of each window."""
    if model.latency_frames == 0 or model.config.window is None:
        return np.arange(len(sequence))
    window, frames = model.config.window, len(sequence)
    middles = np.arange(-(-frames // window)) * window + window // 2
    return np.minimum(middles, frames - 1)


def target_poses(model: Lifter, sequence: PoseSequence) -> F32:
    """(n, J, 3) metres: the true poses of the frames that ``lift_sequence`` gives poses for."""
    targets: F32 = sequence.pose_m[answered_frames(model, sequence)]
    return targets


def mean_error_mm(model: Lifter, sequences: Sequence[PoseSequence], *, block: int = 81) -> float:
    """MPJPE over all valid frames of all sequences, in mm; roots are not aligned.

    Raises:
        UsageError: no frame is valid.
    """
    total_m, frames = 0.0, 0
    for sequence in sequences:
        valid = sequence.valid_mask[answered_frames(model, sequence)]
        if valid.any():
            truth = target_poses(model, sequence)[valid]
            total_m += len(truth) * float(mpjpe(lift_sequence(model, sequence, block=block)[valid, :, :3], truth))
            frames += len(truth)
    if not frames:
        raise UsageError("no frame of these sequences is valid", expected="sequences with valid frames")
    return 1000 * total_m / frames
