"""The losses of the papers. Poses are (B, T, J, 3) in metres, joints in Human3.6M's order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Hossain and Little weight the smoothness of trunk and limbs separately; these are MixSTE's weights per joint.
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
        reset: (B, T) true where another sequence begins: motion into such a frame is not counted.
    """
    motion = _motion(predicted, reset)
    return _mean(motion.square() * motion.new_tensor(SMOOTHNESS)[:, None])


def velocity_loss(predicted: Tensor, target: Tensor, reset: Tensor | None = None) -> Tensor:
    """Mean distance between the predicted and the true motion from frame to frame: MPJVE, metres per frame."""
    return _mean(torch.linalg.vector_norm(_motion(predicted - target, reset), dim=-1))


def posemoe_loss(predicted: Tensor, target: Tensor, reset: Tensor | None = None, *, smoothness: float = 0.5) -> Tensor:
    """L = L_2D + L_D + lambda_T L_T (21). The paper gives no lambda_T; 0.5 is MixSTE's."""
    return pose_2d_loss(predicted, target) + depth_loss(predicted, target) + smoothness * smoothness_loss(predicted, reset)


def mixste_loss(predicted: Tensor, target: Tensor, reset: Tensor | None = None) -> Tensor:
    """MixSTE's and PoseRetNet's: weighted MPJPE + 0.5 times the smoothness + 2 times the velocity error.

    The joints' weights are those of the smoothness. The published trainers also multiply the gradient by the loss; this
    function does not.
    """
    distance: Tensor = torch.linalg.vector_norm(predicted - target, dim=-1) * predicted.new_tensor(SMOOTHNESS)
    return distance.mean() + 0.5 * smoothness_loss(predicted, reset) + 2 * velocity_loss(predicted, target, reset)


def hummuss_loss(predicted: Tensor, target: Tensor, reset: Tensor | None = None, *, velocity: float = 20.0) -> Tensor:
    """HumMUSS's L_3D (3): squared errors of joints and of their motion. The paper sums, this function takes means.

    Args:
        velocity: lambda. The paper gives none; 20 is MotionBERT's, whose training it follows.
    """
    return (predicted - target).square().sum(-1).mean() + velocity * _mean(_motion(predicted - target, reset).square().sum(-1))


def mpjpe_loss(predicted: Tensor, target: Tensor, reset: Tensor | None = None) -> Tensor:
    """Mean over frames and joints of the distance, metres: the error that accuracy is reported in."""
    return torch.linalg.vector_norm(predicted - target, dim=-1).mean()  # type: ignore[no-any-return]


def sigma_loss(sigma: Tensor, predicted: Tensor, target: Tensor) -> Tensor:
    """The negative log likelihood of each joint's distance from the truth as a half-normal one of scale sigma, without its
    constant.

    A proper score: its minimum is where sigma is the root mean square of the distance, given what the network saw. Its gradient
    reaches sigma alone, so that no joint becomes worse for the sake of a better excuse.

    Args:
        sigma: (B, T, J) metres.
        predicted, target: (B, T, J, 3)
    """
    square = (predicted.detach() - target).square().sum(-1)
    return (sigma.log() + square / (2 * sigma.square())).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "mpjpe": mpjpe_loss,
    "posemoe": posemoe_loss,
    "mixste": mixste_loss,
    "hummuss": hummuss_loss,
}


def _motion(x: Tensor, reset: Tensor | None) -> Tensor:
    """(B, T - 1, J, 3) differences from frame to frame, zero into a frame where another sequence begins."""
    motion = x[:, 1:] - x[:, :-1]
    return motion if reset is None else torch.where(reset[:, 1:, None, None], 0.0, motion)


def _mean(x: Tensor) -> Tensor:
    """The mean; 0 of an empty tensor, since a single frame has no motion."""
    return x.sum() / max(x.numel(), 1)
