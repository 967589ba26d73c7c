"""The script that trains the zoo: which stages it starts, when, and from which weights. Training itself is replaced."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.export.reference import save_reference
from posemoe_edge.runtime.artefact.locate import ZOO
from posemoe_edge.scripts import train_zoo

SIZE_S = ("--data", "motion.npz", "--minutes", "16", "--sizes", "s")
WAVE = ("frame-retention-s", "frame-dssm-s", "frame-attention-s", "posemoe-frame-s")  # all of them start from frame-s


def option(command: list[str], name: str) -> str:
    """The value of an option that may be given more than once: the last one counts."""
    return command[len(command) - command[::-1].index(name)]


@pytest.fixture
def run_script(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """run_script("--minutes", "1", failing=[]): call it; what it trained, here or in processes of their own, in that order."""
    trained: list[str] = []

    def run(*arguments: str, failing: tuple[str, ...] = (), on_process: Callable[..., None] = lambda *_: None) -> list[str]:
        def train_apart(command: list[str], **options: Any) -> CompletedProcess[bytes]:
            on_process(command, options)
            preset = option(command, "--only")
            trained.append(preset)
            return CompletedProcess(command, returncode=int(preset in failing))

        monkeypatch.setattr(train_zoo, "_train", lambda stage, *_: trained.append(stage.preset))
        monkeypatch.setattr(subprocess, "run", train_apart)
        monkeypatch.setattr(sys, "argv", ["train_zoo.py", *arguments])
        try:
            train_zoo.main()
        except SystemExit as end:
            trained.append(f"exit: {end}")
        return trained

    return run


@pytest.fixture
def train_stage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_walker_clip: Callable[..., Clip]
) -> Callable[..., dict[str, Any]]:
    """train_stage(stage, minutes=16): how its training was called. Weights that wait to be committed are in tmp_path/"kept"."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(train_zoo, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(train_zoo, "open_motion", lambda *_: [make_walker_clip("walker", 50)])
    monkeypatch.setattr(train_zoo, "train", lambda *_, **options: calls.append(options))
    monkeypatch.setattr(train_zoo, "_pack", lambda *_: None)

    def train(stage: train_zoo.Stage, *, minutes: float = 16) -> dict[str, Any]:
        arguments = Namespace(data=[], out=tmp_path / "zoo", threads=torch.get_num_threads())
        train_zoo._train(stage, minutes, minutes, arguments)
        return calls[-1]

    return train


def stage_of(preset: str) -> train_zoo.Stage:
    return next(stage for stage in train_zoo.stages("s") if stage.preset == preset)


def test_what_starts_from_a_failed_stage_is_not_trained(run_script: Callable[..., list[str]]) -> None:
    trained = run_script(*SIZE_S, "--together", "8", failing=("frame-retention-s",))
    assert trained[0] == "frame-s" and set(trained[1:5]) == set(WAVE)
    assert set(trained[5:7]) == {"posemoe-dssm-s", "posemoe-attention-s"}
    assert trained[7:] == [
        "exit: training of frame-retention-s failed; not trained, because they start from it: posemoe-retention-s"
    ]


@pytest.mark.parametrize(("together", "threads"), [("2", 4), ("8", 2), ("3", 2)])
def test_stages_that_train_together_share_the_threads(
    run_script: Callable[..., list[str]], together: str, threads: int
) -> None:
    given: list[tuple[str, str]] = []

    def on_process(command: list[str], options: dict[str, Any]) -> None:
        given.append((option(command, "--threads"), options["env"]["OMP_NUM_THREADS"]))

    run_script(*SIZE_S, "--threads", "8", "--together", together, "--only", *WAVE, on_process=on_process)
    assert given == [(str(threads), str(threads))] * len(WAVE)


@pytest.mark.parametrize(("minutes", "measured"), [(6.0, 6.0), (120.0, 5.0)])
def test_a_short_stage_is_saved_as_often_as_a_long_one(
    train_stage: Callable[..., dict[str, Any]], minutes: float, measured: float
) -> None:
    """A kill loses a minute; but a short stage is measured at its end alone."""
    call = train_stage(stage_of("frame-s"), minutes=minutes)
    assert (call["save_every_minutes"], call["measure_every_minutes"]) == (1.0, measured)


def test_a_stage_starts_from_the_local_weights_or_else_from_the_shipped_ones(
    train_stage: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Whether the stage itself is shipped, too, makes no difference: it is trained anew."""
    stage = stage_of("posemoe-frame-s")
    shipped, record = load_checkpoint(ZOO / "frame-s" / "reference.safetensors")
    call = train_stage(stage)
    assert (call["origin"]["preset"], call["origin"]["frames"]) == ("frame-s", record["training"]["frames"])
    assert torch.equal(call["start"].stem.embed.weight, shipped.embed.weight) and call["history"] is None

    with torch.no_grad():
        shipped.embed.weight.zero_()
    (tmp_path / "zoo").mkdir()
    save_reference(tmp_path / "zoo" / "frame-s.safetensors", shipped, preset="frame-s", training={"frames": 7})
    call = train_stage(stage)
    assert call["origin"]["frames"] == 7 and not call["start"].stem.embed.weight.any()


def test_a_stage_whose_start_is_nowhere_names_what_to_train(train_stage: Callable[..., dict[str, Any]]) -> None:
    stage = next(stage for stage in train_zoo.stages("m") if stage.preset == "frame-retention-m")
    with pytest.raises(SystemExit, match="no weights of frame-m to start from: train it first, with --only frame-m"):
        train_stage(stage)


@pytest.mark.parametrize("together", range(1, 9))
@pytest.mark.parametrize("sizes", [("s",), ("s", "m")])
def test_the_waves_take_the_minutes_given_however_many_stages_train_together(together: int, sizes: tuple[str, ...]) -> None:
    minutes_of_waves = []
    for wave in train_zoo.plan(120, sizes, together=together):
        free = [0.0] * together  # since when each process has nothing to do
        for _, minutes in wave:
            free[min(range(together), key=lambda process: free[process])] += minutes
        minutes_of_waves.append(max(free))
    assert sum(minutes_of_waves) == pytest.approx(120)


def test_stages_get_their_shares_of_the_minutes() -> None:
    def minutes_of(together: int) -> dict[str, float]:
        return {stage.preset: minutes for wave in train_zoo.plan(16, ("s", "m"), together=together) for stage, minutes in wave}

    alone, by_two, all_at_once = (minutes_of(together) for together in (1, 2, 8))
    small = sum(minutes for preset, minutes in alone.items() if preset.endswith("-s"))
    assert small == pytest.approx(0.7 * 16) and sum(alone.values()) == pytest.approx(16)
    assert all_at_once["frame-s"] == all_at_once["frame-m"] == pytest.approx(16 * 1.5 / 5.5)
    for minutes in (alone, by_two, all_at_once):
        assert minutes["posemoe-dssm-s"] == pytest.approx(2 * minutes["posemoe-frame-s"])
    assert alone["frame-s"] < by_two["frame-s"] < all_at_once["frame-s"]
