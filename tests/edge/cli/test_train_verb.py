"""Training from the command line: interrupted, resumed, watched."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import torch

Call = Callable[..., Any]
SMALL = ("--rows", 1, "--frames", 4, "--no-compile")


@pytest.fixture
def motion(write_motion_file: Callable[..., Path], make_walker_clip: Callable[..., Any]) -> Path:
    return write_motion_file(
        [make_walker_clip(f"clip{i}", 40, seed=i, split=split) for i, split in enumerate(("train", "val"))]
    )


def test_the_same_call_resumes_the_training(run_cli: Call, workdir: Path, motion: Path, tiny_presets: None) -> None:
    call = ("train", "tiny-retention", "--data", motion, "--out", "w.safetensors", *SMALL)
    first = run_cli(*call, "--updates", 2, "--json")
    assert first.code == 0 and first.json["updates"] == 2 and first.json["runs"] == 1
    assert "posemoe-edge export tiny-retention --weights w.safetensors" in first.err
    second = run_cli(*call, "--updates", 3, "--json")
    assert second.json["updates"] == 3 and second.json["runs"] == 2 and len(second.json["curve"]) == 2
    assert (workdir / "w.png").is_file() and "Drew w.png" in second.err
    assert run_cli(*call, "--updates", 3, "--fresh", "--json").json["runs"] == 1


def test_an_unfinished_training_prints_the_command_that_resumes_it(
    run_cli: Call, workdir: Path, motion: Path, tiny_presets: None
) -> None:
    result = run_cli("train", "tiny-dssm", "--data", motion, "--updates", 10_000, "--minutes", 0.0001, *SMALL)
    again = shlex.split(result.err.rsplit("Next:", 1)[1])
    assert result.code == 0 and again[:3] == ["posemoe-edge", "train", "tiny-dssm"] and "10000" in again
    assert run_cli(*again[1:]).code == 0  # and so it does, with the same recipe


def test_the_command_that_resumes_names_the_switches_of_the_recipe(
    run_cli: Call, workdir: Path, motion: Path, tiny_presets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda network, **options: network)  # which takes minutes
    call = ("--data", motion, "--updates", 10_000, "--minutes", 0.0001, "--rows", 1, "--frames", 4)
    result = run_cli("train", "tiny-dssm", *call, "--compile", "--fresh")
    again = shlex.split(result.err.rsplit("Next:", 1)[1])
    assert "--compile" in again and "--fresh" not in again
    assert run_cli(*again[1:]).code == 0
    assert "--no-compile" in run_cli("train", "tiny-dssm", *call, "--no-compile", "--fresh").err.rsplit("Next:", 1)[1]


def test_a_training_from_a_trunk_records_its_origin(
    run_cli: Call, workdir: Path, motion: Path, tiny_presets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from posemoe_edge.edge import presets

    streams = presets.PRESETS["tiny-retention"]
    trunk = presets.Preset("tiny-trunk", replace(streams.config, mixer=None, window=1), "for tests")
    monkeypatch.setitem(presets.PRESETS, "tiny-trunk", trunk)
    call = ("--data", motion, "--updates", 1, *SMALL)
    assert run_cli("train", "tiny-trunk", *call).code == 0
    result = run_cli("train", "tiny-retention", *call, "--from", "tiny-trunk.safetensors", "--json")
    assert (
        result.code == 0
        and result.json["start"]["preset"] == "tiny-trunk"
        and result.json["start"]["frames"] == 1 * SMALL[SMALL.index("--rows") + 1]
    )
    result = run_cli("train", "tiny-trunk", *call, "--from", "tiny-retention.safetensors", "--fresh")
    assert result.code == 2 and "exists in only one of them" in result.err
    assert run_cli("train", "tiny-retention", *call, "--from", "nowhere.safetensors", "--fresh").code == 3


def test_no_option_is_a_prefix_of_torchruns() -> None:
    from posemoe_edge.edge.cli.train_verb import command
    from torch.distributed.run import get_args_parser

    theirs = [option for action in get_args_parser()._actions for option in action.option_strings]
    ours = [option for param in command.params for option in param.opts if option.startswith("--")]
    assert [option for option in ours if any(their.startswith(option) for their in theirs)] == []


def test_every_loss_of_a_recipe_can_be_chosen() -> None:
    from posemoe_edge.edge.cli.train_verb import command
    from posemoe_edge.edge.models.losses import LOSSES
    from posemoe_edge.edge.training.recipe import Loss

    choices = next(param.type for param in command.params if param.name == "loss")
    assert isinstance(choices, click.Choice) and tuple(choices.choices) == get_args(Loss) == tuple(LOSSES)


def test_another_recipe_is_refused(run_cli: Call, workdir: Path, motion: Path, tiny_presets: None) -> None:
    call = ("train", "tiny-retention", "--data", motion, "--updates", 1, *SMALL)
    assert run_cli(*call).code == 0
    result = run_cli(*call, "--seed", 3, "--json")
    assert result.code == 2 and "seed 0, not 3" in result.json["what"] and "--fresh" in result.json["expected"]


def test_a_window_preset_trains_and_writes_tensorboard_events(
    run_cli: Call, workdir: Path, motion: Path, tiny_presets: None
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    result = run_cli("train", "tiny-attention", "--data", motion, "--updates", 2, *SMALL, "--tensorboard", "board", "--json")
    assert result.code == 0 and result.json["frames"] == 2 * 9
    assert next(path.name for path in (workdir / "board").iterdir()).startswith("events.out")
