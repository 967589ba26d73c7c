"""Training: the loss falls, an interruption loses at most one interval, validation clips are not trained on."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.data import sequences
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.data.sequences import evaluation_sequences
from posemoe_edge.edge.lifting import lift_sequence, mean_error_mm
from posemoe_edge.edge.models.alternating import AlternatingConfig
from posemoe_edge.edge.models.attention import AttentionConfig
from posemoe_edge.edge.models.config import LifterConfig
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.dual_stream import DualStreamConfig
from posemoe_edge.edge.models.frame import FrameConfig
from posemoe_edge.edge.models.posemoe import PoseMoEConfig
from posemoe_edge.edge.models.pruning import Pruning
from posemoe_edge.edge.models.retention import RetentionConfig
from posemoe_edge.edge.presets import Preset
from posemoe_edge.edge.scenes.motion_bank import MotionBank
from posemoe_edge.edge.scenes.scenes import Scenes
from posemoe_edge.edge.training import train as train_module
from posemoe_edge.edge.training import training_batches
from posemoe_edge.edge.training.optimizers import optimizer_states
from posemoe_edge.edge.training.recipe import Recipe, TrainingProgress, schedule
from posemoe_edge.edge.training.train import train
from posemoe_edge.edge.training.training_file import TrainingHistory, load_training, training_path
from posemoe_edge.runtime.errors import ArtefactError, UsageError
from safetensors import safe_open
from safetensors.torch import load_file, save_file

TINY = Preset("tiny-retention", PoseMoEConfig(mixer=RetentionConfig(), dim=16, heads=2, layers=1), "for tests")
SHORT = Recipe(updates=8, rows=2, frames=9)

KINDS: dict[str, LifterConfig] = {
    "attention": PoseMoEConfig(mixer=AttentionConfig(), dim=16, heads=2, layers=1, window=7),
    "gated both": DualStreamConfig(
        mixer=DSSMConfig(state_size=4), block="gated", dim=16, heads=2, layers=1, window=7, lookahead=True, representation=16
    ),
    "seq2frame": AlternatingConfig(
        mixer=AttentionConfig(), dim=16, heads=2, layers=2, window=7, channels=2,
        pruning=Pruning(keep=(5, 3), layers=(0, 1), recover="none", output="centre"),
    ),
    "3dhp, two channels": AlternatingConfig(
        mixer=RetentionConfig(zoh_gain=False, distances="3dhp17"), dim=16, heads=2, layers=1, channels=2, lookahead=True,
        bias=False, skeleton="3dhp17",
    ),
}  # fmt: skip


@pytest.fixture
def clips(make_walker_clip: Callable[..., Clip]) -> list[Clip]:
    return [make_walker_clip(f"train{i}", 200, seed=i) for i in range(3)]


@pytest.fixture
def validation(make_walker_clip: Callable[..., Clip]) -> list[Clip]:
    return [make_walker_clip("val", 60, seed=9, split="val")]


@pytest.fixture
def fake_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """fake_clock(0.5): the clock advances by half a second with each reading, so that training takes no real time."""

    def set_clock(step_s: float) -> None:
        now = [0.0]

        def monotonic() -> float:
            now[0] += step_s
            return now[0]

        monkeypatch.setattr(train_module, "time", SimpleNamespace(monotonic=monotonic))

    return set_clock


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)[0].state_dict()


def test_the_loss_falls_and_the_record_tells_how_the_weights_were_made(
    tmp_path: Path, clips: list[Clip], validation: list[Clip]
) -> None:
    reports: list[TrainingProgress] = []
    out = tmp_path / "new" / "tiny.safetensors"
    recipe = dataclasses.replace(SHORT, updates=40)
    record = train(TINY, clips, out=out, recipe=recipe, validation=validation, on_progress=reports.append)
    assert reports[-1].loss < 0.9 * reports[0].loss and all(np.isfinite(p.loss) for p in reports)
    assert [p.updates for p in reports] == list(range(1, 41)) and [p.done for p in reports] == [n / 40 for n in range(1, 41)]
    model, beside = load_checkpoint(out)
    assert model.config == TINY.config and beside["preset"] == "tiny-retention" and not model.training
    assert beside["training"] == json.loads(json.dumps(record))
    assert (record["updates"], record["frames"], record["done"], record["runs"]) == (40, 40 * 2 * 9, 1.0, 1)
    assert (record["clips"], record["clip_frames"]) == (3, 600) and record["recipe"]["rows"] == 2
    assert record["val_mpjpe_mm"] == pytest.approx(mean_error_mm(model, evaluation_sequences(validation, noisy=True), block=9))
    assert record["curve"] == [[40, pytest.approx(reports[-1].loss), record["val_mpjpe_mm"]]]
    assert record["torch"] == torch.__version__


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_of_lifter_learns(kind: str, tmp_path: Path, clips: list[Clip], validation: list[Clip]) -> None:
    reports: list[TrainingProgress] = []
    recipe = dataclasses.replace(SHORT, updates=40, rows=4)
    preset = Preset("tiny", KINDS[kind], "for tests")
    record = train(
        preset, clips, out=tmp_path / "a.safetensors", recipe=recipe, validation=validation, on_progress=reports.append
    )
    assert reports[-1].loss < 0.95 * reports[0].loss and 0 < record["val_mpjpe_mm"] < 5000
    assert record["frames"] == 40 * 4 * (preset.config.window or 9)


@pytest.mark.parametrize("loss", ["mpjpe", "posemoe", "mixste", "hummuss"])
def test_each_papers_loss_falls(loss: Any, tmp_path: Path, clips: list[Clip]) -> None:
    reports: list[TrainingProgress] = []
    recipe = dataclasses.replace(SHORT, updates=30, loss=loss)
    train(TINY, clips, out=tmp_path / "a.safetensors", recipe=recipe, on_progress=reports.append)
    assert reports[-1].loss < reports[0].loss


def test_validation_is_measured_and_never_trained_on(
    tmp_path: Path, clips: list[Clip], validation: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: set[str] = set()
    watched: set[str] = set()
    make_sequence = sequences.make_sequence

    def record_ids(clip: Clip, rng: np.random.Generator, **options: Any) -> Any:
        watched.add(clip.id)
        return make_sequence(clip, rng, **options)

    def bank(clips: list[Clip], **options: Any) -> MotionBank:
        trained.update(clip.id for clip in clips)
        return MotionBank(clips, **options)

    monkeypatch.setattr(sequences, "make_sequence", record_ids)
    monkeypatch.setattr(training_batches, "MotionBank", bank)
    recipe = dataclasses.replace(SHORT, updates=6, rows=6, frames=20)
    with_it = train(TINY, clips, out=tmp_path / "a.safetensors", recipe=recipe, validation=validation)
    assert trained and trained <= {"train0", "train1", "train2"} and watched == {"val"}
    without = train(TINY, clips, out=tmp_path / "b.safetensors", recipe=recipe)
    assert with_it["val_mpjpe_mm"] > 0 and without["val_mpjpe_mm"] is None
    a, b = weights_of(tmp_path / "a.safetensors"), weights_of(tmp_path / "b.safetensors")
    assert all(torch.equal(a[name], b[name]) for name in a)  # validation influences nothing


def test_the_same_seed_trains_the_same_weights(tmp_path: Path, clips: list[Clip]) -> None:
    weights = []
    for i, seed in enumerate((3, 3, 4)):
        train(TINY, clips, out=tmp_path / f"{i}.safetensors", recipe=dataclasses.replace(SHORT, seed=seed))
        weights.append(weights_of(tmp_path / f"{i}.safetensors"))
    first, again, other = weights
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_training_may_last_for_a_time_instead_of_updates(
    tmp_path: Path, clips: list[Clip], fake_clock: Callable[[float], None]
) -> None:
    fake_clock(0.5)
    recipe = dataclasses.replace(SHORT, updates=1, minutes=0.1)
    reports: list[TrainingProgress] = []
    record = train(TINY, clips, out=tmp_path / "a.safetensors", recipe=recipe, on_progress=reports.append)
    assert record["done"] >= 1 and record["updates"] > 5 and record["minutes"] == pytest.approx(0.1, abs=0.02)
    longer = dataclasses.replace(recipe, minutes=0.2)
    record = train(TINY, clips, out=tmp_path / "a.safetensors", recipe=longer)
    assert record["runs"] == 2 and record["minutes"] == pytest.approx(0.2, abs=0.02)


def test_the_time_of_measuring_is_no_time_of_training(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]

    def monotonic() -> float:
        now_s[0] += 0.5
        return now_s[0]

    def measure_for_a_minute(*arguments: Any, **options: Any) -> float:
        now_s[0] += 60
        return 100.0

    monkeypatch.setattr(train_module, "time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(train_module, "mean_error_mm", measure_for_a_minute)
    recipe = dataclasses.replace(SHORT, updates=1, minutes=0.2)
    record = train(TINY, clips, out=tmp_path / "a.safetensors", recipe=recipe, validation=clips[:1], save_every_minutes=0.05)
    assert len(record["curve"]) > 2 and record["minutes"] == pytest.approx(0.2, abs=0.05)
    unmeasured = train(TINY, clips, out=tmp_path / "b.safetensors", recipe=recipe)
    assert record["updates"] == pytest.approx(unmeasured["updates"], abs=8)


def test_a_training_goes_on_from_weights_and_history_alone(tmp_path: Path, clips: list[Clip]) -> None:
    train(TINY, clips, out=tmp_path / "a.safetensors", recipe=SHORT)
    model, _ = load_checkpoint(tmp_path / "a.safetensors")
    history = TrainingHistory(updates=5, seconds=60.0, runs=1, curve=[[5, 0.1, None]])
    record = train(TINY, clips, out=tmp_path / "b.safetensors", recipe=SHORT, start=model, history=history)
    assert (record["updates"], record["runs"], record["curve"][0]) == (8, 2, [5, 0.1, None]) and record["minutes"] >= 1


def test_single_frames_are_learnt_beside_streams(tmp_path: Path, clips: list[Clip]) -> None:
    """They keep the trunk: with them the error on single frames is smaller, after as many updates."""
    errors = []
    mlp = FrameConfig(dim=32, layers=2, mixer=RetentionConfig(), window=None, heads=2, mix_dim=16)
    for singles in (0, 256):
        recipe = dataclasses.replace(SHORT, updates=80, windows=0.0, singles=singles, rate=5e-3)
        train(Preset("tiny-mlp", mlp, "for tests"), clips, out=tmp_path / f"{singles}.safetensors", recipe=recipe)
        model, _ = load_checkpoint(tmp_path / f"{singles}.safetensors")
        scenes = next(Scenes(MotionBank(clips), rows=400, frames=1, windows=True, view="image", seed=9))
        with torch.no_grad():
            errors.append(float((model(scenes.keypoints) - scenes.pose_m).norm(dim=-1).mean()))
    assert errors[1] < 0.95 * errors[0]


def test_a_lifter_with_sigma_learns_how_far_it_is_off(tmp_path: Path, clips: list[Clip]) -> None:
    config = PoseMoEConfig(
        mixer=RetentionConfig(), dim=16, heads=2, layers=1, stem=16, view="person", sigma=True, gate="bounded"
    )
    recipe = dataclasses.replace(SHORT, updates=80, rows=8, rate=5e-3)
    record = train(Preset("tiny", config, "for tests"), clips, out=tmp_path / "a.safetensors", recipe=recipe)
    shares = record["experts"]["shares"]
    assert len(shares) == 1 and min(shares[0].values()) > 0.04 and max(shares[0].values()) < 0.96
    model, _ = load_checkpoint(tmp_path / "a.safetensors")
    sequence = evaluation_sequences(clips, noisy=True)[0]
    lifted = lift_sequence(model, sequence)
    error_m = np.linalg.norm(lifted[..., :3] - sequence.pose_m, axis=-1)
    assert np.log(np.sqrt((error_m**2).mean()) / lifted[..., 3].mean()) == pytest.approx(0, abs=0.7)


def test_the_rate_warms_up_stays_and_falls() -> None:
    assert schedule(0) < 0.01 and schedule(0.01) == pytest.approx(0.5, abs=0.01)
    assert schedule(0.02) == schedule(0.5) == schedule(0.75) == 1
    assert schedule(0.875) == pytest.approx(0.505) and schedule(1) == pytest.approx(0.01)


# Interruptions.


def test_an_interrupted_training_is_resumed(tmp_path: Path, clips: list[Clip], fake_clock: Callable[[float], None]) -> None:
    out = tmp_path / "tiny.safetensors"
    recipe = dataclasses.replace(SHORT, updates=20)
    fake_clock(3)
    first = train(TINY, clips, out=out, recipe=recipe, minutes=0.5)
    at = first["updates"]
    assert 0 < at < 20 and first["done"] == at / 20
    saved = load_training(out, TINY.build(), dataclasses.asdict(recipe))
    assert saved is not None and saved[1].updates == at
    updates_reported: list[int] = []
    second = train(TINY, clips, out=out, recipe=recipe, on_progress=lambda progress: updates_reported.append(progress.updates))
    assert updates_reported == list(range(at + 1, 21)) and second["runs"] == 2 and second["minutes"] > first["minutes"]
    assert [row[0] for row in second["curve"]] == [at, 20]
    third = train(TINY, clips, out=out, recipe=recipe)  # it is complete
    assert third["updates"] == 20 and third["curve"] == second["curve"]


def test_a_resumed_training_has_the_saved_weights_and_optimizer_states(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "tiny.safetensors"
    train(TINY, clips, out=out, recipe=dataclasses.replace(SHORT, updates=5))
    saved = load_training(out, TINY.build(), dataclasses.asdict(SHORT))
    assert saved is not None
    started_with: dict[str, torch.Tensor] = {}

    def look(lift: Any, model: Any, optimizers: Any, recipe: Any) -> Any:
        started_with.update({f"model.{name}": value.clone() for name, value in model.state_dict().items()})
        started_with.update({f"optimizer.{name}": value.clone() for name, value in optimizer_states(optimizers).items()})
        raise KeyboardInterrupt

    monkeypatch.setattr(train_module, "Update", look)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, clips, out=out, recipe=SHORT)
    assert started_with and all(torch.equal(started_with[name], saved[0][name]) for name in started_with)
    assert {name.partition(".")[0] for name in saved[0]} == {"model", "average", "optimizer"}


def test_weights_are_kept_before_they_are_measured_and_measured_later(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "tiny.safetensors"

    def cut_off(*arguments: Any, **options: Any) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(train_module, "mean_error_mm", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train(TINY, clips, out=out, recipe=SHORT, validation=clips[:1])
    kept, history = load_training(out, TINY.build(), dataclasses.asdict(SHORT)) or ({}, None)
    assert history is not None and history.updates == SHORT.updates and not history.curve
    record = train(TINY, clips, out=out, recipe=SHORT, validation=clips[:1])
    assert record["updates"] == SHORT.updates and record["val_mpjpe_mm"] > 0 and len(record["curve"]) == 1
    again = load_training(out, TINY.build(), dataclasses.asdict(SHORT))
    assert again is not None and all(torch.equal(again[0][name], kept[name]) for name in kept if name.startswith("model."))
    assert train(TINY, clips, out=out, recipe=SHORT, validation=clips[:1])["curve"] == record["curve"]  # once is enough


def test_a_resumed_training_may_be_longer_but_not_of_another_recipe(tmp_path: Path, clips: list[Clip]) -> None:
    out = tmp_path / "tiny.safetensors"
    train(TINY, clips, out=out, recipe=SHORT)
    assert train(TINY, clips, out=out, recipe=dataclasses.replace(SHORT, updates=10))["updates"] == 10
    with pytest.raises(UsageError, match=r"trained with rows 2, not 3"):
        train(TINY, clips, out=out, recipe=dataclasses.replace(SHORT, rows=3))
    other = Preset("other", dataclasses.replace(TINY.config, layers=2), "for tests")
    with pytest.raises(UsageError, match="another network"):
        train(other, clips, out=out, recipe=SHORT)
    assert train(other, clips, out=out, recipe=SHORT, fresh=True)["runs"] == 1
    training_path(out).write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(ArtefactError, match="cannot be read"):
        train(other, clips, out=out, recipe=SHORT)


def metadata_of(path: Path) -> dict[str, str]:
    """What a .safetensors file holds besides its tensors."""
    with safe_open(path, framework="pt") as file:
        metadata: dict[str, str] = file.metadata()
    return metadata


def test_a_training_of_another_version_of_the_network_is_refused(tmp_path: Path, clips: list[Clip]) -> None:
    out = tmp_path / "tiny.safetensors"
    train(TINY, clips, out=out, recipe=SHORT)
    path = training_path(out)
    tensors = load_file(path)
    tensors["model.embed.old_weight"] = tensors.pop("model.embed.weight")
    save_file(tensors, path, metadata_of(path))
    with pytest.raises(ArtefactError, match="of another version of this network"):
        train(TINY, clips, out=out, recipe=SHORT)


def test_a_training_with_a_flat_configuration_is_resumed(tmp_path: Path, clips: list[Clip]) -> None:
    """Files written before mixers had configurations of their own."""
    out = tmp_path / "tiny.safetensors"
    train(TINY, clips, out=out, recipe=SHORT)
    path = training_path(out)
    metadata = metadata_of(path)
    config = json.loads(metadata["config"])
    mixer = config.pop("mixer")
    flat = {"mixer": mixer["kind"], "held": mixer["zoh_gain"], "distances": mixer["distances"], "state_size": 16}
    save_file(load_file(path), path, metadata | {"config": json.dumps(config | flat)})
    assert load_training(out, TINY.build(), dataclasses.asdict(SHORT)) is not None


def test_weights_are_saved_during_the_training(
    tmp_path: Path, clips: list[Clip], validation: list[Clip], fake_clock: Callable[[float], None]
) -> None:
    out = tmp_path / "tiny.safetensors"
    on_the_way: list[dict[str, Any]] = []

    def on_progress(progress: TrainingProgress) -> None:
        if progress.val_mpjpe_mm is not None:
            on_the_way.append(load_checkpoint(out)[1]["training"])
            assert on_the_way[-1]["val_mpjpe_mm"] == progress.val_mpjpe_mm

    fake_clock(3)
    recipe = dataclasses.replace(SHORT, updates=15)
    record = train(TINY, clips, out=out, recipe=recipe, validation=validation, save_every_minutes=0.3, on_progress=on_progress)
    assert len(on_the_way) > 1 and 0 < on_the_way[0]["done"] < 1 and on_the_way[0]["updates"] < record["updates"]
    assert len(record["curve"]) == len(on_the_way) and record["done"] == 1.0


def test_a_training_may_save_more_often_than_it_measures(
    tmp_path: Path, clips: list[Clip], validation: list[Clip], fake_clock: Callable[[float], None]
) -> None:
    out = tmp_path / "tiny.safetensors"
    saved: list[tuple[int, float | None]] = []

    def on_progress(progress: TrainingProgress) -> None:
        if training_path(out).is_file():
            saved.append((load_checkpoint(out)[1]["training"]["updates"], progress.val_mpjpe_mm))

    fake_clock(3)
    recipe = dataclasses.replace(SHORT, updates=15)
    record = train(
        TINY, clips, out=out, recipe=recipe, validation=validation, on_progress=on_progress,
        save_every_minutes=0.1, measure_every_minutes=60.0,
    )  # fmt: skip
    assert len({updates for updates, _ in saved}) > 3  # a kill loses little
    assert [error for _, error in saved if error is not None] == [record["val_mpjpe_mm"]] and len(record["curve"]) == 1


KILLED = """
import sys
from pathlib import Path
from posemoe_edge.edge.data.mocap import load_clips
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.posemoe import PoseMoEConfig
from posemoe_edge.edge.presets import Preset
from posemoe_edge.edge.scenes.motion_bank import MotionBank
from posemoe_edge.edge.training.recipe import Recipe
from posemoe_edge.edge.training.train import train
preset = Preset("tiny", PoseMoEConfig(mixer=DSSMConfig(state_size=4), dim=8, heads=2, layers=1), "for tests")
recipe = Recipe(updates=100_000, rows=1, frames=4, compiled=False)
train(preset, load_clips(Path(sys.argv[1])), out=Path(sys.argv[2]), recipe=recipe, save_every_minutes=0)
"""


def test_a_training_that_was_killed_loses_an_interval_at_most(
    tmp_path: Path, clips: list[Clip], write_motion_file: Callable[..., Path]
) -> None:
    out, preset = tmp_path / "killed.safetensors", PoseMoEConfig(mixer=DSSMConfig(state_size=4), dim=8, heads=2, layers=1)
    program = [sys.executable, "-c", KILLED, str(write_motion_file(clips)), str(out)]
    process = subprocess.Popen(program, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        until = time.monotonic() + 120
        while not training_path(out).is_file() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)  # it saves after every update, so most likely it is saving now
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    model, record = load_checkpoint(out)
    recipe = record["training"]["recipe"]
    saved = load_training(out, model, recipe)
    assert model.config == preset and saved is not None
    assert abs(saved[1].updates - record["training"]["updates"]) <= 1  # the files are moved to their paths one after the other


ONE_OF_TWO = """
import json, os, sys, time
from pathlib import Path
from posemoe_edge.edge.data.mocap import load_clips
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.posemoe import PoseMoEConfig
from posemoe_edge.edge.presets import Preset
from posemoe_edge.edge.training import train as module
from posemoe_edge.edge.training.recipe import Recipe

def measure_slowly(*arguments, **options):
    time.sleep(0.5)
    return 9.0

module.mean_error_mm = measure_slowly
preset = Preset("tiny", PoseMoEConfig(mixer=DSSMConfig(state_size=4), dim=8, heads=2, layers=1), "for tests")
recipe = Recipe(minutes=0.02, rows=1, frames=4, compiled=False)
clips, out = load_clips(Path(sys.argv[1])), Path(sys.argv[2])
record = module.train(preset, clips, out=out, recipe=recipe, validation=clips[:1], save_every_minutes=0.005)
out.with_suffix("." + os.environ["RANK"]).write_text(json.dumps(record))
"""


def test_two_processes_train_one_network_until_the_first_one_stops(
    tmp_path: Path, clips: list[Clip], write_motion_file: Callable[..., Path]
) -> None:
    """The first process alone measures, and that time is no time of training. The other one must not stop before it."""
    out = tmp_path / "both.safetensors"
    script = tmp_path / "both.py"
    script.write_text(ONE_OF_TWO)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    process = subprocess.run(
        [*launcher, str(script), str(write_motion_file(clips)), str(out)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-2000:]
    _, record = load_checkpoint(out)
    of_first, of_second = (json.loads(out.with_suffix(f".{rank}").read_text()) for rank in (0, 1))
    assert record["training"]["updates"] == of_first["updates"] == of_second["updates"] > 3
    assert of_first["minutes"] == of_second["minutes"] and len(of_first["curve"]) > 1
    assert of_first["frames"] == of_first["updates"] * 4 * 2  # both processes' frames
