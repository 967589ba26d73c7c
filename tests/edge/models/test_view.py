"""The view: what turning, zooming and hiding change, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from posemoe_edge.edge.models.attention import AttentionConfig
from posemoe_edge.edge.models.config import LifterConfig
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.frame import FrameConfig
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.posemoe import PoseMoEConfig
from posemoe_edge.edge.models.retention import RetentionConfig
from posemoe_edge.edge.models.topology import build
from posemoe_edge.edge.models.view import look_at
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.pose.camera import NOMINAL_FOCAL
from torch import Tensor

EXACT = 1e-9
CONFIGS: dict[str, LifterConfig] = {
    "frame": FrameConfig(dim=16, layers=1, view="person", sigma=True),
    "retention": PoseMoEConfig(mixer=RetentionConfig(), dim=16, heads=2, layers=1, stem=16, view="person", sigma=True),
    "dssm": PoseMoEConfig(mixer=DSSMConfig(state_size=4), dim=16, heads=2, layers=1, view="person"),
    "attention": PoseMoEConfig(mixer=AttentionConfig(), window=5, dim=16, heads=2, layers=1, view="person"),
}
FRAMES = 5


def frames_of(name: str) -> int:
    return CONFIGS[name].window or FRAMES


def lifter(name: str) -> Lifter:
    torch.manual_seed(0)
    model = build(CONFIGS[name]).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.05 * torch.randn_like(p))
    return model


def people(seed: int, rows: int = 2, frames: int = FRAMES) -> Tensor:
    """(rows, frames, 17, 3) people of random shape, somewhere in the picture, some joints missing."""
    generator = torch.Generator().manual_seed(seed)
    middle = torch.rand(rows, 1, 1, 2, generator=generator, dtype=torch.float64) - 0.5
    xy = middle + 0.2 * torch.randn(rows, frames, 17, 2, generator=generator, dtype=torch.float64)
    score = torch.rand(rows, frames, 17, 1, generator=generator, dtype=torch.float64)
    keypoints = torch.cat([xy, score], dim=-1)
    return torch.where(score < 0.1, 0.0, keypoints)


def turn(keypoints: Tensor, rotation: Tensor) -> Tensor:
    """The same people in a camera that was turned about its own centre."""
    rays = torch.cat([keypoints[..., :2] / NOMINAL_FOCAL, torch.ones_like(keypoints[..., :1])], dim=-1) @ rotation.T
    turned = torch.cat([rays[..., :2] / rays[..., 2:] * NOMINAL_FOCAL, keypoints[..., 2:]], dim=-1)
    return torch.where(keypoints[..., 2:] > 0, turned, 0.0)


def rotation(seed: int, degrees: float) -> Tensor:
    x, y, z = torch.randn(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    length = math.sqrt(x * x + y * y + z * z)
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64) / length
    turned: Tensor = torch.linalg.matrix_exp(math.radians(degrees) * cross)
    return turned


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31), degrees=st.floats(0, 40))
def test_turning_the_camera_about_its_centre_turns_the_axes_of_the_answer_and_nothing_else(
    name: str, seed: int, degrees: float
) -> None:
    model, turned = lifter(name), rotation(seed, degrees)
    keypoints = people(seed, frames=frames_of(name))
    with torch.no_grad():
        before, after = model(keypoints), model(turn(keypoints, turned))
    torch.testing.assert_close(after[..., :3], before[..., :3] @ turned.T, atol=EXACT, rtol=0)
    torch.testing.assert_close(after[..., 3:], before[..., 3:], atol=EXACT, rtol=0)
    assert before[..., :3].std() > 1e-3


def test_the_forms_agree_in_a_view_that_follows_the_person() -> None:
    for name in ("retention", "dssm"):
        model, keypoints = lifter(name), people(3)
        with torch.no_grad():
            whole = model(keypoints)
            first, state = model.chunk(keypoints[:, :2])
            second, _ = model.chunk(keypoints[:, 2:], state)
            stepped, state_of_steps = [], None
            for t in range(FRAMES):
                y, state_of_steps = model.step(keypoints[:, t], state_of_steps)
                stepped.append(y)
        torch.testing.assert_close(torch.cat([first, second], dim=1), whole, atol=1e-10, rtol=0)
        torch.testing.assert_close(torch.stack(stepped, dim=1), whole, atol=1e-10, rtol=0)


def test_missing_joints_take_no_part() -> None:
    keypoints = people(5)
    keypoints[:, :, 3] = 0
    elsewhere = keypoints.clone()
    elsewhere[:, :, 3, :2] = 0.7  # where a joint that nobody saw is said to be
    assert torch.equal(look_at(keypoints).keypoints, look_at(elsewhere).keypoints)
    assert torch.equal(look_at(keypoints).view_from_camera, look_at(elsewhere).view_from_camera)


@pytest.mark.parametrize("joints", [(), (0,), (12, 13), (3,), tuple(range(17))])
def test_any_joints_give_a_rotation_and_finite_numbers(joints: tuple[int, ...]) -> None:
    keypoints = torch.zeros(1, 17, 3)
    keypoints[:, list(joints)] = torch.tensor([0.3, -0.2, 0.9])  # all in one place
    view = look_at(keypoints)
    assert torch.isfinite(view.keypoints).all()
    axes = view.view_from_camera[0]
    torch.testing.assert_close(axes @ axes.T, torch.eye(3), atol=1e-6, rtol=0)
    assert torch.linalg.det(axes) > 0.999


@pytest.mark.parametrize("name", CONFIGS)
def test_nobody_seen_is_a_frame_like_any_other(name: str) -> None:
    model, keypoints = lifter(name), people(7, frames=frames_of(name))
    keypoints[0, -1] = 0
    with torch.no_grad():
        assert torch.isfinite(model(keypoints)).all()
    model.train()
    model(keypoints).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_person_stands_upright_in_the_view_whatever_the_roll() -> None:
    person = torch.zeros(1, 17, 3)
    heights = torch.tensor([0, 0, 0.4, 0.8, 0, 0.4, 0.8, -0.2, -0.4, -0.5, -0.6, -0.4, -0.2, 0, -0.4, -0.2, 0])
    person[0, :, 0], person[0, :, 1], person[0, :, 2] = 0.02 * torch.arange(17) - 0.16, heights / 2, 1
    for degrees in (0.0, 30.0, 90.0, 180.0):
        rolled = torch.linalg.matrix_exp(math.radians(degrees) * torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]]))
        seen = look_at(turn(person, rolled)).keypoints[0]
        assert seen[10, 1] < seen[0, 1] < seen[3, 1]  # head above hip above ankle; y points down


def test_a_view_needs_confidence_and_metres() -> None:
    with pytest.raises(UsageError, match="view of the person"):
        FrameConfig(dim=16, layers=1, view="person", channels=2)
