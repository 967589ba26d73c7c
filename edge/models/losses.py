"""PoseMoE's losses (equations 19 to 21). Poses are (B, T, J, 3) in metres."""

from __future__ import annotations

import torch
from torch import Tensor

# Hossain and Little weigh the smoothness of trunk and limbs apart; these are MixSTE's weights per joint.
SMOOTHNESS = (1, 1, 2.5, 2.5, 1, 2.5, 2.5, 1, 1, 1, 1.5, 1.5, 4, 4, 1.5, 4, 4)


def pose_2d_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over frames and joints of the L2 distance in the image plane (19), metres."""
    return torch.linalg.vector_norm(predicted[..., :2] - target[..., :2], dim=-1).mean()  # type: ignore[no-any-return]


def depth_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over frames and joints of the depth error's size (20), metres."""
    return (predicted[..., 2] - target[..., 2]).abs().mean()


def smoothness_loss(predicted: Tensor, reset: Tensor | None = None) -> Tensor:
    """L_T of (21): the mean weighted square of the motion between frames (Hossain and Little, ECCV 2018), metres^2.

    Args:
        reset: (B, T) true where another take begins: there is no motion into such a frame.
    """
    motion = _motion(predicted, reset)
    return (motion.square() * motion.new_tensor(SMOOTHNESS)[:, None]).mean()


def velocity_loss(predicted: Tensor, target: Tensor, reset: Tensor | None = None) -> Tensor:
    """Mean distance between the motion from frame to frame and the true one: MPJVE, metres per frame."""
    return torch.linalg.vector_norm(_motion(predicted - target, reset), dim=-1).mean()  # type: ignore[no-any-return]


def posemoe_loss(predicted: Tensor, target: Tensor, reset: Tensor | None = None, *, smoothness: float = 0.5) -> Tensor:
    """L = L_2D + L_D + lambda_T L_T (21). The paper gives no lambda_T; 0.5 is MixSTE's."""
    return pose_2d_loss(predicted, target) + depth_loss(predicted, target) + smoothness * smoothness_loss(predicted, reset)


def _motion(x: Tensor, reset: Tensor | None) -> Tensor:
    """(B, T - 1, J, 3) from frame to frame, zero into a frame where another take begins."""
    motion = x[:, 1:] - x[:, :-1]
    return motion if reset is None else torch.where(reset[:, 1:, None, None], 0.0, motion)
