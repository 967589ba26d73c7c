from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from posemoe_edge.edge.models.alternating import AlternatingConfig
from posemoe_edge.edge.models.attention import AttentionConfig
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.frame import FrameConfig
from posemoe_edge.edge.models.posemoe import PoseMoE, PoseMoEConfig
from posemoe_edge.edge.models.retention import RetentionConfig
from posemoe_edge.edge.models.topology import build
from posemoe_edge.edge.training.inflate import inflate, start_from, trunk_parameters
from posemoe_edge.edge.training.optimizers import make_optimizers
from posemoe_edge.edge.training.recipe import Recipe
from posemoe_edge.export.reference import reference_files
from posemoe_edge.runtime.artefact.atomic import write_together
from posemoe_edge.runtime.errors import UsageError

TRUNK = PoseMoEConfig(mixer=None, window=1, dim=16, heads=2, layers=2)
FULL: dict[str, dict[str, Any]] = {
    "retention": {"mixer": RetentionConfig(), "window": None},
    "dssm": {"mixer": DSSMConfig(state_size=4), "window": None},
    "attention": {"mixer": AttentionConfig(), "window": 9},
    "attention as tcpformer reads it": {"mixer": AttentionConfig(), "window": 9, "ceka": "tcpformer"},
    "no feed-forwards": {"mixer": RetentionConfig(), "window": None, "feed": "none", "ceka_feed": "none"},
    "a set of tokens for each layer": {"mixer": AttentionConfig(), "window": 9, "tokens_of": "layer"},
}


@pytest.mark.parametrize("name", FULL)
def test_an_inflated_lifter_gives_the_poses_of_its_trunk(name: str) -> None:
    config = replace(TRUNK, **FULL[name])
    shared = {key: FULL[name][key] for key in ("feed", "ceka_feed", "tokens_of", "ceka") if key in FULL[name]}
    trunk = build(replace(TRUNK, **shared))
    with torch.no_grad():
        for p in trunk.parameters():
            p.add_(0.1 * torch.randn_like(p))
    model = inflate(trunk, config)
    x = torch.randn(2, 7, 17, 3)
    with torch.no_grad():
        frame_by_frame = torch.cat([trunk(x[:, t : t + 1]) for t in range(7)], dim=1)
        torch.testing.assert_close(model(x), frame_by_frame, atol=1e-5, rtol=0)
        assert frame_by_frame.std() > 0.01


@pytest.mark.parametrize("name", FULL)
def test_an_inflated_lifter_learns_temporal_blocks(name: str) -> None:
    config = replace(TRUNK, **FULL[name])
    shared = {key: FULL[name][key] for key in ("feed", "ceka_feed", "tokens_of", "ceka") if key in FULL[name]}
    model = inflate(build(replace(TRUNK, **shared)), config)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    x = torch.randn(2, 7, 17, 3)
    for _ in range(3):  # zero-initialised outputs learn first, then the layers before them
        optimizer.zero_grad()
        model(x).sub(torch.randn(2, 7, 17, 3)).square().mean().backward()
        optimizer.step()
    still = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not [n for n in still if not n.endswith("mu")], still
    changed = x.clone()
    changed[:, 0] += 1
    with torch.no_grad():
        assert not torch.equal(model(x)[:, 6], model(changed)[:, 6])  # the pose now depends on the past


def test_a_trunk_of_another_size_or_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="the trunk"):
        inflate(build(TRUNK), PoseMoEConfig(mixer=RetentionConfig(), dim=32, heads=2, layers=2))
    with pytest.raises(UsageError, match="only one of them"):
        inflate(build(TRUNK), PoseMoEConfig(mixer=RetentionConfig(), dim=16, heads=2, layers=3))
    with pytest.raises(UsageError, match="cannot be the stem"):
        inflate(build(FrameConfig(dim=16, layers=1)), replace(TRUNK, mixer=RetentionConfig(), window=None))
    with pytest.raises(UsageError, match="only one of them"):
        inflate(build(TRUNK), AlternatingConfig(mixer=RetentionConfig(), dim=16, heads=2, layers=2))


def test_an_mlp_over_single_frames_becomes_the_stem_of_a_posemoe() -> None:
    torch.manual_seed(0)
    mlp = build(FrameConfig(dim=24, layers=2, view="person", sigma=True)).eval()
    model = inflate(mlp, replace(TRUNK, stem=24, view="person", sigma=True)).eval()
    x = torch.rand(3, 1, 17, 3)
    with torch.no_grad():
        added_m = (model(x) - mlp(x))[..., :3].norm(dim=-1).mean()
        assert 0 < added_m < 0.3  # the experts' heads are small, and the guess is the MLP's
        assert isinstance(model, PoseMoE)
        for head in (model.head_2d, model.head_depth):
            for p in head.parameters():
                p.zero_()
        torch.testing.assert_close(model(x)[..., :3], mlp(x)[..., :3])


def test_an_mlp_that_lacks_a_part_of_the_stem_is_refused() -> None:
    over_time: dict[str, Any] = {"mixer": RetentionConfig(), "window": None, "view": "person"}
    config = replace(TRUNK, stem=24, sigma=True, **over_time)
    with pytest.raises(UsageError, match=r"stem\.sigma.* would stay random.*trained with sigma=True"):
        inflate(build(FrameConfig(dim=24, layers=2, view="person")), config)
    with pytest.raises(UsageError, match="1 blocks cannot be the stem"):
        inflate(build(FrameConfig(dim=24, layers=1, view="person", sigma=True)), config)


def test_a_trunk_learns_at_a_rate_of_its_own() -> None:
    config = replace(TRUNK, mixer=RetentionConfig(), window=None, sigma=True)
    model = inflate(build(replace(TRUNK, sigma=True)), config)
    old = trunk_parameters(model)
    assert any("time_self.out" in name for name, _ in model.named_parameters() if name not in old)
    assert not any(name.startswith("sigma") for name in old) and "embed.weight" in old
    optimizers = make_optimizers(model, Recipe(rate=1.0, muon=2.0, trunk_rate=0.1))
    rates = {id(p): group["lr"] for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for name, p in model.named_parameters():
        assert rates[id(p)] in ((0.1, 0.2) if name in old else (1.0, 2.0)), name
    make_optimizers(model, Recipe(trunk_rate=0.0))
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == old


def test_the_trunk_of_a_posemoe_with_a_stem_is_the_stem_but_for_what_it_tells_the_experts() -> None:
    model = build(replace(TRUNK, mixer=RetentionConfig(), window=None, stem=24))
    names = trunk_parameters(model)
    of_stem = {name for name, _ in model.named_parameters() if name.startswith("stem.")}
    assert names == {name for name in of_stem if not name.startswith("stem.features.")} != of_stem


def test_an_mlp_over_time_becomes_the_stem_of_a_posemoe_over_time() -> None:
    torch.manual_seed(0)
    over_time: dict[str, Any] = {"mixer": RetentionConfig(), "window": None, "heads": 2, "view": "person", "sigma": True}
    mlp = build(FrameConfig(dim=24, layers=2, mix_dim=16, **over_time)).eval()
    model = inflate(mlp, replace(TRUNK, stem=24, **over_time)).eval()
    assert isinstance(model, PoseMoE)
    x = torch.rand(2, 7, 17, 3)
    with torch.no_grad():
        for head in (model.head_2d, model.head_depth):
            for p in head.parameters():
                p.zero_()
        torch.testing.assert_close(model(x)[..., :3], mlp(x)[..., :3])


def test_a_stream_of_an_mlp_starts_as_the_mlp_and_learns_beside_it() -> None:
    torch.manual_seed(0)
    mlp = build(FrameConfig(dim=24, layers=2, view="person", sigma=True)).eval()
    model = inflate(
        mlp,
        FrameConfig(dim=24, layers=2, view="person", sigma=True, mixer=RetentionConfig(), window=None, heads=2, mix_dim=12),
    ).eval()
    x = torch.rand(2, 5, 17, 3)
    with torch.no_grad():
        torch.testing.assert_close(model(x), mlp(x.flatten(0, 1)[:, None]).unflatten(0, (2, 5))[:, :, 0])
    make_optimizers(model, Recipe(trunk_rate=0.0))
    learns = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learns == {name for name, _ in model.named_parameters() if name.startswith(("refine.", "sigma_factor."))} != set()
    model(x).square().sum().backward()
    assert all(p.grad is None for name, p in model.named_parameters() if name not in learns)


def test_a_start_of_the_same_configuration_is_not_changed(tmp_path: Path) -> None:
    config = replace(TRUNK, mixer=RetentionConfig(), window=None)
    model = build(config)
    write_together(reference_files(tmp_path / "a.safetensors", model, preset="p", training={"frames": 7, "minutes": 1.5}))
    loaded, origin = start_from(tmp_path / "a.safetensors", config)
    assert origin == {"preset": "p", "frames": 7, "minutes": 1.5}
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True))
