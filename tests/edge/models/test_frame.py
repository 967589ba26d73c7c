from __future__ import annotations

import pytest
import torch
from posemoe_edge.edge.models.attention import AttentionConfig
from posemoe_edge.edge.models.frame import FrameBlock, FrameConfig, FrameLifter
from posemoe_edge.runtime.errors import UsageError
from torch.nn import functional as F

EXACT = 1e-12  # float64: one formula written twice


def test_a_frame_is_lifted_by_itself() -> None:
    torch.manual_seed(0)
    model = FrameLifter(FrameConfig(dim=16, layers=2)).double().eval()
    x = torch.randn(3, 1, 17, 3, dtype=torch.float64)
    features = model.embed(x.flatten(-2))
    for block in model.blocks:
        assert isinstance(block, FrameBlock)
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


@pytest.mark.parametrize("fields", [{"window": 9}, {"mixer": AttentionConfig()}, {"window": None}])
def test_it_has_no_time(fields: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        FrameConfig(dim=16, layers=1, **fields)  # type: ignore[arg-type]
