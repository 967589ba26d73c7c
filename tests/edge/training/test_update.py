"""An update of a lifter by a batch, operation by operation and replayed as a CUDA graph."""

from __future__ import annotations

import pytest
import torch
from posemoe_edge.edge.lifting import SkeletonAdapter
from posemoe_edge.edge.models.attention import AttentionConfig
from posemoe_edge.edge.models.config import LifterConfig
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.frame import FrameConfig
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.posemoe import PoseMoEConfig
from posemoe_edge.edge.models.retention import RetentionConfig
from posemoe_edge.edge.models.topology import build
from posemoe_edge.edge.scenes.scenes import SceneBatch
from posemoe_edge.edge.training.optimizers import make_optimizers, set_rate
from posemoe_edge.edge.training.recipe import Recipe
from posemoe_edge.edge.training.update import WARM_UP, GraphedUpdate, Update, can_be_graphed

ROWS, FRAMES = 3, 6
RECIPE = Recipe(muon=0.0, rate=1e-3, half=False)
CONFIGS: dict[str, LifterConfig] = {
    "frame": FrameConfig(dim=24, layers=1, view="person", sigma=True),
    "frame over time": FrameConfig(
        dim=24, layers=1, view="person", sigma=True, mixer=RetentionConfig(), window=None, heads=2, mix_dim=16
    ),
    "posemoe": PoseMoEConfig(mixer=RetentionConfig(), dim=16, heads=2, layers=1, stem=16, view="person", sigma=True),
    "attention": PoseMoEConfig(mixer=AttentionConfig(), window=FRAMES, dim=16, heads=2, layers=1, view="person", sigma=True),
}


def updated(model: Lifter, recipe: Recipe = RECIPE, *, capturable: bool = False) -> Update:
    """An update with optimizers of its own."""
    return Update(SkeletonAdapter(model), model, make_optimizers(model, recipe, capturable=capturable), recipe)


def batches(count: int, model: Lifter) -> list[SceneBatch]:
    """Random people; of single frames where the model sees no more."""
    device, frames = next(model.parameters()).device, model.config.window or FRAMES
    generator = torch.Generator().manual_seed(1)

    def uniform() -> torch.Tensor:
        return torch.rand(ROWS, frames, 17, 3, generator=generator).to(device)

    dt_s, reset = torch.full((ROWS, frames), 0.02, device=device), torch.zeros(ROWS, frames, dtype=torch.bool, device=device)
    return [SceneBatch(uniform(), uniform(), dt_s, reset) for _ in range(count)]


@pytest.mark.parametrize("kind", CONFIGS)
def test_updates_by_one_batch_lower_its_loss(kind: str) -> None:
    torch.manual_seed(0)
    model = build(CONFIGS[kind])
    update, batch = updated(model), batches(1, model)[0]
    losses = []
    for _ in range(20):
        state = None if model.config.windowed else model.initial_state(ROWS)
        loss, after = update(state, batch, None)
        losses.append(float(loss))
        assert not loss.requires_grad and (after is None or not after.requires_grad)
        assert (after is None) == model.config.windowed
    assert losses[-1] < 0.95 * losses[0]


def test_single_frames_change_the_weights_but_not_the_reported_loss() -> None:
    losses, weights = [], []
    for with_singles in (False, True):
        torch.manual_seed(0)
        model = build(CONFIGS["frame over time"])
        batch = batches(1, model)[0]
        single = SceneBatch(*(tensor[:, :1] for tensor in (batch.keypoints, batch.pose_m, batch.dt_s, batch.reset)))
        loss, _ = updated(model)(model.initial_state(ROWS), batch, single if with_singles else None)
        losses.append(loss)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*losses) and not torch.equal(*weights)


def test_nothing_is_captured_without_a_gpu() -> None:
    assert not can_be_graphed(build(CONFIGS["frame"]), RECIPE)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
class TestOnAGpu:
    @pytest.mark.parametrize("kind", CONFIGS)
    def test_replayed_updates_are_the_eager_ones(self, kind: str) -> None:
        torch.manual_seed(0)
        eager, graphed = build(CONFIGS[kind]).cuda(), build(CONFIGS[kind]).cuda()
        graphed.load_state_dict(eager.state_dict())
        assert can_be_graphed(graphed, RECIPE)
        updates: list[Update | GraphedUpdate] = [updated(eager), GraphedUpdate(updated(graphed, capturable=True))]
        states: list[torch.Tensor | None] = [
            None if model.config.windowed else model.initial_state(ROWS) for model in (eager, graphed)
        ]
        for number, batch in enumerate(batches(3 * WARM_UP, eager)):
            losses = []
            for which, update in enumerate(updates):
                optimizers = update.optimizers if isinstance(update, Update) else update.update.optimizers
                set_rate(optimizers, 1 / (1 + number))  # a rate that a capture must not freeze
                loss, states[which] = update(states[which], batch, None)
                losses.append(float(loss))
            assert losses[1] == pytest.approx(losses[0], rel=1e-4)
        for a, b in zip(eager.parameters(), graphed.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)

    def test_a_mixer_that_reads_values_is_not_captured(self) -> None:
        config = FrameConfig(dim=24, layers=1, view="person", mixer=DSSMConfig(), window=None, heads=2, mix_dim=16)
        assert not can_be_graphed(build(config).cuda(), RECIPE)

    def test_batches_of_two_shapes_are_captured_apart(self) -> None:
        model = build(CONFIGS["frame over time"]).cuda()
        update = GraphedUpdate(updated(model, capturable=True))
        batch = batches(1, model)[0]
        shorter = batch.slice_frames(slice(0, 2))
        for _ in range(2 * WARM_UP):
            long, _ = update(model.initial_state(ROWS), batch, None)
            long = long.clone()
            short, _ = update(model.initial_state(ROWS), shorter, None)
            assert torch.isfinite(long) and torch.isfinite(short) and not torch.equal(long, short)
