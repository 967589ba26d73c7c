"""PoseMoE's losses (equations 19 to 21). Poses are (B, T, J, 3) in metres."""

from __future__ import annotations

import torch
from torch import Tensor

# Hossain and Little weigh the smoothness of limbs' ends, limbs' middles and the trunk apart; these are MixSTE's weights.
SMOOTHNESS = (1, 1, 2.5, 2.5, 1, 2.5, 2.5, 1, 1, 1, 1.5, 1.5, 4, 4, 1.5, 4, 4)


def pose_2d_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over frames and joints of the L2 distance in the image plane (19), metres."""
    return torch.linalg.vector_norm(predicted[..., :2] - target[..., :2], dim=-1).mean()  # type: ignore[no-any-return]


def depth_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over frames and joints of the depth error's size (20), metres."""
    return (predicted[..., 2] - target[..., 2]).abs().mean()


def smoothness_loss(predicted: Tensor) -> Tensor:
    """L_T of (21): the mean weighted square of the motion between frames (Hossain and Little, ECCV 2018), metres^2."""
    motion = predicted[:, 1:] - predicted[:, :-1]
    return (motion.square().sum(-1) * motion.new_tensor(SMOOTHNESS)).mean()


def velocity_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean distance between the motion from frame to frame and the true one: MPJVE, metres per frame."""
    wrong = (predicted[:, 1:] - predicted[:, :-1]) - (target[:, 1:] - target[:, :-1])
    return torch.linalg.vector_norm(wrong, dim=-1).mean()  # type: ignore[no-any-return]


def posemoe_loss(predicted: Tensor, target: Tensor, *, smoothness: float = 0.5) -> Tensor:
    """L = L_2D + L_D + lambda_T L_T (21). The paper gives no lambda_T; 0.5 is MixSTE's."""
    return pose_2d_loss(predicted, target) + depth_loss(predicted, target) + smoothness * smoothness_loss(predicted)
