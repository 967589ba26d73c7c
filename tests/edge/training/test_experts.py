from __future__ import annotations

import torch
from posemoe_edge.edge.models.frame import FrameConfig, FrameLifter
from posemoe_edge.edge.models.posemoe import PoseMoE, PoseMoEConfig
from posemoe_edge.edge.models.retention import RetentionConfig
from posemoe_edge.edge.training.experts import expert_gradients, expert_shares

CONFIG = PoseMoEConfig(mixer=RetentionConfig(), dim=16, heads=2, layers=2, gate="bounded", view="person")


def test_the_shares_of_a_new_router_are_equal() -> None:
    torch.manual_seed(0)
    keypoints = torch.rand(2, 3, 17, 3)
    assert expert_shares(PoseMoE(CONFIG), keypoints) == [{"2d_in_2d": 0.5, "2d_in_depth": 0.5}] * 2


def test_the_gradients_of_both_experts_of_each_layer_are_reported() -> None:
    torch.manual_seed(0)
    model = PoseMoE(CONFIG)
    assert expert_gradients(model) == [{"2d": 0.0, "depth": 0.0}] * 2
    model(torch.rand(2, 3, 17, 3)).square().mean().backward()
    norms = [norm for layer in expert_gradients(model) for norm in layer.values()]
    assert len(norms) == 4 and min(norms) > 0


def test_a_lifter_without_experts_has_none_to_report() -> None:
    model = FrameLifter(FrameConfig(dim=16, layers=1))
    assert expert_shares(model, torch.rand(2, 1, 17, 3)) == [] and expert_gradients(model) == []
