"""Training: the loss falls, the weights load and say how they were made, validation stays unseen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.data import takes as takes_module
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.takes import evaluation_takes
from posemoe_edge.edge.models.posemoe import PoseMoEConfig
from posemoe_edge.edge.presets import Preset
from posemoe_edge.edge.training import train as train_module
from posemoe_edge.edge.training.train import Progress, Recipe, evaluate, train

TINY = Preset("tiny-retention", PoseMoEConfig(mixer="retention", dim=16, heads=2, layers=1), "for tests")
SHORT = Recipe(minutes=1, compiled=False, rows=2, frames=9)


@pytest.fixture
def clips(walker_clip: Callable[..., Clip]) -> list[Clip]:
    return [walker_clip(f"train{i}", 200, seed=i) for i in range(3)]


@pytest.fixture
def validation(walker_clip: Callable[..., Clip]) -> list[Clip]:
    return [walker_clip("val", 60, seed=9, split="val")]


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """tick(0.5): each look at the clock finds it half a second later; training takes no real time."""

    def set_clock(step_s: float) -> None:
        now = [0.0]

        def monotonic() -> float:
            now[0] += step_s
            return now[0]

        monkeypatch.setattr(train_module, "time", SimpleNamespace(monotonic=monotonic))

    return set_clock


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)[0].state_dict()


def test_the_loss_falls_and_the_weights_say_how_they_were_made(
    tmp_path: Path, clips: list[Clip], validation: list[Clip], tick: Callable[[float], None]
) -> None:
    seen: list[Progress] = []
    tick(0.75)  # 40 updates, however busy the machine is
    out = tmp_path / "new" / "tiny.safetensors"
    record = train(TINY, clips, out=out, recipe=SHORT, validation=validation, report=seen.append)
    assert seen[-1].loss < 0.9 * seen[0].loss and all(np.isfinite(p.loss) for p in seen)
    assert [p.updates for p in seen] == list(range(1, len(seen) + 1)) and seen[-1].done < 1
    done = [p.done for p in seen[1:]]  # the budget begins behind the first update
    assert sorted(done) == done
    model, beside = load_checkpoint(out)
    assert model.config == TINY.config and beside["preset"] == "tiny-retention" and not model.training
    assert beside["training"] == json.loads(json.dumps(record))
    assert record["updates"] == len(seen) and record["frames"] == len(seen) * 2 * 9
    assert (record["clips"], record["clip_frames"]) == (3, 600) and record["recipe"]["rows"] == 2
    assert record["val_mpjpe_mm"] == pytest.approx(evaluate(model, evaluation_takes(validation, noisy=True), block=8))
    assert record["torch"] == torch.__version__


def test_validation_is_watched_and_never_trained_on(
    tmp_path: Path, clips: list[Clip], validation: list[Clip], monkeypatch: pytest.MonkeyPatch, tick: Callable[[float], None]
) -> None:
    make_take, trained, watched = takes_module.make_take, set(), set()

    def spy(clip: Clip, rng: np.random.Generator, **options: Any) -> Any:
        (trained if options["augment"] else watched).add(clip.id)
        return make_take(clip, rng, **options)

    monkeypatch.setattr(takes_module, "make_take", spy)
    recipe = Recipe(minutes=1, compiled=False, rows=6, frames=20, seed=1)
    tick(8)
    with_it = train(TINY, clips, out=tmp_path / "a.safetensors", recipe=recipe, validation=validation)
    assert trained and trained <= {"train0", "train1", "train2"} and watched == {"val"}
    tick(8)
    without = train(TINY, clips, out=tmp_path / "b.safetensors", recipe=recipe)
    assert with_it["updates"] == without["updates"] > 2
    assert with_it["val_mpjpe_mm"] > 0 and without["val_mpjpe_mm"] is None
    a, b = weights_of(tmp_path / "a.safetensors"), weights_of(tmp_path / "b.safetensors")
    assert all(torch.equal(a[name], b[name]) for name in a)  # what was watched chose nothing


def test_the_same_seed_trains_the_same_weights(tmp_path: Path, clips: list[Clip], tick: Callable[[float], None]) -> None:
    made = []
    for i, seed in enumerate((3, 3, 4)):
        tick(6)
        recipe = Recipe(minutes=1, compiled=False, rows=2, frames=9, seed=seed)
        train(TINY, clips, out=tmp_path / f"{i}.safetensors", recipe=recipe)
        made.append(weights_of(tmp_path / f"{i}.safetensors"))
    first, again, other = made
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_what_was_learnt_is_saved_on_the_way(
    tmp_path: Path, clips: list[Clip], validation: list[Clip], tick: Callable[[float], None]
) -> None:
    out = tmp_path / "tiny.safetensors"
    on_the_way: list[dict[str, Any]] = []

    def report(progress: Progress) -> None:
        if progress.val_mpjpe_mm is not None:
            on_the_way.append(load_checkpoint(out)[1]["training"])
            assert on_the_way[-1]["val_mpjpe_mm"] == progress.val_mpjpe_mm

    tick(3)
    recipe = Recipe(minutes=1, compiled=False, rows=2, frames=9, save_every_minutes=0.3)
    record = train(TINY, clips, out=out, recipe=recipe, validation=validation, report=report)
    assert on_the_way and 0 < on_the_way[0]["done"] < 1 and on_the_way[0]["updates"] < record["updates"]
    assert record["done"] == 1.0


def test_training_goes_on_from_weights_that_are_there(tmp_path: Path, clips: list[Clip], tick: Callable[[float], None]) -> None:
    tick(5)
    recipe = Recipe(minutes=1, compiled=False, rows=2, frames=9, rate=1e-6, muon=1e-6)
    model = TINY.build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(TINY, clips, out=tmp_path / "a.safetensors", recipe=recipe, resume=model)
    after = weights_of(tmp_path / "a.safetensors")
    assert all(torch.allclose(after[name], before[name], atol=1e-3) for name in before)
    assert any(not torch.equal(after[name], before[name]) for name in before)


def test_every_weight_learns(tmp_path: Path, clips: list[Clip], tick: Callable[[float], None]) -> None:
    tick(5)
    torch.manual_seed(0)
    model = TINY.build()
    before = {name: value.clone() for name, value in model.named_parameters()}
    train(TINY, clips, out=tmp_path / "a.safetensors", recipe=Recipe(minutes=1, compiled=False, rows=2, frames=9), resume=model)
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    # The first layer norm of a constant, and a bias in front of a softmax, have no gradient; nothing else may stand still.
    assert still == []


def test_evaluation_counts_each_frame_once_and_leaves_the_model_as_it_was(validation: list[Clip]) -> None:
    torch.manual_seed(0)
    model = TINY.build().train()
    takes = evaluation_takes(validation, noisy=True)
    in_blocks, at_once = evaluate(model, takes, block=7), evaluate(model, takes, block=1000)
    assert in_blocks == pytest.approx(at_once, rel=1e-4) and model.training
