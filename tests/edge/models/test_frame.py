from __future__ import annotations

import pytest
import torch
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.frame import FrameConfig, FrameLifter
from posemoe_edge.edge.models.layers import MLPBlock
from posemoe_edge.edge.models.mixer import MixerConfig
from posemoe_edge.edge.models.retention import RetentionConfig
from posemoe_edge.runtime.errors import UsageError
from torch.nn import functional as F

EXACT = 1e-12  # float64: one formula written twice


def test_a_frame_is_lifted_by_itself() -> None:
    torch.manual_seed(0)
    model = FrameLifter(FrameConfig(dim=16, layers=2)).double().eval()
    x = torch.randn(3, 1, 17, 3, dtype=torch.float64)
    features = model.embed(x.flatten(-2))
    for block in model.blocks:
        assert isinstance(block, MLPBlock)
        inner = F.gelu(F.layer_norm(features, (16,), block.norm.weight, block.norm.bias))
        features = features + block.down(F.gelu(block.up(inner)))
    expected = model.head(features).unflatten(-1, (17, 3))
    assert (model(x) - expected).abs().max() < EXACT
    assert model.state_shape is None and model.latency_frames == 0


def test_joints_see_one_another() -> None:
    model = FrameLifter(FrameConfig(dim=16, layers=1))
    x = torch.zeros(1, 1, 17, 3)
    moved = x.clone()
    moved[0, 0, 16] = 1
    assert (model(x)[0, 0, 3] != model(moved)[0, 0, 3]).any()


def test_two_frames_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match="2 frames at once; expected at most the window of 1"):
        FrameLifter(FrameConfig(dim=16, layers=1))(torch.zeros(1, 2, 17, 3))


@pytest.mark.parametrize("fields", [{"window": 9}, {"window": None}, {"mixer": RetentionConfig()}])
def test_a_window_belongs_to_its_mixer(fields: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        FrameConfig(dim=16, layers=1, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("mixer", [RetentionConfig(), DSSMConfig(state_size=4)])
def test_with_a_mixer_the_three_forms_are_equal(mixer: MixerConfig) -> None:
    torch.manual_seed(0)
    model = FrameLifter(FrameConfig(dim=16, layers=2, mixer=mixer, window=None, heads=2, mix_dim=12)).double().eval()
    x = torch.rand(2, 7, 17, 3, dtype=torch.float64)
    dt = 0.01 + 0.1 * torch.rand(2, 7, dtype=torch.float64)
    with torch.no_grad():
        whole = model(x, dt)
        first, state = model.chunk(x[:, :3], None, dt[:, :3])
        second, _ = model.chunk(x[:, 3:], state, dt[:, 3:])
        stepped, carried = [], None
        for t in range(7):
            y, carried = model.step(x[:, t], carried, dt[:, t])
            stepped.append(y)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, atol=1e-10, rtol=0)
    torch.testing.assert_close(torch.stack(stepped, dim=1), whole, atol=1e-10, rtol=0)
    changed = x.clone()
    changed[:, 0] += 1
    with torch.no_grad():
        assert not torch.equal(model(changed, dt)[:, 6], whole[:, 6])
