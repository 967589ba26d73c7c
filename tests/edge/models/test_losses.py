from __future__ import annotations

import pytest
import torch
from posemoe_edge.edge.models import losses
from posemoe_edge.edge.models.losses import LOSSES, SMOOTHNESS, hummuss_loss, mixste_loss
from torch import Tensor

ROUNDING = 1e-6  # float32


def poses(*frames: tuple[float, float, float]) -> Tensor:
    """(1, T, 17, 3): the root at ``frames``, all other joints at the origin."""
    poses = torch.zeros(1, len(frames), 17, 3)
    poses[0, :, 0] = torch.tensor(frames)
    return poses


# Predicted roots, true roots, and by hand: the 2D loss (19), the depth loss (20), the velocity loss.
TABLE = [
    ([(0, 0, 0)], [(3, 4, 0)], 5 / 17, 0, None),  # a distance, not a sum of axes
    ([(0, 0, 0)], [(0, 0, -2)], 0, 2 / 17, None),  # depth is no part of 2D, and has no sign
    ([(3, 4, 1), (0, 0, 0)], [(0, 0, 0), (0, 0, 3)], 5 / 34, 4 / 34, (9 + 16 + 16) ** 0.5 / 17),  # means over frames and joints
    ([(1, 1, 1), (2, 2, 2)], [(0, 0, 0), (1, 1, 1)], 2**0.5 / 17, 1 / 17, 0),  # a constant error is no error of motion
]


@pytest.mark.parametrize(("predicted", "target", "pose_2d", "depth", "velocity"), TABLE)
def test_losses_are_the_papers(
    predicted: list[tuple[float, float, float]],
    target: list[tuple[float, float, float]],
    pose_2d: float,
    depth: float,
    velocity: float | None,
) -> None:
    got, true = poses(*predicted), poses(*target)
    assert losses.pose_2d_loss(got, true).item() == pytest.approx(pose_2d, rel=ROUNDING)
    assert losses.depth_loss(got, true).item() == pytest.approx(depth, rel=ROUNDING)
    if velocity is not None:
        assert losses.velocity_loss(got, true).item() == pytest.approx(velocity, rel=ROUNDING, abs=ROUNDING)


@pytest.mark.parametrize(("joint", "weight"), [(0, 1), (2, 2.5), (8, 1), (11, 1.5), (12, 4), (16, 4)])
def test_smoothness_weighs_the_square_of_each_joints_motion(joint: int, weight: float) -> None:
    moving = torch.zeros(1, 3, 17, 3)
    moving[0, 1:, joint] = torch.tensor([1.0, 2.0, 2.0])  # one motion of 3, then none
    assert losses.smoothness_loss(moving).item() == pytest.approx(weight * 9 / (2 * 17 * 3), rel=ROUNDING)  # per coordinate


def test_what_stands_is_smooth() -> None:
    assert losses.smoothness_loss(torch.randn(1, 1, 17, 3).expand(1, 5, 17, 3)).item() == 0


@pytest.mark.parametrize("smoothness", [0, 0.5, 2])
def test_the_loss_is_the_sum_of_its_parts(smoothness: float) -> None:
    got, true = poses((1, 2, 3), (4, 5, 6)), poses((0, 0, 0), (1, 1, 1))
    parts = losses.pose_2d_loss(got, true) + losses.depth_loss(got, true)
    expected = parts + smoothness * losses.smoothness_loss(got)
    assert losses.posemoe_loss(got, true, smoothness=smoothness).item() == pytest.approx(expected.item(), rel=ROUNDING)


def test_streams_of_a_batch_count_alike() -> None:
    torch.manual_seed(0)
    got, true = torch.randn(2, 2, 4, 17, 3)
    rows = [losses.posemoe_loss(got[row : row + 1], true[row : row + 1]) for row in range(2)]
    assert losses.posemoe_loss(got, true).item() == pytest.approx(sum(rows).item() / 2, rel=ROUNDING)  # type: ignore[union-attr]


def test_a_perfect_pose_has_a_finite_gradient() -> None:
    got = poses((1, 2, 3), (1, 2, 3)).requires_grad_()
    (losses.posemoe_loss(got, got.detach()) + losses.velocity_loss(got, got.detach())).backward()
    assert got.grad is not None and got.grad.isfinite().all()


def test_mixstes_loss_is_its_three_terms() -> None:
    torch.manual_seed(0)
    predicted, target = torch.randn(2, 2, 5, 17, 3, dtype=torch.float64)
    weight = torch.tensor(SMOOTHNESS, dtype=torch.float64)
    distance = ((predicted - target).square().sum(-1).sqrt() * weight).mean()
    motion, wrong = predicted.diff(dim=1), (predicted - target).diff(dim=1)
    smooth = (motion.square() * weight[:, None]).mean()
    speed = wrong.square().sum(-1).sqrt().mean()
    assert mixste_loss(predicted, target) == pytest.approx(float(distance + 0.5 * smooth + 2 * speed), rel=1e-12)


def test_hummuss_loss_is_squared_errors_of_places_and_motion() -> None:
    torch.manual_seed(0)
    predicted, target = torch.randn(2, 2, 5, 17, 3, dtype=torch.float64)
    wrong = predicted - target
    expected = wrong.square().sum(-1).mean() + 20 * wrong.diff(dim=1).square().sum(-1).mean()
    assert hummuss_loss(predicted, target) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("loss", list(LOSSES))
def test_every_loss_is_zero_for_a_still_exact_pose_and_takes_one_frame(loss: str) -> None:
    still = torch.randn(2, 1, 17, 3).expand(-1, 4, -1, -1)
    assert LOSSES[loss](still, still, torch.zeros(2, 4, dtype=torch.bool)) == 0
    pose = torch.randn(2, 1, 17, 3)
    assert torch.isfinite(LOSSES[loss](pose, pose + 1, torch.ones(2, 1, dtype=torch.bool)))


@pytest.mark.parametrize("loss", ["mixste", "hummuss"])
def test_no_loss_sees_motion_into_another_take(loss: str) -> None:
    torch.manual_seed(0)
    target = torch.randn(1, 4, 17, 3)
    predicted, reset = target.clone(), torch.tensor([[True, False, True, False]])
    predicted[:, 2:] += 5.0  # two sequences, each wrong by a constant
    apart = LOSSES[loss](predicted, target, reset)
    together = LOSSES[loss](predicted, target, torch.zeros_like(reset))
    assert apart < together
